"""Frames of several molecules by name, in one folder with a folder each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import MANIFEST as FRAMES
from cgsurrogate.core.frames import SEVERAL, Frames

MANIFEST, FORMAT = SEVERAL, 1


@dataclasses.dataclass(frozen=True, eq=False)
class FrameSet(Mapping[str, Frames]):
    """Frames by the name of their molecule, in the order in which they were given."""

    frames: dict[str, Frames]

    def __getitem__(self, name: str) -> Frames:
        return self.frames[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def load(cls, folder: str | Path) -> FrameSet:
        """Read a folder with a manifest of several molecules, or one with the frames of a single one.

        Raises:
            FileNotFoundError: it holds neither.
            ValueError: frames are not those that the manifest means.
        """
        folder = Path(folder)
        if not (folder / MANIFEST).exists():
            return cls({folder.name: Frames.load(folder)})
        manifest = filesystem.read_json(folder / MANIFEST)
        try:
            if manifest["format"] != FORMAT:
                raise ValueError(f"expected molecules of format {FORMAT}, got {manifest['format']}; update cgsurrogate")
            named = {str(one["name"]): (Path(one["folder"]).name, one["sha256"]) for one in manifest["molecules"]}
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder / MANIFEST} is no manifest of molecules ({error!r}); make it again") from None
        for inside, known in named.values():
            path = folder / inside / FRAMES
            if path.exists() and filesystem.sha256(path) != known:
                raise ValueError(f"{path} is not the one that {MANIFEST} was written for; map all molecules again")
        return cls({name: Frames.load(folder / inside) for name, (inside, _) in named.items()})

    def save(self, folder: str | Path) -> Path:
        """Write the frames of each molecule to a folder of its name, then the manifest."""
        folder = Path(folder)
        for name, frames in self.items():
            frames.save(folder / name)
        save_manifest(folder, list(self))
        return folder

    def split(self, fraction: float, seed: int = 0) -> tuple[FrameSet, FrameSet]:
        """(kept, held out), by whole molecules: about a fraction of them is held out, at least one.

        Raises:
            ValueError: there is but one, or the fraction is not between 0 and 1.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"expected a share to hold out between 0 and 1, got {fraction}")
        if len(self) < 2:
            raise ValueError("one molecule cannot be divided by molecules; divide its frames in runs")
        count = min(max(1, round(fraction * len(self))), len(self) - 1)
        held = {list(self)[k] for k in np.random.default_rng(seed).permutation(len(self))[:count]}
        kept, out = ({n: f for n, f in self.items() if (n in held) == which} for which in (False, True))
        return FrameSet(kept), FrameSet(out)


def save_manifest(folder: Path, names: list[str]) -> None:
    """Name molecules whose frames are in folders of their names; written when all of them are there."""
    listed = [{"name": name, "folder": name, "sha256": filesystem.sha256(folder / name / FRAMES)} for name in names]
    filesystem.write_json(folder / MANIFEST, {"format": FORMAT, "molecules": listed})

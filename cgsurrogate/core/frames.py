"""Whatever has positions is ``Frames``: reference data, a simulation, a rollout; one type, one folder on the disk."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import disk_arrays, filesystem, splits, units
from cgsurrogate.core.provenance import Provenance

MANIFEST = "frames.json"
SEVERAL = "molecules.json"  # of a data set of several molecules
FORMAT = 1
STORED = {"positions": np.float32, "forces": np.float32, "weights": np.float64, "extrapolation": np.float16}
RENAMED = {"uncertainty": "extrapolation"}  # arrays of folders that were written before


@dataclasses.dataclass(frozen=True)
class Beads:
    """The particles of one coarse-grained molecule; everything but where they are.

    >>> beads = Beads(("CA", "CA"), (13, 6), (12.0, 12.0), (0, 1), ("ALA", "GLY"), bonds=((0, 1),))
    >>> len(beads)
    2

    Attributes:
        names: atom name of each bead, as in a PDB file.
        types: index into the fixed table of bead types, so that models transfer between sequences.
        masses: amu.
        residues: index of the residue of each bead, from 0, never falling.
        residue_names: three-letter name of the residue of each bead.
        bonds: pairs (i, j) with i < j.
    """

    names: tuple[str, ...]
    types: tuple[int, ...]
    masses: tuple[float, ...]
    residues: tuple[int, ...]
    residue_names: tuple[str, ...]
    bonds: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.names)
        if not count:
            raise ValueError("expected at least one bead, got none; check the selection of the mapping")
        for field in ("types", "masses", "residues", "residue_names"):
            if len(getattr(self, field)) != count:
                raise ValueError(f"{count} beads need {count} {field}, got {len(getattr(self, field))}")
        if min(self.masses) <= 0:
            raise ValueError("masses must be positive (amu)")
        if any(b < a for a, b in itertools.pairwise(self.residues)):
            raise ValueError("beads must be ordered by residue")
        if any(not 0 <= i < j < count for i, j in self.bonds):
            raise ValueError(f"bonds must be pairs i < j below {count}")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Beads:
        """The inverse of ``dataclasses.asdict`` after a round trip through JSON."""
        return cls(**{**{k: tuple(v) for k, v in values.items()}, "bonds": tuple(map(tuple, values["bonds"]))})


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Frames:
    """Positions of one molecule over one or more unbroken runs, all runs one after the other.

    >>> bead = Beads(("CA",), (13,), (12.0,), (0,), ("ALA",))
    >>> frames = Frames(bead, np.zeros((5, 1, 3), np.float32), lengths=(2, 3), dt=1.0, temperature=300.0)
    >>> frames
    Frames: 5 of 1 beads in 2 run(s), 1 ps apart, 300 K
    >>> frames.runs
    (slice(0, 2, None), slice(2, 5, None))

    Attributes:
        positions: (T, N, 3) nm; may be memory-mapped, or parts of a memory-mapped array (``disk_arrays.Parts``).
        lengths: frames in each unbroken run; they sum to T.
        dt: ps between neighbouring frames of a run.
        temperature: K.
        forces: (T, N, 3) kJ/mol/nm, or None.
        weights: (T,) statistical weights of biased data, not negative, or None for equal weights.
        provenance: where the frames come from, and what that did to their order in time.
        extrapolation: (T, N) without a unit, how new each bead's surroundings are to the model, or None.
        origins: of each run that was taken from other frames, where it began there (``splits.Origin``); not stored.
    """

    beads: Beads
    positions: np.ndarray
    lengths: tuple[int, ...]
    dt: float
    temperature: float
    forces: np.ndarray | None = None
    weights: np.ndarray | None = None
    provenance: Provenance = dataclasses.field(default_factory=Provenance)
    extrapolation: np.ndarray | None = None
    origins: tuple[splits.Origin, ...] = ()

    def __post_init__(self) -> None:
        shape = self.positions.shape
        if len(shape) != 3 or shape[1:] != (len(self.beads), 3):
            raise ValueError(f"expected positions (T, {len(self.beads)}, 3) nm, got {shape}")
        if any(n < 1 for n in self.lengths) or sum(self.lengths) != shape[0]:
            raise ValueError(f"run lengths {self.lengths} must be positive and sum to {shape[0]} frames")
        if not self.dt > 0 or not self.temperature > 0:
            raise ValueError(f"dt (ps) and temperature (K) must be positive, got {self.dt} and {self.temperature}")
        for name, wanted in (("forces", shape), ("weights", shape[:1]), ("extrapolation", shape[:2])):
            array = getattr(self, name)
            if array is not None and array.shape != wanted:
                raise ValueError(f"expected {name} of shape {wanted}, got {array.shape}")
        weights = np.ones(1) if self.weights is None else self.weights
        if not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
            raise ValueError("weights must be finite, not negative, and not all zero")
        for name in ("positions", "forces"):
            array = getattr(self, name)
            if array is not None and not disk_arrays.on_disk(array) and not np.isfinite(array).all():
                frame, bead = np.argwhere(~np.isfinite(array).all(-1))[0]
                raise ValueError(f"{name} are not finite, first in frame {frame}, bead {bead}; leave that frame out")

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def kT(self) -> float:
        """Thermal energy in kJ/mol."""
        return units.thermal_energy(self.temperature)

    @property
    def runs(self) -> tuple[slice, ...]:
        """One slice a run into the first axis of every array."""
        ends = np.cumsum(self.lengths)
        return tuple(slice(int(end - n), int(end)) for end, n in zip(ends, self.lengths, strict=True))

    @property
    def out_of_order(self) -> str:
        """What these frames are, if their order is not that of time: "weighted frames", ...; empty if it is."""
        if self.weights is not None:
            return "weighted frames"
        return f"frames of {self.provenance.mixed_by}" if self.provenance.mixed_by else ""

    @property
    def time_ordered(self) -> bool:
        """Whether neighbouring frames of a run follow each other in time, so that kinetics can be read from them."""
        return not self.out_of_order

    @property
    def probabilities(self) -> np.ndarray:
        """(T,) weights that sum to one; where there are none, one number that is repeated without memory."""
        if self.weights is None:
            return np.broadcast_to(1 / len(self), len(self))
        return np.asarray(np.asarray(self.weights, float) / np.asarray(self.weights, float).sum())

    def release(self) -> None:
        """Let go of the pages of memory-mapped arrays, which then no longer count as memory of this process.

        They are read from the disk (or from what the system has kept of it) when they are next looked at.
        """
        for array in (self.positions, self.forces, self.weights, self.extrapolation):
            disk_arrays.release(array)

    def pairs(self, lag: int, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Indices (now, later) of all frames that lie ``lag`` frames apart in one run; never across runs.
        Of more than ``most`` every second, third ... one."""
        if lag < 1:
            raise ValueError(f"the lag must be at least one frame, got {lag}")
        runs = [range(run.start, run.stop - lag) for run in self.runs if run.stop - run.start > lag]
        if not runs:
            raise ValueError(f"no run is longer than the lag of {lag} frames ({lag * self.dt:g} ps); use a shorter lag")
        step, skipped, now = -(-sum(map(len, runs)) // most) if most else 1, 0, []
        for run in runs:
            now.append(np.arange(run.start + skipped, run.stop, step))
            skipped = (skipped - len(run)) % step
        first = np.concatenate(now)
        return first, first + lag

    def take_runs(self, indices: tuple[int, ...] | list[int] | np.ndarray) -> Frames:
        """The chosen runs, whole and in the given order."""
        runs, chosen = self.runs, [int(i) for i in indices]
        if not chosen:
            raise ValueError("expected at least one run to take, got none")
        return self._taken([runs[i] for i in chosen], self.provenance.of_runs(chosen, len(runs)))

    def after(self, count: int) -> Frames:
        """Without the first ``count`` frames of each run; of a shorter one half is kept."""
        parts = [slice(min(r.start + count, (r.start + r.stop) // 2), r.stop) for r in self.runs]
        return self._taken(parts, self.provenance)

    def split(self, fraction: float, seed: int = 0) -> tuple[Frames, Frames]:
        """(kept, held out), by whole runs; about ``fraction`` of the frames are held out, at least one run of each.

        A single run is cut in blocks with gaps, which then know that they are of one run: ``splits`` says how.
        """
        known, count = self.provenance, len(self.lengths)
        origins = known.blocks_of if len(known.blocks_of) == count else tuple(range(count))

        def part(pieces: Sequence[splits.Part], cut: bool) -> Frames:
            about = known.of_runs([run for _, run in pieces], count)
            if cut and len(known.blocks_of) != count:
                about = dataclasses.replace(about, blocks_of=tuple(run for _, run in pieces))
            return self._taken([piece for piece, _ in pieces], about)

        both = splits.divided(self.runs, origins, fraction, seed)
        cut = any(self.runs[run] != piece for pieces in both for piece, run in pieces)
        return part(both[0], cut), part(both[1], cut)

    @property
    def independent_runs(self) -> int:
        """How many runs there are; blocks of one run count once."""
        known = self.provenance.blocks_of
        return len(set(known)) if len(known) == len(self.lengths) else len(self.lengths)

    def _taken(self, parts: Sequence[slice], provenance: Provenance) -> Frames:
        """These parts of the frames, a run each; a single one is not copied, nor are those of a mapped array."""
        known = {name: array for name in STORED if (array := getattr(self, name)) is not None}
        more: dict[str, Any] = {name: disk_arrays.taken(array, parts) for name, array in known.items()}
        more |= {"provenance": provenance, "origins": splits.origins(self.runs, self.origins, parts)}
        return dataclasses.replace(self, lengths=tuple(part.stop - part.start for part in parts), **more)

    def with_provenance(self, **fields: Any) -> Frames:
        """The same frames with these fields of their provenance."""
        return dataclasses.replace(self, provenance=dataclasses.replace(self.provenance, **fields))

    def save(self, folder: str | Path) -> Path:
        """Write one ``.npy`` block an array, then the manifest that names them; the manifest appears last."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        arrays = {}
        for name, kind in STORED.items():
            if (array := getattr(self, name)) is not None:
                path, pieces = folder / f"{name}.npy", disk_arrays.pieces(array)
                digest = filesystem.write_pieces(path, pieces, array.shape, np.dtype(kind))
                arrays[name] = {"file": path.name, "sha256": digest, "shape": list(array.shape)}
        manifest = {
            "format": FORMAT,
            "units": {"length": "nm", "time": "ps", "energy": "kJ/mol", "temperature": "K", "mass": "amu"},
            "dt": self.dt,
            "temperature": self.temperature,
            "lengths": list(self.lengths),
            "arrays": arrays,
            "beads": dataclasses.asdict(self.beads),
            "source": self.provenance.to_dict(),
        }
        filesystem.write_json(folder / MANIFEST, manifest)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Frames:
        """Read a folder; arrays are memory-mapped.

        Each is compared with its sha256, once in a process: about a second a gigabyte.

        Raises:
            FileNotFoundError: there is no such folder, or it holds no complete frames.
            ValueError: the manifest and the blocks do not agree.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"expected a folder of frames at {folder}, there is none")
        if (folder / SEVERAL).exists():
            inside = next(folder.glob(f"*/{MANIFEST}"), folder / "NAME" / MANIFEST).parent
            raise ValueError(f"{folder} is a data set of several molecules; name one, as {inside}")
        if not (folder / MANIFEST).exists():
            raise FileNotFoundError(f"{folder} holds no {MANIFEST}; make frames with: cgsurrogate map")
        manifest = filesystem.read_json(folder / MANIFEST)
        try:
            if manifest["format"] != FORMAT:
                raise ValueError(f"expected frames of format {FORMAT}, got {manifest['format']}; update cgsurrogate")
            arrays: dict[str, Any] = {}
            for name, entry in manifest["arrays"].items():
                path = folder / Path(entry["file"]).name
                filesystem.verify(path, entry["sha256"], "restore it or make the frames again")
                arrays[RENAMED.get(name, name)] = array = filesystem.read_npy(path)
                if list(array.shape) != entry["shape"]:
                    raise ValueError(f"{path} has shape {array.shape}, its manifest says {entry['shape']}")
            return cls(
                beads=Beads.from_dict(manifest["beads"]),
                lengths=tuple(manifest["lengths"]),
                dt=float(manifest["dt"]),
                temperature=float(manifest["temperature"]),
                provenance=Provenance.from_dict(manifest.get("source", {})),
                **arrays,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{folder / MANIFEST} is not a manifest of frames ({error!r}); make it again") from None

    def __repr__(self) -> str:
        extras = [name for name in (*STORED,)[1:] if getattr(self, name) is not None]
        return (
            f"Frames: {len(self):,} of {len(self.beads)} beads in {len(self.lengths)} run(s), "
            f"{self.dt:g} ps apart, {self.temperature:g} K{', with ' + ' and '.join(extras) if extras else ''}"
        )

    def _repr_html_(self) -> str:
        return "<b>Frames</b>" + repr(self).removeprefix("Frames")

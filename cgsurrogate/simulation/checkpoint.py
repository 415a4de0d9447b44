"""Where the frames of a running simulation go: to memory, or to a folder of immutable blocks and one checkpoint.

A commit writes the new block and then the checkpoint that names it, each whole or not at all; what the checkpoint does
not name never happened. Blocks hold (frames, replicas, N, 3); at the end they are turned into runs piece by piece.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import State
from cgsurrogate.core.provenance import Provenance, Quarantined
from cgsurrogate.simulation import frame_store

SETTINGS, CHECKPOINT = "simulation.json", "checkpoint.safetensors"


@dataclasses.dataclass
class Progress:
    """How far a simulation is; all of it is in a checkpoint.

    Attributes:
        steps: propagator steps done.
        frames: frames made, the same for every replica.
        blocks: (name, frames, sha256) of the blocks on the disk.
        labels: the same of the labels that belong to them, where there are any.
        quarantined: replica, first bad frame and reason.
        heat: sum of kinetic temperatures in K, and how many.
        close: the first pair that came too close, and its distance in nm.
        seconds: wall time of the steps so far, over all pieces; what a kill undid does not count.
    """

    steps: int = 0
    frames: int = 0
    blocks: list[list[Any]] = dataclasses.field(default_factory=list)
    labels: list[list[Any]] = dataclasses.field(default_factory=list)
    quarantined: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    heat: list[float] = dataclasses.field(default_factory=lambda: [0.0, 0])
    close: list[float] | None = None
    seconds: float = 0.0

    def runs(self, replicas: int) -> list[tuple[int, int]]:
        """(replica, frames) of every replica that has a good frame."""
        cut = {entry["replica"]: entry["frame"] for entry in self.quarantined}
        return [(r, n) for r in range(replicas) if (n := cut.get(r, self.frames))]

    def notes(self, known: Provenance, replicas: int, dt: float) -> Provenance:
        """What is known of the frames, and how it went."""
        return dataclasses.replace(
            known,
            replicas=tuple(r for r, _ in self.runs(replicas)),
            quarantined=tuple(Quarantined(q["replica"], (q["frame"] + 1) * dt, q["reason"]) for q in self.quarantined),
            wall_seconds=self.seconds,
            kinetic_temperature=self.heat[0] / self.heat[1] if self.heat[1] else None,
            too_close=tuple(self.close or ()),
        )


Finish = Callable[[Frames, np.ndarray, Path | None], Frames]
"""Called with all frames, their labels (T, L), and the folder to save into, if any; gives the frames to return."""


class Sink(abc.ABC):
    """Takes blocks of frames, with labels (any numbers) if wished, and gives ``Frames`` at the end."""

    resumable: bool
    size: int = 0  # bytes that a commit would write

    def __init__(self) -> None:
        self.progress = Progress()

    def restore(self, rng: Generator, device: torch.device) -> State | None:
        """The state of the last checkpoint, with ``rng`` set back to it; None at the beginning."""
        return None

    @abc.abstractmethod
    def append(self, block: np.ndarray, labels: np.ndarray | None = None) -> None:
        """Take (n, R, N, 3) nm float32, and (n, R, L) labels."""

    @abc.abstractmethod
    def commit(self, state: State, rng: Generator) -> None:
        """Make all that was appended safe, and the state that belongs to it."""

    @abc.abstractmethod
    def frames(
        self, beads: Beads, dt: float, temperature: float, known: Provenance, finish: Finish | None = None
    ) -> Frames:
        """All frames, a run a replica, without those from the first bad one on; ``finish`` makes others of them."""


class Memory(Sink):
    """Everything in memory, and nothing left when the process ends."""

    resumable = False

    def __init__(self, replicas: int, frames: int, beads: int):
        super().__init__()
        self.array = np.empty((replicas, frames, beads, 3), np.float32)
        self.labels: list[np.ndarray] = []
        self.filled = 0

    def append(self, block: np.ndarray, labels: np.ndarray | None = None) -> None:
        if labels is not None:
            self.labels.append(labels)
        self.array[:, self.filled : self.filled + len(block)] = block.swapaxes(0, 1)
        self.filled += len(block)

    def commit(self, state: State, rng: Generator) -> None:
        pass

    def frames(
        self, beads: Beads, dt: float, temperature: float, known: Provenance, finish: Finish | None = None
    ) -> Frames:
        runs = self.progress.runs(len(self.array))
        if self.progress.quarantined:
            positions = np.concatenate([self.array[replica, :count] for replica, count in runs])
        else:
            positions = self.array.reshape(-1, *self.array.shape[2:])
        lengths = tuple(count for _, count in runs)
        known = self.progress.notes(known, len(self.array), dt)
        whole = Frames(beads, positions, lengths, dt, temperature, provenance=known)
        return finish(whole, frame_store.turn_labels([(self.labels, runs)]), None) if finish else whole


class Folder(Sink):
    """Blocks and a checkpoint in a folder that this process alone writes to."""

    resumable = True

    def __init__(self, folder: Path, settings: dict[str, Any]):
        super().__init__()
        self.folder, self.replicas = folder, int(settings["replicas"])
        self.pending: list[np.ndarray] = []
        self.pending_labels: list[np.ndarray] = []
        self.checkpoint = folder / CHECKPOINT
        self.saved: dict[str, Tensor] | None = None
        claim(folder, settings)
        (folder / "chunks").mkdir(exist_ok=True)
        for left in [*folder.glob(".*.tmp"), *(folder / "chunks").glob(".*.tmp")]:  # of a writer that was killed
            left.unlink()
        if self.checkpoint.exists():
            self.saved, self.progress = _read(self.checkpoint)

    def restore(self, rng: Generator, device: torch.device) -> State | None:
        if self.saved is None:
            return None
        rng.set_state(self.saved["rng"])
        return State(*(self.saved[n].to(device) if n in self.saved else None for n in State._fields))  # type: ignore[arg-type]

    def append(self, block: np.ndarray, labels: np.ndarray | None = None) -> None:
        self.pending.append(block)
        if labels is not None:
            self.pending_labels.append(labels)
        self.size += block.nbytes

    def commit(self, state: State, rng: Generator) -> None:
        if self.pending:
            name = f"{len(self.progress.blocks):05d}"
            self.progress.blocks.append(self._store(f"{name}.npy", np.concatenate(self.pending)))
            if self.pending_labels:
                self.progress.labels.append(self._store(f"{name}-labels.npy", np.concatenate(self.pending_labels)))
            self.pending, self.pending_labels, self.size = [], [], 0
        _write(self.checkpoint, state, rng, self.progress)

    def frames(
        self, beads: Beads, dt: float, temperature: float, known: Provenance, finish: Finish | None = None
    ) -> Frames:
        return assembled(self.folder, [self], self.progress, beads, dt, temperature, known, finish)

    def blocks(self) -> list[np.ndarray]:
        """Of all frames, each (n, R, N, 3) nm; checked."""
        return [self._block(*entry) for entry in self.progress.blocks]

    def labels(self) -> list[np.ndarray]:
        """Those of the blocks, each (n, R, L)."""
        return [self._block(*entry) for entry in self.progress.labels]

    def _store(self, name: str, block: np.ndarray) -> list[Any]:
        path = self.folder / "chunks" / name
        filesystem.write_npy(path, block)
        return [name, len(block), filesystem.sha256(path)]

    def _block(self, name: str, count: int, digest: str) -> np.ndarray:
        path = self.folder / "chunks" / name
        if not path.exists() or filesystem.sha256(path) != digest:
            raise ValueError(f"{path} is not what was written; remove {self.folder} and simulate again")
        block = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(block) != count:
            raise ValueError(f"expected {count} frames in {path}, got {len(block)}; remove {self.folder}")
        return block


def assembled(
    folder: Path,
    parts: Sequence[Folder],
    progress: Progress,
    beads: Beads,
    dt: float,
    temperature: float,
    known: Provenance,
    finish: Finish | None = None,
) -> Frames:
    """One folder of frames from those of one or several simulations, whose replicas follow one another.

    What the parts have written is removed. ``progress`` is that of all of them together.
    """
    turned, turned_labels = folder / "turned.npy", folder / "turned-labels.npy"
    runs = [part.progress.runs(part.replicas) for part in parts]
    if not turned.exists():  # whole or absent, so the blocks are no longer needed once it is there
        if finish:
            labels = frame_store.turn_labels([(p.labels(), r) for p, r in zip(parts, runs, strict=True)])
            filesystem.write_npy(turned_labels, labels)
        frame_store.turn([(p.blocks(), r) for p, r in zip(parts, runs, strict=True)], turned)
    for part in parts:
        shutil.rmtree(part.folder / "chunks", ignore_errors=True)
    positions = np.load(turned, mmap_mode="r", allow_pickle=False)
    lengths = tuple(count for _, count in itertools.chain(*runs))
    known = progress.notes(known, sum(part.replicas for part in parts), dt)
    whole = Frames(beads, positions, lengths, dt, temperature, provenance=known)
    if finish:
        finish(whole, np.load(turned_labels, allow_pickle=False), folder)
    else:
        whole.save(folder)
    for path in (turned, turned_labels, *(p.checkpoint for p in parts), *(p.folder / SETTINGS for p in parts)):
        path.unlink(missing_ok=True)
    return Frames.load(folder)


def claim(folder: Path, settings: dict[str, Any]) -> None:
    """Note whose folder it is; ValueError if it is that of a simulation with other settings."""
    if (folder / SETTINGS).exists():
        refuse_other(folder, filesystem.read_json(folder / SETTINGS), settings)
    else:
        filesystem.write_json(folder / SETTINGS, settings)


def reached(folder: Path) -> Progress:
    """That of the last checkpoint in a folder; that of the beginning where there is none."""
    return _read(folder / CHECKPOINT)[1] if (folder / CHECKPOINT).exists() else Progress()


def refuse_other(folder: Path, before: dict[str, Any] | None, now: dict[str, Any]) -> None:
    """Raise ValueError that shows what differs, unless the folder belongs to a simulation with these settings."""
    if before is None:
        raise ValueError(f"{folder} already holds frames that no simulation made; choose another folder")
    before, now = _flat(before), _flat(json.loads(json.dumps(now)))
    changes = [
        f"{key}: {before.get(key)} there, {now.get(key)} now"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if changes:
        raise ValueError(
            f"{folder} holds a simulation with other settings ({'; '.join(changes)}); choose another folder"
        )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with keys like ``propagator.lag``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _write(path: Path, state: State, rng: Generator, progress: Progress) -> None:
    """State, random numbers and progress in one file, so that they cannot disagree."""
    from safetensors.torch import save

    tensors = {name: t.detach().cpu().contiguous() for name, t in state._asdict().items() if t is not None}
    tensors["rng"] = rng.get_state()
    metadata = {"progress": json.dumps(dataclasses.asdict(progress)), "sha256": _digest(tensors)}
    with filesystem.replacing(path) as handle:
        handle.write(save(tensors, metadata))


def _read(path: Path) -> tuple[dict[str, Tensor], Progress]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as handle:
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
            metadata = handle.metadata() or {}
        if metadata["sha256"] != _digest(tensors):
            raise ValueError("its contents have changed")
        return tensors, Progress(**json.loads(metadata["progress"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a checkpoint ({error}); remove {path.parent} and simulate again") from None


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()

"""Where the frames of a running simulation go: to memory, or to a folder of immutable blocks and one checkpoint.

A commit writes the new block and then the checkpoint that names it, each whole or not at all; what the checkpoint does
not name never happened. Blocks hold (frames, replicas, N, 3); at the end they become runs, a replica each, in bounded
memory.
"""

from __future__ import annotations

import abc
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import State
from cgsurrogate.core.task_board import TASKS
from cgsurrogate.simulation import checkpoint

PARTS, CHUNKS = "parts", "chunks"
TURNED, TURNED_LABELS = "turned.npy", "turned-labels.npy"
PIECE_BYTES = 256 << 20  # memory for making runs of blocks

Blocks = tuple[list[np.ndarray], list[tuple[int, int]]]
"""Blocks (n, R, ...) of one simulation, and (replica, frames) of each of its runs."""

Make = Callable[[np.ndarray, checkpoint.Progress], Frames]
"""Called with positions (T, N, 3) nm, a run a replica, and the progress of all of them together."""

Finish = Callable[[Frames, np.ndarray, Path | None], Frames]
"""Called with all frames, their labels (T, L), and the folder to save into, if any; gives the frames to return."""


class Sink(abc.ABC):
    """Takes blocks of frames, with labels (any numbers) if wished, and gives ``Frames`` at the end."""

    size: int = 0  # bytes that a commit would write

    def __init__(self) -> None:
        self.progress = checkpoint.Progress()

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
    def frames(self, make: Make, finish: Finish | None = None) -> Frames:
        """All frames, a run a replica, without those from the first bad one on; ``finish`` makes others of them."""


class Memory(Sink):
    """Everything in memory, and nothing left when the process ends."""

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

    def frames(self, make: Make, finish: Finish | None = None) -> Frames:
        runs = self.progress.runs(len(self.array))
        if self.progress.quarantined:
            positions = np.concatenate([self.array[replica, :count] for replica, count in runs])
        else:
            positions = self.array.reshape(-1, *self.array.shape[2:])
        whole = make(positions, self.progress)
        return finish(whole, runs_of_labels([(self.labels, runs)]), None) if finish else whole


class Folder(Sink):
    """Blocks and a checkpoint in a folder that this process alone writes to."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        super().__init__()
        self.folder, self.replicas = folder, int(settings["replicas"])
        self.pending: list[np.ndarray] = []
        self.pending_labels: list[np.ndarray] = []
        self.checkpoint = folder / checkpoint.CHECKPOINT
        self.saved: dict[str, Tensor] | None = None
        checkpoint.claim(folder, settings)
        (folder / CHUNKS).mkdir(exist_ok=True)
        for left in [*folder.glob(".*.tmp"), *(folder / CHUNKS).glob(".*.tmp")]:  # of a writer that was killed
            left.unlink()
        if self.checkpoint.exists():
            self.saved, self.progress = checkpoint.read(self.checkpoint)

    def restore(self, rng: Generator, device: torch.device) -> State | None:
        if self.saved is None:
            return None
        rng.set_state(self.saved["rng"])
        return State._make(self.saved[n].to(device) if n in self.saved else None for n in State._fields)

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
        checkpoint.write(self.checkpoint, state, rng, self.progress)

    def frames(self, make: Make, finish: Finish | None = None) -> Frames:
        return assembled(self.folder, [self], self.progress, make, finish)

    def blocks(self) -> list[np.ndarray]:
        """Of all frames, each (n, R, N, 3) nm; checked."""
        return [self._block(*entry) for entry in self.progress.blocks]

    def labels(self) -> list[np.ndarray]:
        """Those of the blocks, each (n, R, L)."""
        return [self._block(*entry) for entry in self.progress.labels]

    def _store(self, name: str, block: np.ndarray) -> list[Any]:
        path = self.folder / CHUNKS / name
        return [name, len(block), filesystem.write_npy(path, block)]

    def _block(self, name: str, count: int, digest: str) -> np.ndarray:
        path = self.folder / CHUNKS / name
        if not path.exists() or filesystem.sha256(path) != digest:
            raise ValueError(f"{path} is not what was written; remove {self.folder} and simulate again")
        block = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(block) != count:
            raise ValueError(f"expected {count} frames in {path}, got {len(block)}; remove {self.folder}")
        return block


def assembled(
    folder: Path,
    parts: Sequence[Folder],
    progress: checkpoint.Progress,
    make: Make,
    finish: Finish | None = None,
) -> Frames:
    """One folder of frames from those of one or several simulations, whose replicas follow one another.

    What the parts have written is removed. ``progress`` is that of all of them together.
    """
    turned, turned_labels = folder / TURNED, folder / TURNED_LABELS
    if not turned.exists():  # whole or absent, so the blocks are no longer needed once it is there
        runs = [part.progress.runs(part.replicas) for part in parts]
        if finish:
            labels = [part.labels() for part in parts]
            filesystem.write_npy(turned_labels, runs_of_labels(list(zip(labels, runs, strict=True))))
        write_runs([(part.blocks(), own) for part, own in zip(parts, runs, strict=True)], turned)
    for part in parts:
        shutil.rmtree(part.folder / CHUNKS, ignore_errors=True)
    whole = make(np.load(turned, mmap_mode="r", allow_pickle=False), progress)
    if finish:
        finish(whole, np.load(turned_labels, allow_pickle=False), folder)
    else:
        whole.save(folder)
    remove(leftovers(folder))
    return Frames.load(folder)


def leftovers(folder: Path) -> list[Path]:
    """What the frames of a simulation are made of, and goes when they are there."""
    names = (PARTS, TASKS, CHUNKS, TURNED, TURNED_LABELS, checkpoint.CHECKPOINT, checkpoint.SETTINGS)
    return [path for name in names if (path := folder / name).exists()]


def remove(paths: Sequence[Path]) -> None:
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_runs(parts: Sequence[Blocks], path: Path) -> None:
    """Write blocks (n, R, N, 3) as one array of runs (T, N, 3), those of one part after those of the other."""
    beads = next(blocks[0].shape[2] for blocks, _ in parts if blocks)
    shape = (sum(count for _, runs in parts for _, count in runs), beads, 3)
    with filesystem.replacing(path) as handle:
        filesystem.npy_header(handle, shape, np.dtype(np.float32))
        for part in parts:
            _write_part(handle, *part)


def _write_part(handle: IO[bytes], blocks: list[np.ndarray], runs: list[tuple[int, int]]) -> None:
    """The runs one after the other, a few replicas at a time (``PIECE_BYTES``)."""
    together = max(1, PIECE_BYTES // max(1, sum(block[:, 0].nbytes for block in blocks)))
    for begin in range(0, len(runs), together):
        group = runs[begin : begin + together]
        if together == 1:  # one run alone may exceed the limit
            replica, left = group[0]
            for block in blocks:
                handle.write(block[: max(left, 0), replica].tobytes())
                left -= len(block)
            continue
        chosen = [replica for replica, _ in group]
        buffer = np.concatenate([block[:, chosen] for block in blocks])
        for column, (_, count) in enumerate(group):
            handle.write(buffer[:count, column].tobytes())


def runs_of_labels(parts: Sequence[Blocks]) -> np.ndarray:
    """Labels (n, R, L) of blocks as (T, L), in the order of the runs."""
    found = []
    for blocks, runs in parts:
        whole = np.concatenate(blocks)
        found += [whole[:count, replica] for replica, count in runs]
    return np.concatenate(found)

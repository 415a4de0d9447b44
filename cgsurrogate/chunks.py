"""Where the frames of a running simulation go: to memory, or to a folder of immutable blocks and one checkpoint.

A commit writes the new block and then the checkpoint that names it, each whole or not at all; what the checkpoint does
not name never happened. Blocks hold (frames, replicas, N, 3); at the end they are turned into runs piece by piece.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate import files
from cgsurrogate.frames import Beads, Frames
from cgsurrogate.propagator import State

PIECE_BYTES = 256 << 20  # memory for turning blocks into runs


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
        self, beads: Beads, dt: float, temperature: float, source: dict[str, Any], finish: Finish | None = None
    ) -> Frames:
        """All frames, a run a replica, without those from the first bad one on; ``finish`` makes others of them."""

    def runs(self, replicas: int) -> list[tuple[int, int]]:
        """(replica, frames) of every replica that has a good frame."""
        cut = {entry["replica"]: entry["frame"] for entry in self.progress.quarantined}
        return [(r, n) for r in range(replicas) if (n := cut.get(r, self.progress.frames))]

    def notes(self, runs: list[tuple[int, int]], dt: float) -> dict[str, Any]:
        """What the frames say about how it went."""
        quarantined = [
            {"replica": q["replica"], "time": (q["frame"] + 1) * dt, "reason": q["reason"]}
            for q in self.progress.quarantined
        ]
        notes: dict[str, Any] = {"replicas": [r for r, _ in runs], "quarantined": quarantined}
        notes["wall_seconds"] = self.progress.seconds
        if self.progress.heat[1]:
            notes["kinetic_temperature"] = self.progress.heat[0] / self.progress.heat[1]
        if self.progress.close:
            notes["too_close"] = self.progress.close
        return notes


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
        self, beads: Beads, dt: float, temperature: float, source: dict[str, Any], finish: Finish | None = None
    ) -> Frames:
        runs = self.runs(len(self.array))
        if self.progress.quarantined:
            positions = np.concatenate([self.array[replica, :count] for replica, count in runs])
        else:
            positions = self.array.reshape(-1, *self.array.shape[2:])
        lengths = tuple(count for _, count in runs)
        whole = Frames(beads, positions, lengths, dt, temperature, source=source | self.notes(runs, dt))
        return finish(whole, _turn_labels(self.labels, runs), None) if finish else whole


class Folder(Sink):
    """Blocks and a checkpoint in a folder that this process alone writes to."""

    resumable = True

    def __init__(self, folder: Path, settings: dict[str, Any]):
        super().__init__()
        self.folder, self.replicas = folder, int(settings["replicas"])
        self.pending: list[np.ndarray] = []
        self.pending_labels: list[np.ndarray] = []
        self.checkpoint, self.turned = folder / "checkpoint.safetensors", folder / "turned.npy"
        self.turned_labels = folder / "turned-labels.npy"
        self.saved: dict[str, Tensor] | None = None
        if (folder / "simulation.json").exists():
            refuse_other(folder, files.read_json(folder / "simulation.json"), settings)
        else:
            files.write_json(folder / "simulation.json", settings)
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
        self, beads: Beads, dt: float, temperature: float, source: dict[str, Any], finish: Finish | None = None
    ) -> Frames:
        runs = self.runs(self.replicas)
        if not self.turned.exists():  # whole or absent, so the blocks are no longer needed once it is there
            if finish:
                labels = _turn_labels([self._block(*entry) for entry in self.progress.labels], runs)
                files.write_npy(self.turned_labels, labels)
            _turn([self._block(*entry) for entry in self.progress.blocks], runs, self.turned)
        shutil.rmtree(self.folder / "chunks", ignore_errors=True)
        positions = np.load(self.turned, mmap_mode="r", allow_pickle=False)
        lengths = tuple(count for _, count in runs)
        whole = Frames(beads, positions, lengths, dt, temperature, source=source | self.notes(runs, dt))
        if finish:
            finish(whole, np.load(self.turned_labels, allow_pickle=False), self.folder)
        else:
            whole.save(self.folder)
        for path in (self.turned, self.turned_labels, self.checkpoint, self.folder / "simulation.json"):
            path.unlink(missing_ok=True)
        return Frames.load(self.folder)

    def _store(self, name: str, block: np.ndarray) -> list[Any]:
        path = self.folder / "chunks" / name
        files.write_npy(path, block)
        return [name, len(block), files.sha256(path)]

    def _block(self, name: str, count: int, digest: str) -> np.ndarray:
        path = self.folder / "chunks" / name
        if not path.exists() or files.sha256(path) != digest:
            raise ValueError(f"{path} is not what was written; remove {self.folder} and simulate again")
        block = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(block) != count:
            raise ValueError(f"expected {count} frames in {path}, got {len(block)}; remove {self.folder}")
        return block


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
    with files.replacing(path) as handle:
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


def _turn(blocks: list[np.ndarray], runs: list[tuple[int, int]], path: Path) -> None:
    """Write blocks (n, R, N, 3) as one array of runs (T, N, 3), a few replicas at a time (``PIECE_BYTES``)."""
    beads = blocks[0].shape[2]
    longest = sum(map(len, blocks))
    together = max(1, PIECE_BYTES // (longest * beads * 12))
    shape = (sum(count for _, count in runs), beads, 3)
    with files.replacing(path) as handle:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(handle, header)
        for begin in range(0, len(runs), together):
            group = runs[begin : begin + together]
            if together == 1:  # one run alone may exceed the limit
                for piece in _pieces(blocks, group[0][1]):
                    handle.write(np.ascontiguousarray(piece[:, group[0][0]]).tobytes())
                continue
            chosen = [replica for replica, _ in group]
            buffer = np.concatenate([block[:, chosen] for block in blocks])
            for column, (_, count) in enumerate(group):
                handle.write(buffer[:count, column].tobytes())


def _turn_labels(blocks: list[np.ndarray], runs: list[tuple[int, int]]) -> np.ndarray:
    """Labels (n, R, L) of blocks as (T, L), in the order of the runs."""
    whole = np.concatenate(blocks)
    return np.concatenate([whole[:count, replica] for replica, count in runs])


def _pieces(blocks: list[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """The first ``count`` frames, block by block."""
    for block in blocks:
        if count > 0:
            yield block[:count]
        count -= len(block)

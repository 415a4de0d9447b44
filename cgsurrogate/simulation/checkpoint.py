"""How far a simulation is, and the file that it can go on from: written whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from torch import Generator, Tensor

from cgsurrogate.core import filesystem
from cgsurrogate.core.propagator import State
from cgsurrogate.core.provenance import Provenance, Quarantined
from cgsurrogate.simulation import identity

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


def claim(folder: Path, settings: dict[str, Any]) -> None:
    """Note whose folder it is; ValueError if it is that of a simulation with other settings."""
    if (folder / SETTINGS).exists():
        identity.refuse_other(folder, filesystem.read_json(folder / SETTINGS), settings)
    else:
        filesystem.write_json(folder / SETTINGS, settings)


def write(path: Path, state: State, rng: Generator, progress: Progress) -> None:
    """State, random numbers and progress in one file, so that they cannot disagree."""
    from safetensors.torch import save

    tensors = {name: t.detach().cpu().contiguous() for name, t in state._asdict().items() if t is not None}
    tensors["rng"] = rng.get_state()
    told = json.dumps(dataclasses.asdict(progress))
    metadata = {"progress": told, "sha256": _digest(tensors, told)}
    with filesystem.replacing(path) as handle:
        handle.write(save(tensors, metadata))


def read(path: Path) -> tuple[dict[str, Tensor], Progress]:
    """What ``write`` wrote: tensors by their name, and the progress; ValueError if it is anything else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as handle:
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
            metadata = handle.metadata() or {}
        told = metadata["progress"]
        if metadata["sha256"] not in (_digest(tensors, told), _digest_of_numbers(tensors)):
            raise ValueError("its contents have changed")
        return tensors, Progress(**json.loads(told))
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
        raise ValueError(f"{path} is not a checkpoint ({error}); remove {path.parent} and simulate again") from None


def _digest(tensors: dict[str, Tensor], progress: str) -> str:
    """Of names, types, shapes and numbers, and of the progress."""
    shapes = sorted((name, str(tensor.dtype), tuple(tensor.shape)) for name, tensor in tensors.items())
    return hashlib.sha256(f"{_digest_of_numbers(tensors)} {shapes} {progress}".encode()).hexdigest()


def _digest_of_numbers(tensors: dict[str, Tensor]) -> str:
    """All that checkpoints of earlier versions checked."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()

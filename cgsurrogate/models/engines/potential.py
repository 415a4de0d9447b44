"""A force field as engines call it: NumPy in, NumPy out, float64 at the door and float32 inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core import filesystem
from cgsurrogate.core.energy import Energy, forces
from cgsurrogate.models.engines import compiled
from cgsurrogate.models.evaluation.evaluator import Forces
from cgsurrogate.models.model import Model

RECORD = "export.json"  # beside the model: what was exported, of which weights

Both = Callable[[Tensor], tuple[Tensor, Tensor]]


class Potential:
    """(B, N, 3) nm -> energies (B,) kJ/mol and forces (B, N, 3) kJ/mol/nm, all float64.

    Positions are taken about their mean first: an engine lets a molecule diffuse, and single precision would lose
    digits far from the origin. An energy that is no more than float32 stays so. Where the molecule is given by a
    ``folder``, a copy in another process is made of that folder, and no weights travel.
    """

    def __init__(self, model: Model, evaluate: Both | None = None, source: tuple[Any, ...] | None = None):
        self.model, self.beads, self.temperature = model, model.beads, model.temperature
        energy = energy_of(model).eval().requires_grad_(False)
        self.like = next((t for t in energy.state_dict().values() if t.is_floating_point()), torch.zeros(()))
        self.evaluate = evaluate or Forces(energy)
        self.source = source

    @classmethod
    def load(cls, folder: str | Path, compiled_file: str | Path | None = None, device: str = "cpu") -> Potential:
        """The force field of a model folder.

        Args:
            compiled_file: a ``.pt2`` package that ``cgsurrogate export`` made of this very model; it is faster for one
                molecule. It holds machine code that runs in this process, so use only files that you trust.
            device: on which the model is evaluated.

        Raises:
            FileNotFoundError, ValueError: as for ``Model.load``; or the package was made of other weights.
        """
        folder, model = Path(folder).resolve(), Model.load(folder, device)
        package = None
        if compiled_file is not None:
            path = Path(compiled_file).resolve()
            _same_weights(path, model)
            package = compiled.load(path)
        return cls(model, package, (folder, compiled_file and Path(compiled_file).resolve(), device))

    def __reduce__(self) -> tuple[Any, ...]:
        if self.source is None:
            raise ValueError("a potential that was not loaded from a folder cannot be passed on; save its model first")
        return Potential.load, self.source

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = np.asarray(positions, np.float64)
        if x.ndim != 3 or x.shape[1:] != (len(self.beads), 3):
            raise ValueError(f"expected positions (B, {len(self.beads)}, 3) in nm, got an array of shape {x.shape}")
        value, force = self.evaluate(torch.from_numpy(x - x.mean(1, keepdims=True)).to(self.like))
        return value.double().cpu().numpy(), force.double().cpu().numpy()


def energy_of(model: Model) -> Energy:
    """The energy of a force field; ``ValueError`` for a time-stepper."""
    if not isinstance(model.module, Energy):
        raise ValueError("a time-stepper has no energy; engines need a force field (cgsurrogate train energy)")
    return model.module


def deviations(evaluate: Both, energy: Energy, positions: np.ndarray) -> dict[str, float]:
    """How far energies and forces at (B, N, 3) nm are from those of the same weights in float64.

    Roots of mean squares: ``energy`` kJ/mol about its mean deviation (``offset``), since a constant moves nothing;
    ``force`` kJ/mol/nm, and ``force_size`` of the forces themselves.
    """
    import copy

    x = torch.from_numpy(np.asarray(positions, np.float64))
    true, slope = forces(copy.deepcopy(energy).cpu().double(), x)
    like = next((t for t in energy.state_dict().values() if t.is_floating_point()), torch.zeros(()))
    value, force = (part.double().cpu() for part in evaluate(x.to(like)))
    off = value - true
    return {
        "energy": float((off - off.mean()).square().mean().sqrt()),
        "offset": float(off.mean()),
        "force": float((force - slope).square().mean().sqrt()),
        "force_size": float(slope.square().mean().sqrt()),
    }


def _same_weights(path: Path, model: Model) -> None:
    record = path.with_name(RECORD)
    known = filesystem.read_json(record) if record.exists() else {}
    entry = known.get("compiled", {}).get(path.name)
    if entry is None or known.get("model") != model.digest:
        raise ValueError(f"{path} was not made of this model; make it anew: cgsurrogate export MODEL --format pt2")
    filesystem.verify(path, entry["sha256"], "export it again")

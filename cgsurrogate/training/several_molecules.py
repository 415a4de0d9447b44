"""An energy that learns from the frames of several molecules: priors by kind, networks by type, noise contrast of each.

Every molecule has an energy of its own, bound to it, and a log partition; weights are shared. A step learns from one of
them. What is learned beside contrast (forces or denoising) is as for one molecule. Priors are those of all molecules
together, the noise of a molecule has its own; the network learns the difference as well. Of many molecules some are
held out whole and choose the best weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from cgsurrogate.core.energy import Sum
from cgsurrogate.core.frames import Frames
from cgsurrogate.training.force_field import divided, energy_objective, local_objective, place, prepared, told
from cgsurrogate.training.held_out import held_out_molecules
from cgsurrogate.training.loop import Report, fit, silent
from cgsurrogate.training.objectives._base import Batch, BatchObjective, Objective
from cgsurrogate.training.objectives.noise_contrast import WithLogPartition, pool_size
from cgsurrogate.training.settings import EnergySettings
from cgsurrogate.training.state import History

CHECKED = 12  # batches to validate on, of all molecules
POOL = 400_000  # noise frames of all molecules
NOT_TUNED = (
    "several molecules learn by noise contrast, forces and denoising; the model is not told from its own samples"
)


class SeveralObjectives(Objective):
    """Those of several molecules: a batch is of one of them, drawn at random, and its last part says of which.

    The last ``validating`` of them only validate; where there are none, all do.
    """

    def __init__(self, members: Sequence[BatchObjective], validating: int = 0):
        self.members, self.learning = list(members), len(members) - validating
        self.first = self.learning if validating else 0

    def draw(self, rng: Generator) -> Batch:
        which = torch.randint(self.learning, (), generator=rng)
        return *self.members[int(which)].draw(rng), which

    def loss(self, module: nn.Module, batch: Batch, rng: Generator) -> Tensor:
        """``module`` is a list with the energy of each molecule."""
        *parts, which = batch
        assert isinstance(module, nn.ModuleList)
        own: Any = module[int(which)].train(module.training)
        return self.members[int(which)].loss(own, tuple(parts), rng)

    def held_out(self) -> Sequence[Batch]:
        checked = list(enumerate(self.members))[self.first :]
        each = max(1, CHECKED // len(checked))
        return [(*b, torch.tensor(k)) for k, one in checked for b in list(one.held_out())[:each]]


def train_energy_together(
    energy: Sum,
    every: Sequence[Frames],
    settings: EnergySettings = EnergySettings(),
    *,
    trained: Sum | None = None,
    folder: Path | None = None,
    report: Report = silent,
    device: str = "cpu",
) -> History:
    """Fit and train ``energy``, which is that of the first molecule, in place, from the frames of all.

    ``trained`` and ``device`` are as for ``train_energy``.

    Raises:
        ValueError: a term that belongs to one molecule; frames of several temperatures; the objective ``likelihood``,
            which samples one molecule.
    """
    _refuse_unlike(energy, every, settings)
    learning, held = held_out_molecules(every, settings)
    split = [(f, f) if held else f.split(settings.held_out_fraction, settings.seed) for f in learning]
    begun, notes, settings = prepared(energy, trained, split, settings, report)
    begun, parts = begun.and_validating(held), [*split, *((f, f) for f in held)]
    place(begun, device)
    members, networks = [], []
    for number, (one, part) in enumerate(zip(begun.energies, parts, strict=True)):
        priors, own = divided(one)
        if not len(own.terms):
            return History((), {}, "priors fitted; there is no network to train", notes)
        report(0.0, f"noise frames of molecule {number + 1} of {len(parts)}")
        pool = min(pool_size(part[0]), max(4000, POOL // len(parts)))
        free = number >= len(learning)
        objective = "" if free else local_objective(settings.objective, part[0])
        marginals = begun.marginals[number]
        members.append(energy_objective(objective, priors, *part, settings.seed, pool, marginals, free))
        networks.append(WithLogPartition(own, begun.log_partitions[number]))
    notes = (*notes, NOT_TUNED) if settings.fine_tune else notes
    module, label = nn.ModuleList(networks), "training the energy"
    objectives = SeveralObjectives(members, len(held))
    history = fit(module, objectives, settings, folder=folder, label=label, report=report, start=trained is not None)
    energy.cpu()
    return told(history, begun, notes, lambda words: report(1.0, words))


def _refuse_unlike(energy: Sum, every: Sequence[Frames], settings: EnergySettings) -> None:
    if settings.objective == "likelihood":
        raise ValueError("maximum likelihood samples one molecule, got several; choose another objective")
    bound = [type(term).__name__ for term in energy.terms if not getattr(term, "transfers", False)]
    if bound:
        raise ValueError(f"{bound[0]} belongs to one molecule, got frames of {len(every)}; leave it out")
    temperatures = sorted({frames.temperature for frames in every})
    if len(temperatures) > 1:
        raise ValueError(f"expected frames of one temperature, got {temperatures[0]:g} to {temperatures[-1]:g} K")
    few = next((frames for frames in every if len(frames) < 10), None)
    if few is not None:
        raise ValueError(f"expected ten or more frames of each molecule to train from, got {len(few)}; map more frames")

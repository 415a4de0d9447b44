"""What the training of an energy begins with where there is a trained one: its priors and network, or new ones.

A network corrects the priors that it was trained with. Priors that are fitted to the frames know their force field and
their sequence, but of few frames they know little; and what they do know, the network may correct a second time. So all
combinations are tried on frames that were set aside, by how well they tell these from noise of a known density
(``noise_contrast``),

    s(x) = -(U_priors(x) + U_network(x) - U_marginals(x)) / kT - ln Z,

where the marginals are the priors of single coordinates that were fitted to the frames, since the noise is made of
these. The best combination is taken.
"""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core import disk_arrays
from cgsurrogate.core.energy import Energy, Prior, Sum
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.statistics import systematic
from cgsurrogate.geometry.torsion_moves import TorsionMoves
from cgsurrogate.training.objectives.noise_contrast import contrast_loss, noise_frames

SAMPLE, NOISE, BLOCK = 1000, 4000, 500  # frames that judge and noise frames, of all molecules; frames at a time
LEAST = 300  # of either, of each molecule
STEPS, WIDTH = 80, 60.0  # of the search for ln Z, and kT from the middle of the scores

Parts = Sequence[tuple[Frames, Frames]]
"""Of each molecule the frames to learn from, and those to validate on."""
OWN, PAIRS, ALL = "its own priors", "its own priors and the pretrained repulsion", "the pretrained priors"


@dataclasses.dataclass(frozen=True, eq=False)
class Begun:
    """What a training begins with.

    Attributes:
        energies: of each molecule; the first is the one that was given, and all share their weights.
        marginals: of each molecule the priors of single coordinates that its noise has, where the energies have others.
        log_partitions: ln Z of each.
        pretrained: whether the networks are the trained ones.
        words: what was chosen, and the validation losses that decided.
    """

    energies: list[Sum]
    marginals: list[Sum | None]
    log_partitions: list[float]
    pretrained: bool
    words: str


def begin(energy: Sum, trained: Sum, parts: Parts, seed: int) -> Begun:
    """Choose, and put it into the energy.

    Args:
        energy: of the first molecule, its priors fitted and its networks not trained.
        trained: of the same kinds of terms, of any molecule.
    """
    beads = [kept.beads for kept, _ in parts]
    theirs = [_bound(term, beads) for term in trained.terms if isinstance(term, Energy)]
    mine = [[term, *(term.bound(b) for b in beads[1:])] for term in energy.terms if isinstance(term, Energy)]
    priors = [k for k, term in enumerate(energy.terms) if isinstance(term, Prior)]
    single = [k for k in priors if mine[k][0].marginal]
    choices = {OWN: [], PAIRS: [k for k in priors if k not in single], ALL: priors}
    choices = {name: taken for name, taken in choices.items() if all(theirs[k] for k in taken)}
    scales = [
        _Scale([m[i] for m in mine], [t[i] if t else None for t in theirs], single, two, len(parts), seed)
        for i, two in enumerate(parts)
    ]
    found = {
        (name, network): [scale.loss(taken, network) for scale in scales]
        for (name, taken), network in itertools.product(choices.items(), (True, False))
    }
    losses = {key: float(np.mean([loss for loss, _ in each])) for key, each in found.items()}
    best, pretrained = min(losses, key=lambda key: losses[key])
    for k, term in enumerate(energy.terms):
        if k in choices[best]:
            energy.terms[k] = theirs[k][0]
        elif k not in priors and pretrained:
            term.load_state_dict(theirs[k][0].state_dict())
    words = (
        f"begins with {best} and {'the pretrained' if pretrained else 'an untrained'} network: validation loss "
        f"{losses[best, pretrained]:.4g}; {losses[OWN, False]:.4g} without the pretrained model"
    )
    other = set(single) & set(choices[best])
    marginals = [Sum(*(mine[k][i] for k in single)) if other else None for i in range(len(parts))]
    energies = [energy, *(energy.bound(b) for b in beads[1:])]
    return Begun(energies, marginals, [at for _, at in found[best, pretrained]], pretrained, words)


def _bound(term: Energy, beads: Sequence[Beads]) -> list[Energy]:
    """To each molecule; empty where it knows nothing like a part of one of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what stands for what matters only for what is taken
        try:
            return [term.bound(one) for one in beads]
        except ValueError:
            if not isinstance(term, Prior):
                raise
            return []


class _Scale:
    """All terms of one molecule, (2, frames) kT each, evaluated at frames that were set aside and at noise."""

    def __init__(
        self,
        mine: Sequence[Energy],
        theirs: Sequence[Energy | None],
        single: Sequence[int],
        parts: tuple[Frames, Frames],
        molecules: int,
        seed: int,
    ):
        kept, held = parts
        sums = torch.from_numpy(disk_arrays.running_sums(held.probabilities))
        chosen = systematic(sums, min(max(LEAST, SAMPLE // molecules), len(held)))
        data = torch.from_numpy(np.array(held.positions[chosen.numpy()], np.float32))
        count = max(LEAST, NOISE // molecules)
        noise = noise_frames(TorsionMoves(kept.beads), kept, count, Generator().manual_seed(seed))

        def values(term: Energy) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                real, made = (torch.cat([term(block) for block in x.split(BLOCK)]) / kept.kT for x in (data, noise))
            return real, made

        self.mine = [values(term) for term in mine]
        self.theirs = [None if term is None else values(term) for term in theirs]
        self.priors = [k for k, term in enumerate(mine) if isinstance(term, Prior)]
        self.single = single

    def loss(self, taken: Sequence[int], network: bool) -> tuple[float, float]:
        """With the trained priors ``taken`` in place of the fitted ones, and the trained network or none: the loss at
        the best ln Z, and that."""
        scores = []
        for part in (0, 1):
            total = torch.zeros_like(self.mine[0][part])
            for k, (own, other) in enumerate(zip(self.mine, self.theirs, strict=True)):
                if k not in self.priors:
                    total += other[part] if network and other is not None else 0
                elif k in taken and other is not None:
                    total += other[part] - (own[part] if k in self.single else 0)
                elif k not in self.single:
                    total += own[part]
            scores.append(-total)
        return _at_best(*scores)


def _at_best(real: Tensor, made: Tensor) -> tuple[float, float]:
    """The least logistic loss of scores over their ln Z, and that; the loss is convex in it."""
    middle = float(torch.cat((real, made)).median())
    low, high = middle - WIDTH, middle + WIDTH

    def loss(at: float) -> float:
        return float(contrast_loss(real - at, made - at))

    for _ in range(STEPS):
        one, two = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, two) if loss(one) <= loss(two) else (one, high)
    return loss((low + high) / 2), (low + high) / 2

"""What the training of an energy begins with where there is a trained one: its priors and network, or new ones.

A network corrects the priors that it was trained with. Priors that are fitted to the frames know their force field and
their sequence, but of few frames they know little; and what they do know, the network may correct a second time. So all
combinations are tried on frames that were set aside, by how well they tell these from noise of a known density
(``noise_contrast``),

    s(x) = -(U_priors(x) + U_network(x) - U_marginals(x)) / kT - ln Z,

where the marginals are the priors of single coordinates that were fitted to the frames, since the noise is made of
these. Bonds and impropers are left out: noise has those of the data. The best combination is taken.
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
from cgsurrogate.training.objectives.noise_contrast import best_log_partition, noise_frames

SAMPLE, NOISE, BLOCK = 1000, 4000, 500  # frames that judge and noise frames, of all molecules; frames at a time
LEAST = 300  # of either, of each molecule

Parts = Sequence[tuple[Frames, Frames]]
"""Of each molecule the frames to learn from, and those to validate on."""
OWN, PAIRS, ALL = "its own priors", "its own priors and the pretrained repulsion", "the pretrained priors"


@dataclasses.dataclass(frozen=True, eq=False)
class Begun:
    """What a training begins with.

    Attributes:
        energies: of each molecule; the first is the one that was given, and all share their weights.
        marginals: of each molecule the priors of single coordinates that its noise has, where the energies have others,
            as those of several molecules do; None where they are its own.
        log_partitions: ln Z of each.
        pretrained: whether the networks are the trained ones.
        words: what was chosen, and the validation losses that decided.
    """

    energies: list[Sum]
    marginals: list[Sum | None]
    log_partitions: list[float]
    pretrained: bool
    words: str

    def and_validating(self, held: Sequence[Frames]) -> Begun:
        """Also with molecules that only validate, and whose ln Z is not asked for."""
        energy = self.energies[0]
        return dataclasses.replace(
            self,
            energies=[*self.energies, *(energy.bound(one.beads) for one in held)],
            marginals=[*self.marginals, *(marginals_of(_terms(energy), one) for one in held)],
            log_partitions=[*self.log_partitions, *(0.0 for _ in held)],
        )


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
    redrawn = [mine[k][0] for k in priors if mine[k][0].redrawn]
    choices = {OWN: [], PAIRS: [k for k in priors if k not in single], ALL: priors}
    choices = {name: taken for name, taken in choices.items() if all(theirs[k] for k in taken)}
    marginals = [Sum(*redrawn)]
    if len(parts) > 1:
        marginals = [marginals_of(redrawn, kept) for kept, _ in parts]
    scales = [
        _Scale([m[i] for m in mine], [t[i] if t else None for t in theirs], marginals[i], two, len(parts), seed)
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
    other = len(parts) > 1 or bool(set(single) & set(choices[best]))
    energies = [energy, *(energy.bound(b) for b in beads[1:])]
    return Begun(
        energies,
        [m if other else None for m in marginals],
        [at for _, at in found[best, pretrained]],
        pretrained,
        words,
    )


def begin_untrained(energy: Sum, parts: Parts, seed: int) -> Begun:
    """With fitted priors; of several molecules with the ln Z that a network which is zero everywhere has."""
    energies = [energy, *(energy.bound(kept.beads) for kept, _ in parts[1:])]
    if len(parts) == 1:
        return Begun(energies, [None], [0.0], False, "")
    marginals, log_partitions = list[Sum | None](), []
    for own, two in zip(energies, parts, strict=True):
        terms, noise = _terms(own), marginals_of(_terms(energy), two[0])
        scale = _Scale(terms, [None] * len(terms), noise, two, len(parts), seed)
        log_partitions.append(scale.loss((), False)[1])
        marginals.append(noise)
    return Begun(energies, marginals, log_partitions, False, "")


def _terms(energy: Sum) -> list[Energy]:
    return [term for term in energy.terms if isinstance(term, Energy)]


def marginals_of(priors: Sequence[Energy], frames: Frames) -> Sum:
    """Priors of single coordinates, as those among ``priors`` but fitted to the frames of one molecule alone: the
    density of the noise that is made of these."""
    made: list[Prior] = [term.spec.build(frames.beads) for term in priors if isinstance(term, Prior) and term.redrawn]
    for term in made:
        term.fit(frames)
    return Sum(*made)


def kept_by_noise(term: Energy) -> bool:
    """Whether noise has the coordinates of a prior from the data, and so cannot be told from them by it."""
    return isinstance(term, Prior) and term.marginal and not term.redrawn


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
        marginals: Sum,
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
        self.marginals = values(marginals)
        self.kept = [k for k in self.priors if kept_by_noise(mine[k])]

    def loss(self, taken: Sequence[int], network: bool) -> tuple[float, float]:
        """With the trained priors ``taken`` in place of the fitted ones, and the trained network or none: the loss at
        the best ln Z, and that."""
        real, made = (self._scores(taken, network, part) for part in (0, 1))
        return best_log_partition(real, made)

    def _scores(self, taken: Sequence[int], network: bool, part: int) -> Tensor:
        total = -self.marginals[part]
        for k, (own, other) in enumerate(zip(self.mine, self.theirs, strict=True)):
            if k in self.priors and k not in self.kept:
                total = total + (other[part] if k in taken and other is not None else own[part])
            elif network and other is not None and k not in self.priors:
                total = total + other[part]
        return -total

"""What priors of single coordinates share: how they are fitted, and what is done where a form does not fit.

Kinds of terms come from the types of their beads. Where a kind does not suit its data, these are tried in order, and
the first one that fits is taken:

1. terms whose means lie apart get kinds of their own (``_grouping``); this is done for every kind, also where one
   fit could have spanned them;
2. a table of the distribution, Boltzmann inverted (``_tabulated``), for a kind that its form cannot follow;
3. the form all the same, which has the mean and the spread of all samples: wider, and so weaker, than each hump.

``notes`` say so in words. Only what no energy could hold is an error: values that are not finite, too few frames.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from torch import Tensor

from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.models.evaluation import analytic
from cgsurrogate.models.priors import _boltzmann_inversion, _grouping, _tabulated
from cgsurrogate.models.priors._kinds import KindPrior
from cgsurrogate.models.priors._pooled import Pool

WORST_MISFIT = 0.3  # of cumulative distributions, above which a form does not follow the data

ALIKE = 0.3  # terms of a kind, as many as which those that are alike count
LEAST_FRAMES = 200  # fewer of one conformation have means apart by chance


class MarginalPrior(KindPrior):
    """A Boltzmann inversion of one coordinate a term.

    Class attributes: ``what``, the name of the terms; ``periodic``; ``parted``, whether terms of one type whose
    means lie apart get kinds of their own; ``kernel``, the least width that a distribution is
    resolved to; ``bounds`` and ``power`` of the volume element of a coordinate that is not periodic.
    """

    marginal = True
    periodic: ClassVar[bool] = False
    parted: ClassVar[bool] = True
    kernel: float
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    power: ClassVar[int] = 0

    def __init__(self, beads: Beads, rows: np.ndarray, **shapes: tuple[int, ...]):
        super().__init__(beads, rows, **shapes)
        self.table = _tabulated.Tabulated(self.periodic)

    @abc.abstractmethod
    def coordinates(self, positions: Tensor) -> Tensor:
        """(B, N, 3) nm -> (B, M) nm, cosine or radian."""

    @abc.abstractmethod
    def fit_kind(self, kind: int, name: str, samples: np.ndarray, share: np.ndarray, kT: float) -> None:
        """Set the parameters of a kind, and its ``misfit``, from samples (S,) and their probabilities (S,)."""

    @abc.abstractmethod
    def switch_off(self, kind: int) -> None:
        """Let the form of a kind that has been fitted be zero everywhere."""

    def with_tables(self, curve: Callable[[Tensor], tuple[Tensor, Tensor]]) -> analytic.Analytic:
        """``curve`` of the form alone, as ``analytic.Curves`` takes it, and the tables."""
        if self.table.empty:
            return analytic.Curves(self.rows, curve)
        return analytic.Curves(self.rows, lambda q: self.table.add_to(q, *curve(q)))

    def fit(self, frames: Frames, *others: Frames) -> None:
        pool = self.pool(frames, *others)
        notes = self._tell_apart(pool, frames.kT)
        alike = self.alike(pool) if others else None
        tables, tabled = [], []
        for kind, label in enumerate(self.names):
            name = f"{self.what} {label}"
            samples, weights = pool.samples(kind) if alike is None else pool.shrunk(kind, alike, ALIKE)
            self.fit_kind(kind, name, samples, weights, frames.kT)
            seen = float(self.misfit[kind])
            if seen < WORST_MISFIT or np.ptp(samples) == 0:
                continue
            table, misfit = self._tabulate(name, samples, weights, frames.kT)
            far = (
                f"{name}: its form does not fit, cumulative distributions differ by {seen:.2f} (at most {WORST_MISFIT})"
            )
            if misfit < min(WORST_MISFIT, seen):
                self.switch_off(kind)
                self.misfit[kind] = misfit
                tables.append(table)
                tabled.append(kind)
                notes.append(f"{far}; a table of the distribution is used, which differs by {misfit:.2f}")
            else:
                remedy = "check the bonds of the mapping and these beads in the trajectory"
                notes.append(f"{far}, and no table does; the term is kept, wide and weak; {remedy}")
        self.table.set(tables, tabled, self.index.numpy(), frames.kT)
        self.notes = tuple(notes)

    def alike(self, pool: Pool) -> np.ndarray | None:
        """(M,) numbers, the same for terms of several molecules that lean on one another; None where none do."""
        return None

    def _tell_apart(self, pool: Pool, kT: float) -> list[str]:
        """Part kinds whose terms have means apart; words on those that one fit could not have spanned."""
        if not self.parted or pool.frames < LEAST_FRAMES:
            return []
        index, refined, count, bad = pool.index, np.empty(len(pool.index), int), 0, dict[int, float]()
        for kind, name in enumerate(self.names):
            parts = [_grouping.moments_of(values, share, self.periodic) for values, share in pool.columns(kind)]
            means, variances = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
            found = _grouping.groups(means, variances, self.periodic, self.kernel)
            refined[index == kind] = count + found
            count += int(found.max()) + 1
            if found.max() > 0:
                self.fit_kind(kind, f"{self.what} {name}", *pool.samples(kind), kT)
                if not float(self.misfit[kind]) < WORST_MISFIT:
                    bad[kind] = float(self.misfit[kind])
        before, pool.index = self.names, refined
        self.take_kinds(pool)
        return [
            f"{self.what} {before[kind]}: terms of one type that are not alike, cumulative distributions differ by "
            f"{misfit:.2f} (at most {WORST_MISFIT}); fitted apart: "
            + ", ".join(self.names[k] for k in sorted({int(k) for k in refined[index == kind]}))
            for kind, misfit in bad.items()
        ]

    def bound(self, beads: Beads) -> MarginalPrior:
        other = super().bound(beads)
        assert isinstance(other, MarginalPrior)
        other.table.take(self.table, other.index.cpu().numpy())
        return other.to(self.misfit)

    def _tabulate(self, name: str, samples: np.ndarray, share: np.ndarray, kT: float) -> tuple[_tabulated.Table, float]:
        """A table, and how far the cumulative distribution is from it."""
        if self.periodic:
            table = _tabulated.periodic_table(samples, share, self.kernel, kT)
        else:
            table = _tabulated.ranged_table(samples, share, self.kernel, kT, self.bounds, self.power)
        return table, _boltzmann_inversion.misfit(samples, share, table.nodes, table.density(kT))

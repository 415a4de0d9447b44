"""What is known of one ensemble: surfaces, distances, kinetics, convergence and structure, each with its error."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

WORTH_A_WORD = 0.05  # share of a variance
SHOWN = 4  # entries of an array, a list or a dictionary that are printed


class Result:
    """A dataclass that prints in a few lines: short arrays as numbers, long ones as shapes."""

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{f.name}={_brief(getattr(self, f.name))}' for f in fields)})"


def _brief(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array{value.shape}" if value.ndim != 1 or len(value) > SHOWN else np.array2string(value, precision=3)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        inner = [f"{key}: {_brief(one)}" if isinstance(one, (int, float)) else str(key) for key, one in value.items()]
    elif isinstance(value, (tuple, list)):
        inner = [_brief(one) for one in value]
    else:
        text = repr(value)
        return text if len(text) < 200 else f"{type(value).__name__}(...)"
    shown = ", ".join(inner[:SHOWN]) + (f", ... {len(inner)} in all" if len(inner) > SHOWN else "")
    return f"{{{shown}}}" if isinstance(value, dict) else f"({shown})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Estimate:
    """Numbers with their 95 % intervals: three arrays of one shape, nan where unknown."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __post_init__(self) -> None:
        for field in ("value", "low", "high"):
            object.__setattr__(self, field, np.asarray(getattr(self, field), float))
        if not self.value.shape == self.low.shape == self.high.shape:
            shapes = f"{self.value.shape}, {self.low.shape}, {self.high.shape}"
            raise ValueError(f"expected value, low and high of one shape, got {shapes}")

    def apart(self, other: Estimate, *place: int) -> bool | None:
        """Whether two intervals do not overlap; None where one is unknown."""
        low, high, other_low, other_high = (float(x[place]) for x in (self.low, self.high, other.low, other.high))
        return low > other_high or high < other_low if math.isfinite(low + high + other_low + other_high) else None

    def __repr__(self) -> str:
        rows = list(zip(self.value.ravel(), self.low.ravel(), self.high.ravel(), strict=True))
        shown = ", ".join(f"{value:.3g} ({low:.3g} to {high:.3g})" for value, low, high in rows[:SHOWN])
        return f"[{shown}{f', ... {self.value.shape}' if len(rows) > SHOWN else ''}]"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LogDifference(Estimate):
    """ln(own / reference) of times or rates, with 95 % intervals: both errors, on the log scale, added in squares.

    Attributes:
        factor: the reference's own uncertainty, the half-width of its interval as a factor: sqrt(high / low).
    """

    factor: np.ndarray = dataclasses.field(default_factory=lambda: np.array(math.nan))

    @classmethod
    def of(cls, reference: Estimate, own: Estimate) -> LogDifference:
        """Of two estimates of one shape; nan where either has no interval, or one that reaches to 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            a, a_low, a_high = (np.log(getattr(reference, f)) for f in ("value", "low", "high"))
            b, b_low, b_high = (np.log(getattr(own, f)) for f in ("value", "low", "high"))
            value = b - a
            low, high = value - np.hypot(b - b_low, a_high - a), value + np.hypot(b_high - b, a - a_low)
            factor = np.exp((a_high - a_low) / 2)
        known = np.isfinite(low) & np.isfinite(high)
        value, low, high = (np.where(known, x, np.nan) for x in (value, low, high))
        return cls(value=value, low=low, high=high, factor=factor)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Surface(Result):
    """A free-energy surface over one or two collective variables.

    Attributes:
        labels: name of each axis, e.g. ("TIC 1", "TIC 2").
        edges: bin edges of each axis; the same for every ensemble of a comparison.
        probability: (bins,) or (bins, bins), sums to one.
        free_energy: kJ/mol above its minimum, nan in bins without samples.
        error: kJ/mol, standard error by block bootstrap over runs, nan where unknown.
        outside: share of the samples beyond the edges (they count in the outermost bins).
        periodic: whether each axis is an angle.
        kernel: kJ/mol above its minimum, the kernel estimate at the bin centres, nan far from every sample; None where
            none was made.
        kernel_error: kJ/mol, its standard error.
    """

    labels: tuple[str, ...]
    edges: tuple[np.ndarray, ...]
    probability: np.ndarray
    free_energy: np.ndarray
    error: np.ndarray
    outside: float
    periodic: tuple[bool, ...]
    kernel: np.ndarray | None = None
    kernel_error: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Timescales(Result):
    """Implied timescales in ps against lag: ``lags`` (L,) ps, the other arrays (L, K), nan where unknown.

    ``time_scaling`` is, for an ensemble whose time is not physical, physical time over its own time, from the slowest
    timescale of the reference over its own; None for physical time or where unknown.
    """

    lags: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    physical: bool  # False for force-field time, which is not physical time
    time_scaling: Estimate | None = None


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ChapmanKolmogorov(Result):
    """Probability to be in the same state again after ``lags`` (L,) ps: by the model, and counted; each (M, L)."""

    lags: np.ndarray
    predicted: Estimate
    counted: Estimate


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class StateKinetics(Result):
    """Populations of, and transitions between, a set of M named states in one ensemble.

    Attributes:
        names: of the states, the same for every ensemble of a comparison.
        populations: (M,) shares of all frames; what belongs to no state is the rest.
        free_energies: (M,) kJ/mol above the first state, -kT ln(p / p_first).
        lag: ps, of the Markov state model; nan where there is none.
        transitions: (M, M) probability to be in the column's state one lag after the row's; None without a model.
        mean_first_passage: (M, M) ps, mean time from the row's to the column's state; None without a model.
        counts: (M, M) transitions from core to core that were seen.
        rates: (M, M) 1/ns, counts over the time in which the row's core was the last one visited, with the interval of
            a Poisson process.
        times: (L,) ps, of ``survival``.
        survival: (M, L) share of the dwell times that are at least so long.
        check: the Chapman-Kolmogorov test; None without a model.
        physical: False for force-field time, which is not physical time.
        notes: what the data do not allow.
        spacing: ps between frames; counts and rates miss what is shorter.
    """

    names: tuple[str, ...]
    populations: Estimate
    free_energies: Estimate
    lag: float
    transitions: Estimate | None
    mean_first_passage: Estimate | None
    counts: np.ndarray
    rates: Estimate
    times: np.ndarray
    survival: np.ndarray
    check: ChapmanKolmogorov | None
    physical: bool
    notes: tuple[str, ...] = ()
    spacing: float = math.nan


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Convergence(Result):
    """How well an ensemble has sampled its own distribution.

    Attributes:
        effective: about how many independent frames it has, by its slowest coordinate.
        halves: by metric, Jensen-Shannon distance of the first half of every run to its second half.
        halves_floor: by metric, the 95 % quantile of that distance between random halves of its blocks; above it,
            the runs have not come to equilibrium.
        round_trips: how often a run went from one end of the slowest coordinate to the other and back, all together.
        wall_seconds: wall time that it took to make, nan where unknown.
    """

    effective: float
    halves: dict[str, float]
    halves_floor: dict[str, float]
    round_trips: float
    wall_seconds: float = math.nan

    @property
    def per_second(self) -> float:
        """Independent frames a second of wall time."""
        return self.effective / self.wall_seconds if self.wall_seconds > 0 else math.nan


@dataclasses.dataclass(frozen=True, repr=False)
class Starts(Result):
    """What replicas remember of the frames that they started from.

    Attributes:
        explained: share of the variance of the slow coordinate that remembers most, over the second half of the
            replicas, that its value in their first frames explains; nan for too few replicas to tell.
        by_chance: the 95 % quantile of that share for starts dealt out at random.
        coordinate: number of the column.
        burn_in: frames of each replica that still remember, at most half.
        frozen: replicas that never move.
    """

    explained: float
    by_chance: float
    coordinate: int
    burn_in: int
    frozen: int

    @property
    def remembered(self) -> bool:
        """Whether the starts explain more than chance, and more than is worth a word."""
        return self.explained > max(self.by_chance, WORTH_A_WORD)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ContactMap(Result):
    """Contacts, fluctuations and distances over R residues (by their CA bead, or every bead where there is no CA).

    Attributes:
        residues: (R,) names, e.g. "TYR 1".
        contacts: (R, R) share of the frames in which two residues are in contact, nan next to the diagonal.
        cutoff: nm, of a contact.
        fluctuation: (R,) nm, root mean square fluctuation about the mean structure after superposition.
        pair_edges: (bins + 1,) nm.
        pairs: (bins,) probability of the distance of two residues, pooled over pairs at least three apart.
    """

    residues: tuple[str, ...]
    contacts: np.ndarray
    cutoff: float
    fluctuation: Estimate
    pair_edges: np.ndarray
    pairs: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class BackboneRegions(Result):
    """Share of the frames that each of R residues ("ALA 2") spends in each of K regions of (phi, psi), (R, K).

    What is in none of the regions is the rest.
    """

    residues: tuple[str, ...]
    regions: tuple[str, ...]
    shares: Estimate

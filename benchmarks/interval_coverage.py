"""Print how often the intervals that are printed as 95 % hold the truth, on chains and a double well that are known.

    python benchmarks/interval_coverage.py
    python benchmarks/interval_coverage.py --repeats 400 --case "rare, 9 runs"

Each case is a reversible chain of twelve states in three wells, run many times from equilibrium. Every repeat is
measured as a comparison measures a reference: a projection (TICA) of the data, blocks cut by its correlation, lags,
metastable states and cores found in these data, then populations, free energies, timescales, rates and passages, all
by the same functions. The truth is that of the chain for the very states, cores and lag that were found; a process that
the data do not hold cannot be known, so the timescales are those of the states that the data connect. Surfaces are
those of Brownian motion in a double well.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import click
import numpy as np

from cgsurrogate.analysis.free_energy import surfaces
from cgsurrogate.analysis.kinetics import implied_timescales, markov_model, metastable_states, transitions
from cgsurrogate.analysis.results import Estimate, StateKinetics, Surface, Timescales
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.statistics import Blocks, blocks, correlation_time, statistical_inefficiency

ONE, DT = Beads(("CA",), (0,), (1.0,), (0,), ("ALA",)), 2.0
WELLS = np.repeat([0, 1, 2], (5, 4, 3))  # of the twelve states
NAMES = ("A", "B", "C")


@dataclasses.dataclass(frozen=True)
class Case:
    """A chain and how long it is run.

    Attributes:
        shares: of the wells; the last is rare.
        links: probabilities to hop from well 1 to 2, and from the last well to either, in a frame and a state.
    """

    name: str
    shares: tuple[float, float, float]
    links: tuple[float, float]
    runs: int
    length: int

    def chain(self) -> tuple[np.ndarray, np.ndarray]:
        """(12, 12) transition matrix for one frame, (12,) stationary distribution."""
        within = np.random.default_rng(12).uniform(0.5, 1.5, len(WELLS))
        stationary = within / np.bincount(WELLS, within)[WELLS] * np.array(self.shares)[WELLS]
        same, last = WELLS[:, None] == WELLS, (WELLS == 2)[:, None] | (WELLS == 2)
        hop = np.where(same, 0.08, np.where(last, self.links[1], self.links[0]))
        flow = hop * np.minimum(stationary[:, None], stationary)
        np.fill_diagonal(flow, 0)
        matrix = flow / stationary[:, None]
        return matrix + np.diag(1 - matrix.sum(1)), stationary


CASES = (
    Case("slow, 3 short runs", (0.5, 0.4, 0.1), (1.6e-4, 3e-3), 3, 900),
    Case("slow, 5 short runs", (0.5, 0.4, 0.1), (2e-4, 3e-3), 5, 1200),
    Case("slow, 5 runs", (0.5, 0.4, 0.1), (3e-4, 3e-3), 5, 2400),
    Case("slow, 9 runs", (0.5, 0.4, 0.1), (6e-4, 3e-3), 9, 3000),
    Case("rare, 3 runs", (0.6, 0.385, 0.015), (3e-3, 6e-4), 3, 3000),
    Case("rare, 9 runs", (0.6, 0.385, 0.015), (3e-3, 6e-4), 9, 3000),
    Case("rare, 9 long runs", (0.6, 0.385, 0.015), (3e-3, 6e-4), 9, 8000),
    Case("rare and fast, 9 runs", (0.6, 0.38, 0.02), (3e-3, 2e-3), 9, 8000),
)


@dataclasses.dataclass
class Tally:
    """Of one kind of interval: for each repeat how many were right, wrong and not given, and the widths."""

    right: list[float] = dataclasses.field(default_factory=list)
    printed: list[float] = dataclasses.field(default_factory=list)
    asked: list[float] = dataclasses.field(default_factory=list)
    widths: list[float] = dataclasses.field(default_factory=list)

    def add(self, inside: np.ndarray, printed: np.ndarray, width: np.ndarray) -> None:
        """Any number of intervals of one repeat: whether each holds the truth, whether there is one, its width."""
        self.asked.append(inside.size)
        self.printed.append(printed.sum())
        self.right.append((inside & printed).sum())
        self.widths += [float(w) for w in width[printed]]

    @property
    def coverage(self) -> float:
        """Share of the printed intervals that hold the truth."""
        return float(sum(self.right) / sum(self.printed)) if sum(self.printed) else math.nan

    @property
    def error(self) -> float:
        """Standard error of the coverage; intervals of one repeat are not independent, repeats are."""
        p, n, right = self.coverage, np.array(self.printed), np.array(self.right)
        if not n.sum():
            return math.nan
        return max(float(np.sqrt(np.sum((right - p * n) ** 2)) / n.sum()), 0.5 / int((n > 0).sum()))

    @property
    def none(self) -> float:
        """Share of the figures that have no interval."""
        return 1 - sum(self.printed) / sum(self.asked) if sum(self.asked) else math.nan

    @property
    def width(self) -> float:
        """Median over the printed ones."""
        return float(np.median(self.widths)) if self.widths else math.nan


def judged(tally: Tally, found: Estimate | None, truth: np.ndarray) -> None:
    """Add the intervals of figures whose truth is known and above 0; widths are factors, high over value."""
    if found is None:
        found = Estimate(np.full_like(truth, np.nan), np.full_like(truth, np.nan), np.full_like(truth, np.nan))
    asked = np.isfinite(truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.sqrt(found.high / np.where(found.low > 0, found.low, np.nan))
    pairs = [x[asked] for x in (found.low, found.high, truth, factor)]
    low, high, known, width = pairs
    tally.add((low <= known) & (known <= high), np.isfinite(low) & ~np.isnan(high), np.nan_to_num(width, nan=np.inf))


def projected(labels: np.ndarray, frames: Frames) -> tuple[np.ndarray, float]:
    """(T, 2) slowest components of the states' indicators, as ``tica`` finds them, and their lag in ps."""
    states = np.unique(labels)
    features = (labels[:, None] == states[:-1]).astype(np.float32)
    slowest = float(np.max(correlation_time(features, frames.runs)))
    lag = int(np.clip(round(slowest / 10), 1, max(1, max(frames.lengths) // 10)))
    pairs = markov_model.transition_counts(labels, frames, lag, int(states[-1]) + 1)[0][np.ix_(states, states)]
    flow = (pairs + pairs.T) / 2
    weight = np.maximum(flow.sum(1), 1e-9)
    values, vectors = np.linalg.eigh(flow / np.sqrt(weight[:, None] * weight))
    order = np.argsort(-values)[1:3]
    columns = np.zeros((int(states[-1]) + 1, 2))
    columns[states, : len(order)] = (vectors / np.sqrt(weight)[:, None])[:, order] * values[order]
    return columns[labels], lag * frames.dt


def cut_of(values: np.ndarray, frames: Frames) -> Blocks:
    """Blocks of a comparison."""
    return blocks(frames.lengths, statistical_inefficiency(values, frames.runs))


def flux(matrix: np.ndarray, stationary: np.ndarray, cores: np.ndarray, count: int) -> np.ndarray:
    """(M, M) transitions a frame, over the time in which the row's core was the last one (transition path theory)."""
    outside = np.flatnonzero(cores < 0)
    rates, last = np.full((count, count), np.nan), np.zeros((count, len(matrix)))
    inner = np.eye(len(outside)) - matrix[np.ix_(outside, outside)]
    for a in range(count):
        core = np.flatnonzero(cores == a)
        last[a, core] = 1
        if len(outside):
            last[a, outside] = np.linalg.solve(inner, matrix[np.ix_(outside, core)].sum(1))
    for a in range(count):
        for b in range(count):
            if a != b and (cores == a).any() and (cores == b).any():
                arrive = (stationary * last[a]) @ matrix[:, cores == b].sum(1)
                rates[a, b] = arrive / (stationary @ last[a])
    return rates


def of_states(tallies: dict[str, Tally], prefix: str, k: StateKinetics, truth: dict[str, np.ndarray]) -> None:
    """Everything that is printed of a set of states."""
    judged(tallies[f"{prefix}populations"], k.populations, truth["populations"])
    last = Estimate(*(getattr(k.populations, field)[-1:] for field in ("value", "low", "high")))
    judged(tallies[f"{prefix}rarest state"], last, truth["populations"][-1:])
    bare = dataclasses.replace  # a free energy as the factor of a population
    kT = Frames(ONE, np.zeros((1, 1, 3), np.float32), (1,), DT, 300.0).kT
    energies = bare(k.free_energies, **{f: np.exp(getattr(k.free_energies, f) / kT) for f in ("value", "low", "high")})
    ratio = truth["populations"][0] / truth["populations"]
    ratio[0] = np.nan
    judged(tallies[f"{prefix}free energies"], energies, ratio)
    judged(tallies[f"{prefix}rates"], k.rates, truth["rates"])


def measure(case: Case, labels: np.ndarray, rng: np.random.Generator, tallies: dict[str, Tally]) -> None:
    """One repeat."""
    matrix, stationary = case.chain()
    frames = Frames(ONE, np.zeros((len(labels), 1, 3), np.float32), (case.length,) * case.runs, DT, 300.0)
    values, lag = projected(labels, frames)
    cut = cut_of(values, frames)
    named = transitions.measure(WELLS[labels], NAMES, frames, cut, rng)
    shares = np.bincount(WELLS, stationary)
    per_ns = 1000 / DT
    truth = {"populations": shares, "rates": flux(matrix, stationary, WELLS, 3) * per_ns}
    of_states(tallies, "named: ", named, truth)
    lags = implied_timescales.lag_grid(frames, lag)
    times, _ = implied_timescales.timescales(labels, frames, lags, len(matrix), cut, rng)
    of_timescales(tallies, times, labels, frames, matrix)
    found = metastable_states.macrostates(labels, frames, float(lags[len(lags) // 2]), len(matrix))
    if found is None:
        return
    k = metastable_states.measure(found, labels, frames, cut, rng)
    count, known = len(found), found.assignment >= 0
    step = max(1, round(found.lag / DT))
    later = np.linalg.matrix_power(matrix, step)
    truth = {
        "populations": np.bincount(found.assignment[known], stationary[known], minlength=count),
        "rates": flux(matrix, stationary, found.cores, count) * per_ns,
    }
    of_states(tallies, "metastable: ", k, truth)
    passages = metastable_states.mean_first_passage_times(later, stationary, found.cores, count) * step * DT
    judged(tallies["first passages"], k.mean_first_passage, passages)
    powers = metastable_states.lumped(later, stationary, found.assignment, count, 1)[0]
    judged(tallies["transition matrix"], k.transitions, powers)


def of_timescales(
    tallies: dict[str, Tally], times: Timescales, labels: np.ndarray, frames: Frames, matrix: np.ndarray
) -> None:
    """The slowest timescale where it is judged, and everything that is drawn."""
    truth = np.full(times.values.shape, np.nan)
    for row, lag in enumerate(times.lags):
        table = markov_model.transition_counts(labels, frames, round(lag / DT), len(matrix))[0]
        chosen = markov_model.connected(table)
        inner = matrix[np.ix_(chosen, chosen)]
        inner = inner + np.diag(1 - inner.sum(1))
        exact = np.sort(np.linalg.eigvals(inner).real)[::-1][1 : truth.shape[1] + 1]
        truth[row, : len(exact)] = -DT / np.log(np.maximum(exact, 1e-300))
    truth[np.isnan(times.values)] = np.nan  # below half the lag nothing is said
    found = implied_timescales.plateau(times)
    row = 0 if found is None else found.row
    one = Estimate(times.values[row, :1], times.low[row, :1], times.high[row, :1])
    judged(tallies["slowest timescale"], one, truth[row, :1])
    judged(tallies["timescales"], Estimate(times.values, times.low, times.high), truth)


def double_well(barrier: float, step: float, bins: int = 160) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Brownian motion in barrier (x^2 - 1)^2 kT, its Fokker-Planck operator discretised and exponentiated.

    Returns:
        (bins + 1,) edges, transition matrix for one frame of ``step``, stationary distribution.
    """
    from scipy.linalg import expm

    edges = np.linspace(-2.0, 2.0, bins + 1)
    x = (edges[1:] + edges[:-1]) / 2
    energy = barrier * (x**2 - 1) ** 2
    hop = np.exp(-np.diff(energy) / 2)
    rate = np.diag(hop, 1) + np.diag(1 / hop, -1)
    rate -= np.diag(rate.sum(1))
    matrix = np.abs(expm(rate * step / (x[1] - x[0]) ** 2))
    weight = np.exp(-energy)
    return edges, matrix / matrix.sum(1, keepdims=True), weight / weight.sum()


WELLS_RUN = (("double well, 3 runs", 3, 1200, 3.5), ("double well, 6 runs", 6, 2000, 3.0))


def of_surfaces(runs: int, length: int, barrier: float, repeats: int, rng: np.random.Generator) -> dict[str, Tally]:
    """Errors of free energies, taken as 95 % intervals of 1.96 of them, below 4 kT and above."""
    tallies = {name: Tally() for name in ("surface below 4 kT", "surface above 4 kT", "kernel below 4 kT")}
    places, matrix, stationary = double_well(barrier, 0.05)
    total = np.concatenate([[0], np.cumsum(stationary)])
    paths = simulate(rng, matrix, stationary, repeats * runs, length).reshape(repeats, -1)
    for path in paths:  # anywhere within its small bin
        values = (places[path] + rng.random(len(path)) * (places[1] - places[0]))[:, None]
        frames = Frames(ONE, np.zeros((len(values), 1, 3), np.float32), (length,) * runs, DT, 300.0)
        grid = surfaces.Grid.over(values, ("x",), None)
        made = surfaces.block_histogram(values, frames, grid, cut_of(values, frames))
        surface = surfaces.surface(made, 1.0, rng)
        edges = surface.edges[0]
        truth = np.diff(np.interp(edges, places, total))
        depth = -np.log(truth / truth.max())
        off = np.log(np.where(surface.probability > 0, surface.probability, np.nan) / truth)
        of_kernel = _of_kernel(surface, places, stationary, made.bandwidths[0])
        for name, where, off_by, error in (
            ("surface below 4 kT", depth < 4, off, surface.error),
            ("surface above 4 kT", depth >= 4, off, surface.error),
            ("kernel below 4 kT", depth < 4, of_kernel, surface.kernel_error),
        ):
            known = where & (surface.probability > 0)
            half = 1.96 * error[known]
            tallies[name].add(np.abs(off_by[known]) <= half, np.isfinite(half), np.exp(half))
    return tallies


def _of_kernel(surface: Surface, places: np.ndarray, stationary: np.ndarray, width: float) -> np.ndarray:
    """ln of the kernel's density over the exact one, smoothed alike: its bias is no error of sampling.

    The kernel's zero is set so that the weighted mean of the ratio is one.
    """
    centres, fine = ((e[1:] + e[:-1]) / 2 for e in (surface.edges[0], places))
    exact = -np.log(np.exp(-0.5 * ((centres[:, None] - fine) / width) ** 2) @ stationary)
    assert surface.kernel is not None
    difference = exact - surface.kernel
    weight = np.where(np.isfinite(difference), surface.probability, 0)
    return difference + np.log(np.sum(weight * np.exp(-np.nan_to_num(difference))) / weight.sum())


def events(case: Case) -> tuple[float, float, float]:
    """Expected A to B, expected entries into C, and the length in relaxations, of all runs together."""
    matrix, stationary = case.chain()
    total = case.runs * case.length
    flow = stationary[:, None] * matrix
    moves = [
        flow[np.ix_(np.flatnonzero(a == WELLS), np.flatnonzero(b == WELLS))].sum() * total
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    slowest = -1 / np.log(np.sort(np.linalg.eigvals(matrix).real)[-2])
    return moves[0], moves[1] + moves[2], total / slowest


OF_STATES = ("populations", "rarest state", "free energies", "rates")
KINDS = (
    *(f"{which}: {kind}" for which in ("named", "metastable") for kind in OF_STATES),
    "first passages",
    "transition matrix",
    "slowest timescale",
    "timescales",
)


def coverage(case: Case, repeats: int, seed: int = 0) -> dict[str, Tally]:
    """Tallies of one case, by kind of interval."""
    rng, tallies = np.random.default_rng(seed), {kind: Tally() for kind in KINDS}
    matrix, stationary = case.chain()
    for labels in simulate(rng, matrix, stationary, repeats * case.runs, case.length).reshape(repeats, -1):
        measure(case, labels, rng, tallies)
    return tallies


def simulate(
    rng: np.random.Generator, matrix: np.ndarray, stationary: np.ndarray, runs: int, length: int
) -> np.ndarray:
    """(runs, length) states of chains that start in equilibrium."""
    state = rng.choice(len(matrix), runs, p=stationary)
    ladder, path = np.cumsum(matrix, 1), np.empty((runs, length), np.int32)
    for k in range(length):
        path[:, k] = state
        state = (ladder[state] < rng.random((runs, 1))).sum(1).clip(max=len(matrix) - 1)
    return path


def rows(tallies: dict[str, Tally]) -> Iterator[str]:
    """Lines of the table."""
    for kind, tally in tallies.items():
        if tally.asked:
            yield (
                f"  {kind:<28}{100 * tally.coverage:8.1f} +- {100 * tally.error:3.1f}{100 * tally.none:10.0f}"
                f"{tally.width:10.2f}"
            )


@click.command()
@click.option("--repeats", default=100, show_default=True, help="Of each case.")
@click.option("--case", "wanted", multiple=True, help="Names of cases, all by default.")
@click.option("--seed", default=0, show_default=True)
def main(repeats: int, wanted: tuple[str, ...], seed: int) -> None:
    """Coverage of nominal 95 % intervals in %, how many figures have none in %, and the median width as a factor."""
    click.echo(f"{'':<30}{'coverage':>15}{'none':>10}{'x or /':>10}")
    for case in CASES:
        if not wanted or case.name in wanted:
            there, rare, relaxations = events(case)
            click.echo(
                f"{case.name}: {case.runs} runs, {relaxations:.0f} relaxations, {there:.2g} A to B,"
                f" {rare:.2g} visits to C ({case.shares[2]:.1%})"
            )
            for line in rows(coverage(case, repeats, seed)):
                click.echo(line)
    for name, runs, length, barrier in WELLS_RUN:
        if not wanted or name in wanted:
            click.echo(f"{name}: {runs} runs")
            for line in rows(of_surfaces(runs, length, barrier, repeats, np.random.default_rng(seed))):
                click.echo(line)


if __name__ == "__main__":
    main()

"""How often the verdict fails a perfect surrogate, and how often it finds one that was damaged by a known amount.

    python benchmarks/verdict_power.py FRAMES --reference 5 --splits 24        # runs against other runs of your own
    python benchmarks/verdict_power.py --chain --reference 5 --splits 100      # a chain whose answers are known
    python benchmarks/verdict_power.py FRAMES --rollout ROLLOUT                # a rollout, damaged, against FRAMES

The first divides the runs of FRAMES at random into a reference and a surrogate, which is then perfect, and damages the
surrogate. Nothing that a damage needs (states, densities) comes from the runs that serve as the reference. Figures are
percentages of the splits; splits share runs, so their errors are larger than sqrt(p (1 - p) / n).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from cgsurrogate.analysis.cvs._base import CV
from cgsurrogate.comparison import damages
from cgsurrogate.comparison.judgement import AGREES, DIFFERS, UNKNOWN, Judgement
from cgsurrogate.comparison.settings import CVS
from cgsurrogate.comparison.thermodynamics import Surfaces
from cgsurrogate.comparison.variables import build_cvs
from cgsurrogate.comparison.verdict import learned
from cgsurrogate.comparison.verdict.judge import Question, judge
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import statistical_inefficiency
from cgsurrogate.geometry import measures
from cgsurrogate.testing.torsion_chain import TorsionChain

Damage = Callable[[Frames, np.random.Generator], Frames | None]
CHAIN_LENGTH = 1500  # frames of a run


def states_of(frames: Frames, rng: np.random.Generator) -> np.ndarray | None:
    """(T,) metastable states of these frames alone."""
    projection = registry.build("cvs", "tica", frames)
    return learned.macrostates(projection, projection(frames), frames, rng)


def hotter(kelvin: float, frames: Frames, rng: np.random.Generator) -> Frames:
    log_density = damages.torsion_log_density(frames)
    return damages.reweighted(frames, damages.temperature_factors(log_density, frames, kelvin))


def nearest_state(frames: Frames, population: float, rng: np.random.Generator) -> np.ndarray | None:
    """(T,) whether a frame is in the metastable state of nearest population, within a factor 2.5."""
    labels = states_of(frames, rng)
    if labels is None:
        return None
    shares = np.bincount(labels[labels >= 0], minlength=1) / len(labels)
    away = np.abs(np.log(np.maximum(shares, 1e-9) / population))
    return labels == int(away.argmin()) if away.min() < math.log(2.5) else None


def missing(population: float, frames: Frames, rng: np.random.Generator) -> Frames | None:
    inside = nearest_state(frames, population, rng)
    return None if inside is None else damages.without(frames, inside)


def revisited(population: float, factor: float, frames: Frames, rng: np.random.Generator) -> Frames | None:
    inside = nearest_state(frames, population, rng)
    return None if inside is None else damages.visited(frames, inside, factor, rng)


def helix(factor: float, frames: Frames, rng: np.random.Generator) -> Frames | None:
    labels, quads, _ = measures.torsion_quads(frames.beads)
    turned = measures.evaluate(frames, len(quads), lambda x: measures.dihedrals(x, quads), 12 * len(quads))
    inside = learned.basins(labels, turned).get(learned.HELIX)
    if inside is None:
        return None
    return damages.without(frames, inside) if factor == 0 else damages.visited(frames, inside, factor, rng)


def carbonyl(frames: Frames) -> tuple[int, int]:
    """A bond between C and O, else the first bond."""
    names = frames.beads.names
    return next((b for b in frames.beads.bonds if {names[i] for i in b} == {"C", "O"}), frames.beads.bonds[0])


def branches(frames: Frames) -> np.ndarray:
    """Beads with one neighbour: O and CB of a backbone."""
    ends = np.bincount(np.ravel(frames.beads.bonds).astype(int), minlength=len(frames.beads))
    return np.flatnonzero(ends == 1)


def catalogue() -> dict[str, Damage]:
    """Every damage by name."""
    one = functools.partial
    return {
        "perfect": lambda f, rng: f,
        "+10 K": one(hotter, 10.0), "+15 K": one(hotter, 15.0), "+30 K": one(hotter, 30.0),
        "+45 K": one(hotter, 45.0), "+60 K": one(hotter, 60.0), "-30 K": one(hotter, -30.0),
        "state of 2 % missing": one(missing, 0.02), "state of 2 % x 3": one(revisited, 0.02, 3.0),
        "state of 2 % x 2": one(revisited, 0.02, 2.0), "state of 0.4 % missing": one(missing, 0.004),
        "shuffled 5 %": lambda f, rng: damages.shuffled(f, 0.05, rng),
        "shuffled 30 %": lambda f, rng: damages.shuffled(f, 0.30, rng),
        "torsions blurred 5 degrees": lambda f, rng: damages.blurred(f, 5.0, rng),
        "angles + 1 degree": lambda f, rng: damages.opened(f, 1.0),
        "jitter of O and CB, 10 pm": lambda f, rng: damages.jittered(f, 10.0, rng, branches(f)),
        "helix missing": one(helix, 0.0), "helix x 0.25": one(helix, 0.25), "helix x 0.5": one(helix, 0.5),
        "helix x 2": one(helix, 2.0), "helix x 3": one(helix, 3.0),
        "shuffled 10 %": lambda f, rng: damages.shuffled(f, 0.10, rng),
        "C=O four times as wide": lambda f, rng: damages.widened(f, carbonyl(f), 4.0),
        "rates x 1.5": lambda f, rng: damages.faster(f, 1.5), "rates x 2": lambda f, rng: damages.faster(f, 2.0),
        "rates x 3": lambda f, rng: damages.faster(f, 3.0),
        "mirror image": lambda f, rng: damages.mirrored(f),
        "512 frozen frames": lambda f, rng: damages.frozen(f, 512, 100, rng),
    }  # fmt: skip


def slowness(frames: Frames, cv: CV) -> float:
    """Statistical inefficiency, in frames, of the two slowest directions."""
    return statistical_inefficiency(cv(frames)[:, :2], frames.runs)


def judged(reference: Frames, own: Frames, seed: int) -> Judgement:
    """As ``cgsurrogate compare`` does it."""
    cv = registry.build("cvs", "tica", reference)
    memory = (slowness(reference, cv), slowness(own, cv))
    cvs = build_cvs(reference, CVS)
    drawn = [Surfaces.of(cv, cv(reference)) for cv in cvs]
    return judge(reference, own, memory, np.random.default_rng(seed), Question(drawn=drawn))


def record(name: str, found: Judgement, seed: int) -> dict[str, object]:
    """What the table is made of, as JSON."""
    return {
        "damage": name, "split": seed, "mark": found.mark, "p": found.p, "blocks": list(found.blocks),
        "findings": [[f.name, f.family, f.mark, f.unit, f.value, f.detectable, f.p] for f in found.findings],
        "head": found.head,
    }  # fmt: skip


def table(rows: list[dict]) -> str:
    """Percent of splits in which each damage is found, by which family, and what else is said."""
    lines = [
        "| damage | splits | differs | agrees | cannot be judged | families that reject |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["damage"] for row in rows):
        own = [row for row in rows if row["damage"] == name]
        share = {m: 100 * sum(r["mark"] == m for r in own) / len(own) for m in (DIFFERS, AGREES, UNKNOWN)}
        families: dict[str, int] = {}
        for row in own:
            for family, p in row["p"].items():
                families[family] = families.get(family, 0) + (p <= 0.05)
        said = ", ".join(f"{f} {100 * n / len(own):.0f}" for f, n in families.items() if n)
        lines.append(
            f"| {name} | {len(own)} | {share[DIFFERS]:.0f} | {share[AGREES]:.0f} | {share[UNKNOWN]:.0f} | {said} |"
        )
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Divided:
    """Runs of the user's: some are the reference, others the surrogate."""

    frames: Frames
    number: int
    most: int | None

    def reference(self, seed: int) -> Frames:
        return self.frames.take_runs(sorted(self._order(seed)[: self.number]))

    def surrogates(self, seed: int) -> dict[str, Callable[[], Frames | None]]:
        stop = None if self.most is None else self.number + self.most
        own = self.frames.take_runs(sorted(self._order(seed)[self.number : stop]))
        return damaged(own, seed)

    def _order(self, seed: int) -> np.ndarray:
        return np.random.default_rng([seed, 1]).permutation(len(self.frames.lengths))


@dataclasses.dataclass(frozen=True)
class Rollout:
    """A rollout of the user's against a reference; each split takes half of its runs."""

    frames: Frames
    rollout: Frames

    def reference(self, seed: int) -> Frames:
        return self.frames

    def surrogates(self, seed: int) -> dict[str, Callable[[], Frames | None]]:
        runs = len(self.rollout.lengths)
        chosen = np.random.default_rng([seed, 1]).permutation(runs)[: max(1, runs // 2)]
        return damaged(self.rollout.take_runs(sorted(chosen)) if runs > 1 else self.rollout, seed)


@dataclasses.dataclass(frozen=True)
class Known:
    """Torsions in a known potential: every damage is simulated, none is made by weights."""

    number: int
    most: int

    def reference(self, seed: int) -> Frames:
        return TorsionChain().simulate(self.number, CHAIN_LENGTH, seed=2 * seed)

    def surrogates(self, seed: int) -> dict[str, Callable[[], Frames | None]]:
        def of(**changed: Any) -> Callable[[], Frames]:
            chain = dataclasses.replace(TorsionChain(), **changed)
            return lambda: chain.simulate(self.most, CHAIN_LENGTH, seed=2 * seed + 1)

        first, second, rare = TorsionChain().wells
        return {
            "perfect": of(), "perfect, half as long": lambda: of()().take_runs(range(self.most // 4)),
            "+10 K": of(temperature=310.0), "+15 K": of(temperature=315.0), "+30 K": of(temperature=330.0),
            "rare wells missing": of(wells=(first, second, 1e-9)),
            "rare wells x 0.5": of(wells=(first, second, rare / 2)),
            "rare wells x 2": of(wells=(first, second, 2 * rare)),
        "rates x 1.5": of(speed=1.5), "rates x 2": of(speed=2.0), "rates x 0.67": of(speed=1 / 1.5),
        }  # fmt: skip


def damaged(own: Frames, seed: int) -> dict[str, Callable[[], Frames | None]]:
    """Each damage of the catalogue done to these frames."""
    return {
        name: functools.partial(damage, own, np.random.default_rng([seed, 2])) for name, damage in catalogue().items()
    }


@click.command(help=__doc__)
@click.argument("frames", type=click.Path(path_type=Path), required=False)
@click.option("--chain", is_flag=True, help="A chain with known answers in place of FRAMES.")
@click.option("--rollout", type=click.Path(path_type=Path), help="Frames to damage and to hold against FRAMES.")
@click.option("--reference", "number", default=5, help="Runs of the reference in each split.", show_default=True)
@click.option("--surrogate", "most", type=int, help="Runs of the surrogate at most.")
@click.option("--splits", default=24, show_default=True)
@click.option("--only", multiple=True, help="Damages whose name begins so; repeatable.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="JSON lines; what is there is not done again.")
def main(
    frames: Path | None, rollout: Path | None, splits: int, only: tuple[str, ...], out: Path | None, **how: Any
) -> None:
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out and out.exists() else []
    done = {(row["damage"], row["split"]) for row in rows}
    source: Divided | Rollout | Known
    if how["chain"]:
        source = Known(how["number"], how["most"] or 2 * how["number"])
    elif frames is None:
        raise click.UsageError("expected FRAMES or --chain")
    elif rollout is not None:
        source = Rollout(Frames.load(frames), Frames.load(rollout))
    else:
        source = Divided(Frames.load(frames), how["number"], how["most"])
    for seed in range(splits):
        reference = source.reference(seed)
        for name, made in source.surrogates(seed).items():
            if (name, seed) in done or (only and not name.startswith(only)):
                continue
            own = made()
            if own is None:
                continue
            rows.append(record(name, judged(reference, own, seed), seed))
            if out:
                with open(out, "a") as handle:
                    handle.write(json.dumps(rows[-1]) + "\n")
    click.echo(table(rows))


if __name__ == "__main__":
    main()

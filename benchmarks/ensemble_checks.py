"""Whether samplers give the ensemble that they promise, judged by the package physical-validation.

    pip install physical-validation
    python benchmarks/ensemble_checks.py MODEL --start FRAMES                      # of a force field
    python benchmarks/ensemble_checks.py --all-atom REFERENCE --all-atom HOTTER    # two folders of ``reference``

The kinetic energy is held against its Gamma distribution, by mean and by width. The ratio of the distributions of the
potential energy at two temperatures is held against exp(-(1/kT_hot - 1/kT_cold) U), which no error of one temperature
alone can hide in (Merz and Shirts, PLoS ONE 13, e0202764 (2018)). Both are given as distances in standard errors: 3 and
more is a finding. BAOAB promises configurations, not velocities: its kinetic temperature reads T (1 - (w h)^2 / 4).

Replicas start from frames, equilibrated at their temperature with all Monte Carlo moves. The last rows are wrong on
purpose, and should be found.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate import workflows
from cgsurrogate.core import filesystem, units
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.monte_carlo.pivot import PivotMove
from cgsurrogate.simulation.replica_exchange import ReplicaExchange
from cgsurrogate.simulation.run import pick_starts
from cgsurrogate.simulation.settings import SamplerSettings
from cgsurrogate.simulation.temperature_ladder import PLACE

EVERY = 25  # steps between samples; the package thins them by itself
BURN = 400  # steps, after what has equilibrated the starts


class Samples(NamedTuple):
    """Energies (S,) kJ/mol, replica after replica; ``kinetic`` is None where velocities are none of the molecule."""

    potential: np.ndarray
    kinetic: np.ndarray | None


@click.command(help=__doc__)
@click.argument("model", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("--start", type=click.Path(exists=True, path_type=Path), help="Frames to start from, and for moves.")
@click.option("--hot", default=1.1, show_default=True, help="The other temperature, in units of the model's.")
@click.option("--replicas", default=200, show_default=True)
@click.option("--samples", default=60, show_default=True, help="Of each replica.")
@click.option("--only", multiple=True, help="Rows whose name holds this text; repeatable.  [default: all]")
@click.option("--all-atom", "folders", multiple=True, type=click.Path(exists=True, path_type=Path))
def main(
    model: Path | None, start: Path | None, hot: float, replicas: int, samples: int, only: tuple[str, ...],
    folders: tuple[Path, ...],
) -> None:  # fmt: skip
    torch.set_num_threads(1)
    click.echo(
        "| sampler | K | kinetic, K | its mean, errors | its width, errors | potential, kJ/mol | ratio, errors |"
    )
    click.echo("|" + "---|" * 7)
    if folders:
        cold, warm = sorted(map(all_atom, folders), key=lambda pair: pair[0])
        show("all-atom reference", (cold[0], warm[0]), (cold[1], warm[1]), 1)
    if model is None:
        return
    if start is None:
        raise click.UsageError("a MODEL needs --start FRAMES")
    loaded, frames = Model.load(model), Frames.load(start)
    kelvin = (loaded.temperature, hot * loaded.temperature)
    x = torch.from_numpy(pick_starts(frames, replicas, np.random.default_rng(0)))
    moves = SamplerSettings(pivot="10:5", independence=frames)
    first = [_equilibrated(loaded, frames, moves, T, x) for T in kelvin]
    freedom = 3 * len(loaded.beads)
    for name, sampled in rows(loaded, frames, kelvin, first, samples).items():
        if not only or any(text in name for text in only):
            show(name, kelvin, sampled(), freedom)


def rows(
    model: Model, frames: Frames, kelvin: tuple[float, float], first: list[Tensor], count: int
) -> dict[str, Callable[[], tuple[Samples, Samples]]]:
    """Samples at both temperatures, by the name of what makes them."""
    mass = torch.tensor(model.beads.masses)

    def alone(integrator: str, error: float = 1.0, **more: Any) -> tuple[Samples, Samples]:
        made = []
        for T, x in zip(kelvin, first, strict=True):
            heat = error if kelvin[1] == T else 1.0
            sampler = SamplerSettings(integrator=integrator, **more)
            moves = workflows.make_propagator(model, sampler, temperature=heat * T, frames=frames)
            made.append(_sampled(moves, x, count, mass, kinetic=integrator.startswith("baoab"))[0])
        return made[0], made[1]

    def ladder(**more: Any) -> tuple[Samples, Samples]:
        moves = workflows.make_propagator(model, SamplerSettings(temperatures=kelvin, exchange=None, **more))
        assert isinstance(moves, ReplicaExchange)
        x = torch.stack([part[: len(part) // 2] for part in first], 1).flatten(0, 1)
        both = _sampled(moves, x, count, mass, places=2)
        return both[0], both[1]

    def wrong_pivot() -> tuple[Samples, Samples]:
        right = PivotMove.log_ratio
        PivotMove.log_ratio = lambda self, move, now, later, drawn: torch.zeros_like(now)  # type: ignore[method-assign]
        try:
            return alone("baoab:timestep=0.004", pivot="10:5")
        finally:
            PivotMove.log_ratio = right  # type: ignore[method-assign]

    usual = "baoab:timestep=0.004"
    return {
        "BAOAB, 4 fs": lambda: alone(usual),
        "BAOAB, 2 fs": lambda: alone("baoab:timestep=0.002"),
        "BAOAB, 1 fs": lambda: alone("baoab:timestep=0.001"),
        "overdamped": lambda: alone("overdamped"),
        "BAOAB, pivot and block moves": lambda: alone(usual, pivot="10:5"),
        "BAOAB, independence moves": lambda: alone(usual, independence=frames),
        "BAOAB, all moves": lambda: alone(usual, pivot="10:5", independence=frames),
        "overdamped, all moves": lambda: alone("overdamped", pivot="10:5", independence=frames),
        "tempering": lambda: ladder(),
        "tempering, all moves": lambda: ladder(pivot="10:5", independence=frames),
        "wrong: hot thermostat 3 % too hot": lambda: alone(usual, 1.03),
        "wrong: pivot moves judged by the energy alone": wrong_pivot,
    }


def _equilibrated(model: Model, frames: Frames, sampler: SamplerSettings, T: float, x: Tensor) -> Tensor:
    moves, rng = workflows.make_propagator(model, sampler, temperature=T, frames=frames), Generator().manual_seed(5)
    return _rolled(moves, moves.start(x, rng), 2 * BURN, rng).positions


def _rolled(moves: Propagator, state: State, steps: int, rng: Generator) -> State:
    """The state after so many steps of the integrator."""
    for _ in range(max(1, round(steps * _step(moves) / moves.lag))):
        state = moves.step(state, rng)
    return state


def _step(moves: Propagator) -> float:
    inner = getattr(moves, "integrator", None)
    return moves.lag if inner is None else _step(inner)


def _sampled(
    moves: Propagator, x: Tensor, count: int, mass: Tensor, *, kinetic: bool = True, places: int = 1
) -> list[Samples]:
    """Of each place in a ladder, or of all replicas."""
    moves.eval().requires_grad_(False)
    rng = Generator().manual_seed(11)
    state = _rolled(moves, moves.start(x, rng), BURN, rng)
    rows: list[np.ndarray] = []
    for _ in range(count):
        state = _rolled(moves, state, EVERY, rng)
        assert state.energy is not None and state.velocities is not None
        moving = (mass[:, None] * state.velocities.double().square()).sum((1, 2)) / 2
        order = torch.arange(len(x)) if state.ladder is None else state.ladder[:, PLACE].argsort(stable=True)
        rows.append(torch.stack((state.energy.double(), moving))[:, order].view(2, places, -1).numpy())
    series = np.stack(rows, -1)  # (2, places, R, S)
    return [Samples(u.ravel(), v.ravel() if kinetic else None) for u, v in series.swapaxes(0, 1)]


def all_atom(folder: Path) -> tuple[float, Samples]:
    """Temperature in K, and the potential energies of all runs, of which not all may be done."""
    settings = filesystem.read_json(folder / "reference.json")
    found = [np.load(path) for path in sorted(folder.glob("run*/*.potential.npy"))]
    return float(settings["temperature"]), Samples(np.concatenate(found).astype(float), None)


def show(name: str, kelvin: tuple[float, float], both: tuple[Samples, Samples], freedom: int) -> None:
    """Two rows of the table."""
    import physical_validation as pv

    data = [_data(T, samples, freedom) for T, samples in zip(kelvin, both, strict=True)]
    with contextlib.redirect_stdout(io.StringIO()):
        (ratio,) = pv.ensemble.check(*data, verbosity=0, bootstrap_seed=0)
        kinetic = [
            None if one.kinetic is None else pv.kinetic_energy.distribution(known, verbosity=0, bootstrap_seed=0)
            for one, known in zip(both, data, strict=True)
        ]
    for k, (T, one) in enumerate(zip(kelvin, both, strict=True)):
        heat, off = "-", kinetic[k]
        if one.kinetic is not None:
            heat = f"{2 * one.kinetic.mean() / (freedom * units.BOLTZMANN):.1f}"
        errors = "- | -" if off is None else f"{off[0]:.1f} | {off[1]:.1f}"
        last = f"{ratio:.1f}" if k else ""
        click.echo(f"| {'' if k else name} | {T:.0f} | {heat} | {errors} | {one.potential.mean():.2f} | {last} |")


def _data(T: float, samples: Samples, freedom: int) -> Any:
    import physical_validation as pv

    atoms = math.ceil(freedom / 3)
    return pv.data.SimulationData(
        units=pv.data.UnitData.units("GROMACS"),
        dt=1.0,
        ensemble=pv.data.EnsembleData(ensemble="NVT", natoms=atoms, volume=1.0, temperature=T),
        system=pv.data.SystemData(
            natoms=atoms, nconstraints=0, ndof_reduction_tra=0, ndof_reduction_rot=0, mass=np.ones(atoms)
        ),
        observables=pv.data.ObservableData(kinetic_energy=samples.kinetic, potential_energy=samples.potential),
    )


if __name__ == "__main__":
    main()

"""Print how noisy mapped forces are for each mapping and each way to aggregate them.

    python benchmarks/force_noise.py -s ala2.pdb -f ala2.npz:forces -x ala2.npz:positions --mapping custom:file=six.txt

The optimal aggregation is found on the first part of every file and judged on the rest. With coordinates it also prints
the noise of torques, which is what training compares: those of turns of one dihedral or one angle
(``geometry/torsion_moves.py``).
"""

from __future__ import annotations

import click
import numpy as np
import torch

from cgsurrogate import workflows
from cgsurrogate.data import force_aggregation
from cgsurrogate.data.formats import arrays
from cgsurrogate.data.formats.sources import load_topology
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.geometry.torsion_moves import TorsionMoves


@click.command()
@click.option("-s", "--topology", required=True, help="Topology, as for cgsurrogate map.")
@click.option("-f", "--forces", required=True, multiple=True, help="All-atom forces in kJ/mol/nm, file.npz:name.")
@click.option("-x", "--positions", multiple=True, help="Coordinates in nm, one a file of forces: adds torques.")
@click.option("--mapping", "mappings", multiple=True, default=("ca", "backbone", "heavy"), show_default=True)
@click.option("--fit", default=0.5, show_default=True, help="Share of each file that the optimum is found on.")
def main(
    topology: str, forces: tuple[str, ...], positions: tuple[str, ...], mappings: tuple[str, ...], fit: float
) -> None:
    """Mean squared mapped force, a Cartesian component, on frames that the optimum was not found on."""
    structure = load_topology(topology)
    train, test = _cut(forces, fit)
    where = _cut(positions, fit)[1] if positions else None
    click.echo(f"{len(train):,} frames to find the optimum, {len(test):,} to judge; force {force_aggregation.UNIT}")
    click.echo("and in brackets (kcal/mol/A)^2; torque kJ^2/mol^2/rad^2")
    click.echo(
        f"{'mapping':<28}{'beads':>5}" + "".join(f"{kind:>22}" for kind in force_aggregation.KINDS) + "   torques"
    )
    for text in mappings:
        mapping = workflows.mapping_builder(text)(structure)
        best, noise = force_aggregation.noise(mapping, structure, train, test)
        cells = "".join(f"{noise[k]:>14,.0f} ({noise[k] / 41.84**2:5.0f})" for k in force_aggregation.KINDS)
        maps = (force_aggregation.slices(mapping), mapping, best)
        torques = "" if where is None else "  ".join(f"{_torque(m, where, test):,.0f}" for m in maps)
        click.echo(f"{text:<28}{len(mapping.beads):>5}{cells}   {torques}")


def _cut(specs: tuple[str, ...], fit: float) -> tuple[np.ndarray, np.ndarray]:
    loaded = [np.asarray(arrays.load(spec)) for spec in specs]
    places = [round(fit * len(one)) for one in loaded]
    pairs = list(zip(loaded, places, strict=True))
    return np.concatenate([one[:n] for one, n in pairs]), np.concatenate([one[n:] for one, n in pairs])


def _torque(mapping: Mapping, positions: np.ndarray, forces: np.ndarray) -> float:
    """Mean squared torque over frames and moves; nan where nothing can turn."""
    try:
        moves = TorsionMoves(mapping.beads)
    except ValueError:
        return float("nan")
    x, f = (torch.from_numpy(part) for part in (mapping.positions(positions), mapping.forces(forces)))
    return float(moves.torques(x, f).square().mean())


if __name__ == "__main__":
    main()

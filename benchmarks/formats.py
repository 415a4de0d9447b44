"""What trajectory files give: frames, atoms, spacing, box, forces with their unit and size, or why they are refused.

    python benchmarks/formats.py FILE ...
    python benchmarks/formats.py --topologies FILE ...

prints a table in Markdown; of topologies, what of them would be mapped to backbone beads and what is left out. Real
files of many programs come with the package MDAnalysisTests.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cgsurrogate.core import registry
from cgsurrogate.data import contents as words_of
from cgsurrogate.data import validation
from cgsurrogate.data.atomic_forces import of_runs
from cgsurrogate.data.formats import unit_names
from cgsurrogate.data.formats.sources import Reader, Source, load_topology, sources

HEADER = "| file | frames | atoms | ps apart | box | forces |\n|---|---|---|---|---|---|"

TOPOLOGIES = "| topology | atoms | residues | chains | bonds | what of it is mapped |\n|---|---|---|---|---|---|"


def row(path: Path, length_unit: str | None, recover: bool) -> str:
    try:
        (run,) = sources(path, None, length_unit, recover=recover)
        cells = [path.name, str(run.frames), str(run.atoms), spacing(run), *contents(run)]
    except ValueError as error:
        cells = [path.name, "refused: " + str(error).replace(str(path), path.name), "", "", "", ""]
    return f"| {' | '.join(cells)} |"


def topology_row(path: Path) -> str:
    cells = [path.name, "", "", "", ""]
    try:
        found = load_topology(path)
        cells[1:] = (str(n) for n in (found.n_atoms, found.n_residues, found.n_chains, found.n_bonds))
        cells.append("; ".join(words_of.words(found, registry.build("mappings", "backbone", found))))
    except ValueError as error:
        cells.append("refused: " + str(error).replace(str(path), path.name))
    return f"| {' | '.join(cells)} |"


def spacing(run: Source) -> str:
    try:
        return f"{validation.spacing(run.name, run.times, None):g}"
    except ValueError:
        return "not stated"


def contents(run: Source) -> tuple[str, str]:
    """The box, and the forces."""
    every, box = np.arange(run.atoms), "no positions"
    with Reader() as reader:
        if run.positions:
            ((_, cells),) = reader.blocks(run, every, range(1))
            box = "none" if cells is None or not cells.any() else f"{abs(np.linalg.det(cells[0])):.4g} nm³"
        if run.forces is None:
            return box, "none"
        found = of_runs((), [run], run.atoms, unit=None, ignore=False)
        assert found is not None
        frames = range(run.frames)[:: max(1, run.frames // 20)]
        with_forces = [i for i in frames if run.forces[i]] or [int(np.flatnonzero(run.forces)[0])]
        taken = [xyz for i in with_forces for xyz, _ in reader.blocks(found.runs[0], every, range(i, i + 1))]
    rms = float(np.sqrt(np.mean(np.square(np.concatenate(taken).astype(float)))))
    likely, clear = unit_names.likely_force(rms / found.runs[0].scale)
    share = "" if run.forces.all() else f"in {run.forces.sum()} frames, "
    return (
        box,
        f"{share}{found.unit or 'no unit'}, rms {rms:.4g} kJ/mol/nm, like {likely}{'' if clear else ' (unclear)'}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--topologies", action="store_true", help="the files are topologies")
    parser.add_argument("--length-unit", help="of files that do not say it")
    parser.add_argument("--recover", action="store_true", help="take the whole frames of files that are cut short")
    given = parser.parse_args()
    print(TOPOLOGIES if given.topologies else HEADER)
    for path in given.files:
        print(topology_row(path) if given.topologies else row(path, given.length_unit, given.recover), flush=True)


if __name__ == "__main__":
    main()

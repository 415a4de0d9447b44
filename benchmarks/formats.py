"""What trajectory files give: frames, atoms, spacing, box, forces with their unit and size, or why they are refused.

    python benchmarks/formats.py FILE ...

prints a table in Markdown. Real files of many programs come with the package MDAnalysisTests.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cgsurrogate.data import validation
from cgsurrogate.data.atomic_forces import of_runs
from cgsurrogate.data.formats import unit_names
from cgsurrogate.data.formats.sources import Reader, Source, sources

HEADER = "| file | frames | atoms | ps apart | box | forces |\n|---|---|---|---|---|---|"


def row(path: Path) -> str:
    try:
        (run,) = sources(path, None)
        cells = [path.name, str(run.frames), str(run.atoms), spacing(run), *contents(run)]
    except ValueError as error:
        cells = [path.name, "refused: " + str(error).replace(str(path), path.name), "", "", "", ""]
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
    print(HEADER)
    for path in parser.parse_args().files:
        print(row(path), flush=True)


if __name__ == "__main__":
    main()

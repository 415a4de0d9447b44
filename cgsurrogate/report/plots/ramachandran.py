"""Ramachandran panels: all residues together, then each residue, a row an ensemble."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cgsurrogate.analysis.free_energy.divergences import jensen_shannon
from cgsurrogate.comparison.comparison import Comparison, Ensemble, Surface
from cgsurrogate.report import captions
from cgsurrogate.report.plots import drawing, style, surfaces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESIDUES = 5  # beside the pooled panel


def worst(comparison: Comparison, names: Sequence[str], most: int) -> list[str]:
    """The names whose surfaces differ most from the reference in any surrogate, in the order they came."""
    if len(names) <= most:
        return list(names)
    others = [e for e in comparison.others if e.role == "surrogate"] or list(comparison.others)

    def far(name: str) -> float:
        known = [e.surfaces[name].probability.ravel() for e in (comparison.basis, *others) if name in e.surfaces]
        return max((float(jensen_shannon(p, known[0])) for p in known[1:]), default=0.0)

    chosen = sorted(names, key=far, reverse=True)[:most]
    return [name for name in names if name in chosen]


def title(name: str) -> str:
    """A short title: ``CA torsion 3 / CA torsion 4`` as ``torsion 3 / 4``."""
    first, _, second = name.partition(" / ")
    stem, _, _ = first.rpartition(" ")
    if stem and second.startswith(f"{stem} "):
        return f"{first.removeprefix('CA ')} / {second[len(stem) + 1 :]}"
    return style.greek(name)


def caption(names: Sequence[str]) -> str:
    few = len(names) > RESIDUES
    return captions.RAMACHANDRAN.format(
        what=f"the {RESIDUES} residues of {len(names)} that differ most" if few else "each residue"
    )


def figures(comparison: Comparison, names: Sequence[str], kT: float) -> Iterator[drawing.Made]:
    """Rows: the reference with a few others at a time. Columns: pooled, then up to five residues."""
    known = [e for e in comparison.ensembles if any(n in e.surfaces for n in names)]
    pools = {}
    for ensemble in known:
        parts = [ensemble.surfaces[n] for n in names if n in ensemble.surfaces]
        pools[ensemble.name] = surfaces.pooled(parts, kT)
    shown = worst(comparison, names, RESIDUES)
    for group in drawing.chunks(known):
        yield _figure(group, shown, pools, kT), _data(group, names, pools)


def _figure(group: Sequence[Ensemble], shown: Sequence[str], pools: Mapping[str, Surface], kT: float) -> Figure:
    several, top = len(shown) > 1, surfaces.ceiling(list(pools.values()), kT)
    columns = len(shown) + several
    figure = style.new_figure(1.72 * columns + 1.5, 1.62 * len(group) + 0.75)
    grid = figure.subplots(len(group), columns, squeeze=False, sharex=True, sharey=True)
    for row, ensemble in zip(grid, group, strict=True):
        panels = [pools[ensemble.name]] if several else []
        for ax, panel in zip(row, [*panels, *(ensemble.surfaces.get(name) for name in shown)], strict=True):
            if panel is None:
                ax.set_axis_off()
                continue
            surfaces.surface(ax, panel, kT, top)
            ax.set_xlabel("")
            ax.set_ylabel("")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_ticks(np.radians([-90, 0, 90]), ["\u221290", "0", "90"])
        row[0].set_ylabel(style.short(ensemble.name, 18), fontsize=9, fontweight="bold")
    titles = ["all residues"] if several else []
    for ax, heading in zip(grid[0], [*titles, *(style.short(title(name), 22) for name in shown)], strict=True):
        ax.set_title(heading)
    first = pools[group[0].name].labels[0].startswith("phi")
    figure.supxlabel("\u03c6 (degrees)" if first else "torsion (degrees)", fontsize=9.5)
    figure.supylabel("\u03c8 (degrees)" if first else "next torsion (degrees)", fontsize=9.5)
    figure.colorbar(
        grid[0, 0].images[0], ax=grid.ravel().tolist(), label="free energy (kJ/mol)", fraction=0.03, pad=0.015,
        aspect=24, extend="max",
    )  # fmt: skip
    return figure


def _data(group: Sequence[Ensemble], names: Sequence[str], pools: Mapping[str, Surface]) -> dict[str, np.ndarray]:
    data = {f"edges {axis}": edges for axis, edges in enumerate(pools[group[0].name].edges)}
    for ensemble in group:
        data[f"{ensemble.name} pooled probability"] = pools[ensemble.name].probability
        for name in names:
            if name in ensemble.surfaces:
                data[f"{ensemble.name} {name} free_energy"] = ensemble.surfaces[name].free_energy
                data[f"{ensemble.name} {name} probability"] = ensemble.surfaces[name].probability
    return data

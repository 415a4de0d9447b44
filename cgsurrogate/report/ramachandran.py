"""Ramachandran panels: all residues together, then each residue, a row an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cgsurrogate.comparison import Comparison
from cgsurrogate.report import captions, style, surfaces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESIDUES = 5  # beside the pooled panel


def worst(comparison: Comparison, names: Sequence[str], most: int) -> list[str]:
    """The names whose surfaces differ most from the reference in any surrogate, in the order they came."""
    if len(names) <= most:
        return list(names)
    others = [e for e in comparison.others if e.role == "surrogate"] or list(comparison.others)

    def far(name: str) -> float:
        reference = comparison.reference.surfaces[name].probability
        found = [surfaces.js_distance(reference, e.surfaces[name].probability) for e in others if name in e.surfaces]
        return max(found, default=0.0)

    chosen = sorted(names, key=far, reverse=True)[:most]
    return [name for name in names if name in chosen]


def title(name: str) -> str:
    """A short title: ``CA torsion 3 / CA torsion 4`` as ``torsion 3 / 4``."""
    first, _, second = name.partition(" / ")
    stem, _, _ = first.rpartition(" ")
    if stem and second.startswith(f"{stem} "):
        return f"{first.removeprefix('CA ')} / {second[len(stem) + 1 :]}"
    return style.greek(name)


def caption(comparison: Comparison, names: Sequence[str]) -> str:
    few = len(names) > RESIDUES
    return captions.RAMACHANDRAN.format(
        what=f"the {RESIDUES} residues of {len(names)} that differ most" if few else "each residue"
    )


def figure(comparison: Comparison, names: Sequence[str], kT: float) -> tuple[Figure, dict[str, np.ndarray]]:
    """Rows: the reference, surrogates and baselines. Columns: pooled, then up to five residues."""
    ensembles = [e for e in comparison.ensembles if e.role != "floor"]
    shown = worst(comparison, names, RESIDUES)
    pools = {}
    for ensemble in ensembles:
        parts = [ensemble.surfaces[n] for n in names if n in ensemble.surfaces]
        if parts:
            pools[ensemble.name] = surfaces.pooled(parts, kT, parts[0].labels)
    ensembles = [e for e in ensembles if e.name in pools]
    several = len(names) > 1
    columns = len(shown) + several
    top = surfaces.ceiling(list(pools.values()), kT)
    drawing = style.new_figure(1.72 * columns + 1.5, 1.62 * len(ensembles) + 0.75)
    grid = drawing.subplots(len(ensembles), columns, squeeze=False, sharex=True, sharey=True)
    for row, ensemble in zip(grid, ensembles, strict=True):
        panels = [pools[ensemble.name]] if several else []
        panels += [ensemble.surfaces.get(name, pools[ensemble.name]) for name in shown]
        for ax, panel in zip(row, panels, strict=True):
            surfaces.surface(ax, panel, kT, top)
            ax.set_xlabel("")
            ax.set_ylabel("")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_ticks(np.radians([-90, 0, 90]), ["\u221290", "0", "90"])
        row[0].set_ylabel(style.short(ensemble.name, 20), fontsize=9, fontweight="bold")
    titles = ["all residues"] if several else []
    for ax, heading in zip(grid[0], [*titles, *(title(name) for name in shown)], strict=True):
        ax.set_title(heading)
    first = comparison.reference.surfaces[names[0]].labels[0].startswith("phi")
    drawing.supxlabel("\u03c6 (degrees)" if first else "torsion (degrees)", fontsize=9.5)
    drawing.supylabel("\u03c8 (degrees)" if first else "next torsion (degrees)", fontsize=9.5)
    mesh = grid[0, 0].images[0]
    drawing.colorbar(mesh, ax=grid.ravel().tolist(), label="free energy (kJ/mol)", fraction=0.03, pad=0.015, aspect=24)
    data: dict[str, np.ndarray] = {}
    for axis, edges in enumerate(comparison.reference.surfaces[names[0]].edges):
        data[f"edges {axis}"] = edges
    for ensemble in ensembles:
        data[f"{ensemble.name} pooled probability"] = pools[ensemble.name].probability
        for name in names:
            if name in ensemble.surfaces:
                data[f"{ensemble.name} {name} free_energy"] = ensemble.surfaces[name].free_energy
                data[f"{ensemble.name} {name} probability"] = ensemble.surfaces[name].probability
    return drawing, data

"""Whole figures of surfaces, distances, timescales, geometry and training: panels put together with their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cgsurrogate.comparison.comparison import Ensemble
from cgsurrogate.report.plots import checks, drawing, style, surfaces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROCESSES = ("slowest process", "second", "third")


def data_of(ensembles: Sequence[Ensemble], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of the named surfaces, keyed ensemble_surface_field."""
    data: dict[str, np.ndarray] = {}
    for name in names:
        data |= {f"{name} edges {axis}": edges for axis, edges in enumerate(ensembles[0].surfaces[name].edges)}
        for ensemble in (e for e in ensembles if name in e.surfaces):
            for field in ("probability", "free_energy", "error", "kernel", "kernel_error"):
                if (values := getattr(ensemble.surfaces[name], field)) is not None:
                    data[f"{ensemble.name} {name} {field}"] = values
    return data


def profiles(ensembles: Sequence[Ensemble], names: Sequence[str], kT: float, columns: int = 3) -> drawing.Made:
    """Free energy along each variable."""
    figure = drawing.multiples(names, lambda ax, name: surfaces.profile(ax, name, ensembles, kT), columns)
    return figure, data_of(ensembles, names)


def maps(group: Sequence[Ensemble], name: str, kT: float, floor: Ensemble | None = None) -> drawing.Made:
    """Top row: the surfaces on one scale. Middle: their standard errors. Below: each other minus the reference.

    The first place of the last row shows what noise looks like: the ``floor`` (another part of the all-atom data)
    minus the reference, where there is one; else the scale of that row stands there.
    """
    group = [e for e in group if name in e.surfaces]
    found = [e.surfaces[name] for e in group]
    top, reference = surfaces.ceiling(found, kT), found[0]
    count, rows = len(group), 2 + (len(group) > 1)
    figure = style.new_figure(2.5 * max(count, 2) + 1.15, 2.15 * rows + 0.35)
    grid = figure.subplots(rows, count, squeeze=False, sharex=True, sharey=True)
    for place, (ensemble, surface) in enumerate(zip(group, found, strict=True)):
        surfaces.surface(grid[0, place], surface, kT, top).set_title(style.short(ensemble.name, 24))
        surfaces.error_map(grid[1, place], surface, kT)
        if place:
            surfaces.difference_map(grid[2, place], reference, surface, 3 * kT)
    noisy = rows == 3 and floor is not None and name in floor.surfaces
    if noisy and floor is not None:
        surfaces.difference_map(grid[2, 0], reference, floor.surfaces[name], 3 * kT)
        grid[2, 0].set_title(f"noise: {style.short(floor.name, 14)}", fontsize=8.5)
        group = [*group, floor]
    minus = f"minus {style.short(group[0].name, 14)}\n(kJ/mol)"
    _bar(figure, grid[0], "free energy\n(kJ/mol)", "max")
    _bar(figure, grid[1], "standard error\n(kJ/mol)", "max")
    if noisy:
        _bar(figure, grid[2], minus, "both")
    elif rows == 3:
        grid[2, 0].set_axis_off()
        grid[1, 0].tick_params(labelbottom=True)
        scale = grid[2, 0].inset_axes((0.05, 0.42, 0.85, 0.07))
        figure.colorbar(grid[2, 1].images[0], cax=scale, label=minus, extend="both", orientation="horizontal")
    for (row, column), ax in np.ndenumerate(grid):  # axes are named at the left and at the foot only
        if row < rows - 1 and not (row == 1 and column == 0 and rows == 3 and not noisy):
            ax.set_xlabel("")
        if column:
            ax.set_ylabel("")
    return figure, data_of(group, [name])


def _bar(figure: Figure, row: Any, label: str, extend: str) -> None:
    drawn = [ax for ax in row if ax.images]
    figure.colorbar(drawn[-1].images[0], ax=list(row), label=label, extend=extend, pad=0.02, aspect=16)


def distances(ensembles: Sequence[Ensemble]) -> drawing.Made:
    """Distances beside their floor."""
    metrics = {m for e in ensembles for m in e.distances}
    figure = style.new_figure(min(11.4, max(5.6, 1.25 * len(metrics) + 1.6)), 3.3)
    drawing.legend(figure, [checks.distances(figure.subplots(), ensembles)])
    rows = [(e.name, metric, d) for e in ensembles for metric, d in e.distances.items()]
    data = {"ensemble": np.array([r[0] for r in rows], str), "metric": np.array([r[1] for r in rows], str)}
    for field in ("value", "low", "high", "floor", "floor_high", "p"):
        data[field] = np.array([getattr(d, field) for *_, d in rows], float)
    return figure, data


def timescales(ensembles: Sequence[Ensemble]) -> drawing.Made:
    """Implied timescales of the slowest three processes."""
    known = [(e, e.timescales) for e in ensembles if e.timescales is not None]
    count = max(times.values.shape[1] for _, times in known)

    def draw(ax: Any, process: str) -> None:
        checks.timescales(ax, ensembles, PROCESSES.index(process)).set_title(process)

    data: dict[str, np.ndarray] = {}
    for ensemble, times in known:
        data |= {f"{ensemble.name} {field}": getattr(times, field) for field in ("lags", "values", "low", "high")}
        if times.time_scaling is not None:
            data |= drawing.estimate(f"{ensemble.name} time scaling", times.time_scaling)
    return drawing.multiples(PROCESSES[:count], draw), data


def geometry(ensembles: Sequence[Ensemble]) -> drawing.Made:
    """Bonds, angles, chirality, closest approach."""
    drawn = drawing.shown(ensembles)
    names = list(dict.fromkeys(n for e in drawn for n in e.geometry))
    figure = drawing.multiples(names, lambda ax, name: checks.geometry(ax, name, ensembles), 4)
    return figure, {
        f"{ensemble.name} {name} {field}": np.asarray(check[field])
        for ensemble in drawn
        for name, check in ensemble.geometry.items()
        for field in ("edges", "probability")
    }


def training(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> drawing.Made:
    """Loss against step, a panel a model."""
    figure = drawing.multiples(
        list(curves), lambda ax, name: checks.training(ax, curves[name]).set_title(style.short(name))
    )
    return figure, {
        f"{name} {key}": np.array([checks.number(row.get(key)) for row in rows], float)
        for name, rows in curves.items()
        for key in ("step", "seconds", "train", "held_out")
    }

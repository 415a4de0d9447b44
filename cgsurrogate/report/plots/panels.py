"""Whole figures of surfaces, distances, timescales, geometry and training: panels put together with their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cgsurrogate.comparison.comparison import Ensemble, Surface
from cgsurrogate.report.plots import checks, drawing, style, surfaces

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def data_of(ensembles: Sequence[Ensemble], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of the named surfaces, keyed ensemble_surface_field."""
    data: dict[str, np.ndarray] = {}
    for name in names:
        for axis, edges in enumerate(ensembles[0].surfaces[name].edges):
            data[f"{name} edges {axis}"] = edges
        for ensemble in ensembles:
            if name in ensemble.surfaces:
                surface: Surface = ensemble.surfaces[name]
                for field in ("probability", "free_energy", "error", "kernel", "kernel_error"):
                    if getattr(surface, field) is not None:
                        data[f"{ensemble.name} {name} {field}"] = getattr(surface, field)
    return data


def profiles(
    ensembles: Sequence[Ensemble], names: Sequence[str], kT: float, columns: int = 3
) -> tuple[Figure, dict[str, np.ndarray]]:
    """Free energy along each variable."""
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    figure = style.new_figure(max(3.4 * columns if columns < 4 else 2.7 * columns, 5.6), 2.6 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False)
    drawing.blank(grid.flat, len(names))
    for place, name in enumerate(names):
        ax = surfaces.profile(grid.flat[place], name, ensembles, kT)
        if place % columns:
            ax.set_ylabel("")
    drawing.legend_of(figure, [grid[0, 0]], reverse=True)
    return figure, data_of(ensembles, names)


def maps(
    group: Sequence[Ensemble], name: str, kT: float, floor: Ensemble | None = None
) -> tuple[Figure, dict[str, np.ndarray]]:
    """Top row: the surfaces on one scale. Middle: their standard errors. Below: each other minus the reference.

    The first place of the last row shows what noise looks like: the ``floor`` (another part of the all-atom data)
    minus the reference, where there is one.
    """
    group = [e for e in group if name in e.surfaces]
    found = [e.surfaces[name] for e in group]
    top, reference = surfaces.ceiling(found, kT), found[0]
    count, rows = len(group), 2 + (len(group) > 1)
    figure = style.new_figure(2.5 * max(count, 2) + 1.15, 2.15 * rows + 0.35)
    grid = figure.subplots(rows, count, squeeze=False, sharex=True, sharey=True)
    noise = floor.surfaces.get(name) if floor is not None else None
    for place, (ensemble, surface) in enumerate(zip(group, found, strict=True)):
        surfaces.surface(grid[0, place], surface, kT, top).set_title(style.short(ensemble.name, 24))
        surfaces.error_map(grid[1, place], surface, kT)
        if place:
            surfaces.difference_map(grid[2, place], reference, surface, 3 * kT)
    if rows == 3 and noise is not None:
        surfaces.difference_map(grid[2, 0], reference, noise, 3 * kT)
        grid[2, 0].set_title(f"noise: {style.short(floor.name, 14)}", fontsize=8.5)  # type: ignore[union-attr]
    elif rows == 3:
        grid[2, 0].set_axis_off()
        grid[1, 0].tick_params(labelbottom=True)
    _outer_labels(grid, bare=rows == 3 and noise is None)
    _bar(figure, grid[0], "free energy\n(kJ/mol)", "max")
    _bar(figure, grid[1], "standard error\n(kJ/mol)", "max")
    if rows == 3 and noise is None:  # the scale takes the empty place
        scale = grid[2, 0].inset_axes((0.05, 0.42, 0.85, 0.07))
        label = "minus reference\n(kJ/mol)"
        figure.colorbar(grid[2, 1].images[0], cax=scale, label=label, extend="both", orientation="horizontal")
    elif rows == 3:
        _bar(figure, grid[2], "minus reference\n(kJ/mol)", "both")
    data = data_of(group, [name])
    if noise is not None and floor is not None:
        data |= data_of([floor], [name])
    return figure, data


def _outer_labels(grid: Any, bare: bool) -> None:
    """Names of the axes only at the left and at the foot; ``bare``: the last panel of the first column is empty."""
    rows, columns = grid.shape
    for row in range(rows):
        for column in range(columns):
            foot = row == rows - 1 or (bare and column == 0 and row == rows - 2)
            if not foot:
                grid[row, column].set_xlabel("")
            if column:
                grid[row, column].set_ylabel("")


def _bar(figure: Figure, row: Any, label: str, extend: str) -> None:
    drawn = [ax for ax in row if ax.images]
    figure.colorbar(drawn[-1].images[0], ax=list(row), label=label, extend=extend, pad=0.02, aspect=16)


def distances(ensembles: Sequence[Ensemble]) -> tuple[Figure, dict[str, np.ndarray]]:
    """Distances beside their floor."""
    metrics = {m for e in ensembles for m in e.distances}
    figure = style.new_figure(min(11.4, max(5.6, 1.25 * len(metrics) + 1.6)), 3.3)
    ax = checks.distances(figure.subplots(), ensembles, legend=False)
    drawing.legend_of(figure, [ax])
    rows = [
        (e.name, metric, d.value, d.low, d.high, d.floor, d.floor_high, d.p)
        for e in ensembles
        for metric, d in e.distances.items()
    ]
    data = {"ensemble": np.array([r[0] for r in rows], str), "metric": np.array([r[1] for r in rows], str)}
    for place, field in enumerate(("value", "low", "high", "floor", "floor_high", "p"), start=2):
        data[field] = np.array([r[place] for r in rows], float)
    return figure, data


def timescales(ensembles: Sequence[Ensemble]) -> tuple[Figure, dict[str, np.ndarray]]:
    """Implied timescales of the slowest three processes."""
    known = [e for e in ensembles if e.timescales is not None]
    count = min(3, max(e.timescales.values.shape[1] for e in known))
    figure = style.new_figure(max(3.3 * count, 5.6), 3.2)
    grid = figure.subplots(1, count, squeeze=False)
    for process, ax in enumerate(grid[0]):
        checks.timescales(ax, ensembles, process)
        ax.set_title(("slowest process", "second", "third")[process])
        if process:
            ax.set_ylabel("")
    drawing.legend_of(figure, grid[0])
    data: dict[str, Any] = {}
    for ensemble in known:
        for field in ("lags", "values", "low", "high"):
            data[f"{ensemble.name} {field}"] = getattr(ensemble.timescales, field)
        if ensemble.timescales.time_scaling is not None:
            for field in ("value", "low", "high"):
                data[f"{ensemble.name} time scaling {field}"] = getattr(ensemble.timescales.time_scaling, field)
    return figure, data


def geometry(ensembles: Sequence[Ensemble]) -> tuple[Figure, dict[str, np.ndarray]]:
    """Bonds, angles, chirality, closest approach."""
    drawn = drawing.shown(ensembles)
    names = list(dict.fromkeys(n for e in drawn for n in e.geometry))
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = style.new_figure(max((3.3 if columns < 4 else 2.75) * columns, 5.6), 2.6 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False)
    drawing.blank(grid.flat, len(names))
    for place, name in enumerate(names):
        ax = checks.geometry(grid.flat[place], name, ensembles)
        if place % columns:
            ax.set_ylabel("")
    drawing.legend_of(figure, [grid[0, 0]], reverse=True)
    data = {}
    for ensemble in drawn:
        for name, check in ensemble.geometry.items():
            for field in ("edges", "probability"):
                data[f"{ensemble.name} {name} {field}"] = np.asarray(check[field])
    return figure, data


def training(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[Figure, dict[str, np.ndarray]]:
    """Loss against step, a panel a model."""
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = style.new_figure(max(3.6 * columns, 5.6), 2.8 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    drawing.blank(grid.flat, len(curves))
    data = {}
    for ax, (name, values) in zip(grid.flat, curves.items(), strict=False):
        checks.training(ax, values)
        ax.set_title(style.short(name))
        for key in ("step", "seconds", "train", "held_out"):
            data[f"{name} {key}"] = np.array([checks.number(row.get(key)) for row in values], float)
    return figure, data

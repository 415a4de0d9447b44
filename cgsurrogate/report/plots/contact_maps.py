"""Contact maps drawn in two triangles, fluctuations along the chain, distances between residues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cgsurrogate.analysis.results import ContactMap
from cgsurrogate.comparison.ensemble import Ensemble
from cgsurrogate.report.plots import drawing, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TICKS = 12  # residues named along an axis


def has_contacts(ensemble: Ensemble) -> bool:
    return ensemble.contact_map is not None and bool(np.isfinite(ensemble.contact_map.contacts).any())


def triangles(reference: ContactMap, other: ContactMap | None) -> np.ndarray:
    """(R, R) share of frames in contact: the reference above the diagonal, the other (or again it) below."""
    below = reference.contacts if other is None else other.contacts
    return np.where(np.tri(len(reference.residues), dtype=bool), below, reference.contacts)


def contacts(ax: Axes, reference: ContactMap, other: ContactMap | None = None, top: float = 1.0) -> Axes:
    """Contact map, from 0 to ``top``: the reference above the diagonal, the other ensemble below."""
    return _matrix(ax, triangles(reference, other), reference.residues, cmap=style.SEQUENTIAL, vmin=0, vmax=top)


def contact_difference(ax: Axes, reference: ContactMap, other: ContactMap, limit: float = 1.0) -> Axes:
    """Share of frames in contact, the other ensemble minus the reference."""
    values = other.contacts - reference.contacts
    return _matrix(ax, values, reference.residues, cmap=style.DIVERGING, vmin=-limit, vmax=limit)


def _matrix(ax: Axes, values: np.ndarray, residues: Sequence[str], **options: Any) -> Axes:
    ax.set_facecolor(style.EMPTY)
    ax.imshow(np.ma.masked_invalid(values), origin="upper", interpolation="none", aspect="equal", **options)
    ax.axline((0, 0), slope=1, color="#777777", linewidth=0.7)
    last = len(residues) - 0.5
    ax.set_xlim(-0.5, last)
    ax.set_ylim(last, -0.5)
    residue_ticks(ax, residues, "x")
    residue_ticks(ax, residues, "y")
    ax.spines[["top", "right"]].set_visible(True)
    return ax


def residue_ticks(ax: Axes, residues: Sequence[str], which: str) -> Axes:
    """At most ``TICKS`` residue names along an axis."""
    step = max(1, -(-len(residues) // TICKS))
    at = range(0, len(residues), step)
    labels = [style.short(residues[k], 9) for k in at]
    if which == "x":
        ax.set_xticks(at, labels, rotation=90, fontsize=8)
    else:
        ax.set_yticks(at, labels, fontsize=8)
    return ax


def fluctuation(ax: Axes, ensembles: Sequence[Ensemble], *, legend: bool = False) -> Axes:
    """Root mean square fluctuation along the chain, nm, with 95 % bands."""
    looks = style.looks(ensembles)
    drawn = [e for e in drawing.shown(ensembles) if e.contact_map is not None]
    for ensemble in reversed(drawn):
        look, values = looks[ensemble.name], ensemble.contact_map.fluctuation
        x = np.arange(len(values.value))
        if look.band:
            ax.fill_between(x, values.low, values.high, color=look.color, alpha=0.2, linewidth=0)
        marker = look.marker if len(x) <= 40 else ""
        ax.plot(
            x, values.value, color=look.color, linestyle=look.dashes, linewidth=look.width, marker=marker,
            markersize=3.5, label=style.short(ensemble.name),
        )  # fmt: skip
    if drawn:
        residue_ticks(ax, drawn[0].contact_map.residues, "x")
    ax.set_ylim(bottom=0)
    ax.set_ylabel("fluctuation (nm)")
    if legend:
        ax.legend()
    return ax


def pairs(ax: Axes, ensembles: Sequence[Ensemble], *, legend: bool = False) -> Axes:
    """Distribution of the distance of two residues at least three apart, nm; the grey area is the reference."""
    looks = style.looks(ensembles)
    drawn = [e for e in drawing.shown(ensembles) if e.contact_map is not None and len(e.contact_map.pairs)]
    span = []
    for ensemble in reversed(drawn):
        look, edges = looks[ensemble.name], ensemble.contact_map.pair_edges
        filled = ensemble.role == "reference"
        ax.stairs(
            ensemble.contact_map.pairs / np.diff(edges), edges, fill=filled, facecolor="#d9d9d9", edgecolor=look.color,
            color=None if filled else look.color, linestyle="-" if filled else look.dashes,
            linewidth=1.0 if filled else look.width, label=style.short(ensemble.name), zorder=2 if filled else 3,
        )  # fmt: skip
        full = ensemble.contact_map.pairs > 1e-5
        span += [edges[:-1][full], edges[1:][full]]
    found = style.finite_range(span)
    style.few_ticks(ax)
    if found and found[1] > found[0]:
        ax.set_xlim(*found)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("distance of two residues (nm)")
    ax.set_ylabel("density (1/nm)")
    if legend:
        ax.legend()
    return ax


def contact_figures(ensembles: Sequence[Ensemble]) -> Iterator[tuple[Figure, dict[str, np.ndarray]]]:
    """Above: two triangles for each ensemble; below: its difference. A few ensembles a figure."""
    found = [e for e in ensembles if has_contacts(e)]
    highest = style.finite_range([e.contact_map.contacts for e in drawing.shown(found)]) or (0.0, 1.0)
    top = max(0.1, float(np.ceil(10 * highest[1]) / 10))
    known = found[0].contact_map
    apart = [np.abs(e.contact_map.contacts - known.contacts) for e in drawing.shown(found)[1:]]
    limit = max(0.1, float(np.ceil(10 * (style.finite_range(apart) or (0.0, 0.1))[1]) / 10))
    for group in drawing.chunks(found, 5):
        others = group[1:]
        columns = max(1, len(others))
        figure = style.new_figure(max(5.0, 2.75 * columns + 1.3), 6.2 if others else 3.6)
        grid = figure.subplots(1 + bool(others), columns, squeeze=False, sharex=True, sharey=True)
        for place, ax in enumerate(grid[0]):
            other = others[place].contact_map if others else None
            contacts(ax, known, other, top)
            name = style.short(others[place].name, 24) if others else ""
            ax.set_title(f"above: {group[0].name}\nbelow: {name}" if others else group[0].name, fontsize=9)
        for ax, other in zip(grid[1] if others else (), others, strict=False):
            contact_difference(ax, known, other.contact_map, limit)
            ax.set_title(f"{style.short(other.name, 24)}\nminus {group[0].name}", fontsize=9)
        for ax in grid[:-1].ravel():
            ax.tick_params(labelbottom=False)
        figure.colorbar(grid[0, -1].images[0], ax=list(grid[0]), label="share of frames in contact", aspect=18)
        if others:
            figure.colorbar(grid[1, -1].images[0], ax=list(grid[1]), label="difference", aspect=18)
        data: dict[str, np.ndarray] = {"residues": np.array(known.residues, str), "cutoff": np.array(known.cutoff)}
        yield figure, data | {f"{e.name} contacts": e.contact_map.contacts for e in group}


def chain_figure(ensembles: Sequence[Ensemble]) -> tuple[Figure, dict[str, np.ndarray]]:
    """Fluctuation along the chain, and distances of residues beside it where there are any."""
    drawn = [e for e in drawing.shown(ensembles) if e.contact_map is not None]
    both = any(len(e.contact_map.pairs) and np.nansum(e.contact_map.pairs) > 0 for e in drawn)
    figure = style.new_figure(9.6 if both else 6.4, 3.4)
    axes = figure.subplots(1, 1 + both, squeeze=False)[0]
    fluctuation(axes[0], ensembles)
    if both:
        pairs(axes[1], ensembles)
    drawing.legend_of(figure, axes[:1], reverse=True)
    data: dict[str, np.ndarray] = {"residues": np.array(drawn[0].contact_map.residues, str)}
    for ensemble in drawn:
        for field in ("value", "low", "high"):
            data[f"{ensemble.name} fluctuation {field}"] = getattr(ensemble.contact_map.fluctuation, field)
        for field in ("pair_edges", "pairs"):
            data[f"{ensemble.name} {field}"] = getattr(ensemble.contact_map, field)
    return figure, data

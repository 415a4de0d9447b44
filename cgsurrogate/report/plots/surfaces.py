"""Free energies drawn: profiles with error bands, surfaces on one colour scale, their errors and differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cgsurrogate.comparison.comparison import Ensemble, Surface
from cgsurrogate.report.plots import drawing, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONTOURS = 5  # kT; higher lines would follow single samples
CEILING = 10.0  # kT; colours and profiles end here, since higher bins hold a handful of samples
FEW_VALUES = 15  # bins with samples; fewer are drawn as points, which no line joins


def free_energy(probability: np.ndarray, kT: float) -> np.ndarray:
    """-kT ln p above its minimum, kJ/mol; nan in bins without probability."""
    energy = np.full(probability.shape, np.nan)
    energy[probability > 0] = -kT * np.log(probability[probability > 0])
    return energy - np.nanmin(energy) if np.isfinite(energy).any() else energy


def profile(ax: Axes, name: str, ensembles: Sequence[Ensemble], kT: float) -> Axes:
    """Free energy along one variable, kJ/mol, with a band of one standard error.

    The line is the kernel estimate where there is one, the histogram beside it as points; else the histogram.
    """
    looks = style.looks(ensembles)
    known = [(e, e.surfaces[name]) for e in drawing.shown(ensembles) if name in e.surfaces]
    for ensemble, surface in known:
        look, x = looks[ensemble.name], style.centres(surface.edges[0])
        line, error = best(surface)
        if has_kernel(surface) and ensemble.role != "baseline":
            points = surface.free_energy + shift(surface.free_energy, line, surface.probability)
            ax.plot(x, points, ".", markersize=2.4, color=look.color, alpha=0.55, zorder=2)
        few = np.isfinite(line).sum() < FEW_VALUES
        if error is not None and np.isfinite(error).any():
            style.band(ax, x, line - error, line + error, look)
            if few and look.band:
                style.intervals(ax, x, line - error, line + error, look.color)
        ax.plot(x, line, **look.line, marker="o" if few else "", markersize=3.5, label=style.short(ensemble.name))
    found = style.finite_range([best(s)[0] for _, s in known])
    top = min(CEILING * kT, found[1]) if found else CEILING * kT
    style.few_ticks(ax)
    if known:
        _axis(ax, known[0][1], 0)
    ax.set_ylim(-0.04 * top, 1.08 * max(top, kT))
    ax.set_ylabel("free energy (kJ/mol)")
    return ax


def best(surface: Surface) -> tuple[np.ndarray, np.ndarray | None]:
    """The kernel estimate with its error where there is one, else the histogram's; kJ/mol."""
    if surface.kernel is not None and has_kernel(surface):
        return surface.kernel, surface.kernel_error
    return surface.free_energy, surface.error


def has_kernel(surface: Surface) -> bool:
    return surface.kernel is not None and bool(np.isfinite(surface.kernel).any())


def shift(values: np.ndarray, target: np.ndarray, probability: np.ndarray) -> float:
    """What to add to a surface, so that it agrees with another on average over the probability."""
    both = np.isfinite(values) & np.isfinite(target)
    weights = np.where(both, probability, 0.0)
    return float(np.sum(weights[both] * (target - values)[both]) / weights.sum()) if weights.sum() > 0 else 0.0


def ceiling(surfaces: Sequence[Surface], kT: float) -> float:
    """Upper end of the common colour scale, kJ/mol, a whole number of kT."""
    found = style.finite_range([s.free_energy for s in surfaces])
    highest = found[1] / kT if found else CEILING
    return float(np.clip(np.ceil(highest), 3, CEILING)) * kT


def surface(ax: Axes, values: Surface, kT: float, top: float, *, contours: bool = True) -> Axes:
    """One surface, kJ/mol from 0 to ``top``; white lines every kT up to 5 kT.

    The lines follow the kernel estimate where there is one, else the smoothed histogram.
    """
    _bins(ax, values, values.free_energy, cmap=style.SEQUENTIAL, vmin=0, vmax=top)
    smooth = values.kernel if has_kernel(values) else smoothed(values, kT)
    if contours and smooth is not None and (np.isfinite(smooth) & (smooth > kT)).any():
        most = round(top / kT) - (not has_kernel(values))
        levels = np.arange(1, min(CONTOURS, most) + 1) * kT
        x, y = (style.centres(e) for e in values.edges)
        ax.contour(x, y, smooth.T, levels=levels, colors="white", linewidths=0.55, alpha=0.85)
    return ax


def difference_map(ax: Axes, reference: Surface, other: Surface, limit: float) -> Axes:
    """Surrogate minus reference, kJ/mol, from -limit to limit; blank where either has no samples."""
    return _bins(ax, reference, difference(reference, other), cmap=style.DIVERGING, vmin=-limit, vmax=limit)


def error_map(ax: Axes, values: Surface, limit: float) -> Axes:
    """Standard error of a surface, kJ/mol, from 0 to ``limit``."""
    error = np.where(np.isfinite(values.free_energy), values.error, np.nan)
    return _bins(ax, values, error, cmap="magma_r", vmin=0, vmax=limit)


def _bins(ax: Axes, grid: Surface, values: np.ndarray, **options: Any) -> Axes:
    """Coloured bins of the surface's grid, nan left out: one pixel a bin, so that a file stays small."""
    ax.set_facecolor(style.EMPTY)
    (left, right), (bottom, top) = ((float(e[0]), float(e[-1])) for e in grid.edges)
    image = np.ma.masked_invalid(values.T)
    extent = (left, right, bottom, top)
    ax.imshow(image, origin="lower", extent=extent, aspect="auto", interpolation="none", **options)
    style.few_ticks(ax)
    _axis(ax, grid, 0)
    _axis(ax, grid, 1)
    ax.spines[["top", "right"]].set_visible(True)
    return ax


def _axis(ax: Axes, grid: Surface, axis: int) -> None:
    """Limits, label and, for an angle, ticks of one axis."""
    which, edges = "xy"[axis], grid.edges[axis]
    (ax.set_xlabel if which == "x" else ax.set_ylabel)(style.axis_label(grid, axis))
    if grid.periodic[axis]:
        style.angle_ticks(ax, which)
    else:
        (ax.set_xlim if which == "x" else ax.set_ylim)(float(edges[0]), float(edges[-1]))


def smoothed(values: Surface, kT: float, width: float = 1.0) -> np.ndarray | None:
    """Free energy, kJ/mol, of the histogram smoothed by a Gaussian of ``width`` bins; None for an empty surface.

    Only contour lines use it. Bins that hold no probability after smoothing are nan.
    """
    from scipy.ndimage import gaussian_filter

    if not np.isfinite(values.free_energy).any() or min(values.probability.shape) < 2:
        return None
    mode = ["wrap" if periodic else "nearest" for periodic in values.periodic]
    density = gaussian_filter(np.nan_to_num(np.asarray(values.probability, float)), width, mode=mode, truncate=2.0)
    return free_energy(density, kT)


def difference(reference: Surface, other: Surface) -> np.ndarray:
    """Surface of ``other`` minus that of the reference, kJ/mol, where both have samples, else nan.

    The two are first shifted to agree on average, each bin counted by its reference probability: a shift of the whole
    surface is no error, and the lowest bin alone is a noisy zero.
    """
    moved = other.free_energy + shift(other.free_energy, reference.free_energy, reference.probability)
    return moved - reference.free_energy


def pooled(surfaces: Sequence[Surface], kT: float) -> Surface:
    """The mean of several surfaces on one grid (all residues together); its error is unknown."""
    probability, first = np.mean([s.probability for s in surfaces], 0), surfaces[0]
    outside = float(np.mean([s.outside for s in surfaces]))
    unknown = np.full_like(probability, np.nan)
    return Surface(
        first.labels, first.edges, probability, free_energy(probability, kT), unknown, outside, first.periodic
    )

"""Free energies drawn: profiles with error bands, surfaces on one colour scale, differences, Ramachandran panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cgsurrogate.comparison.comparison import Ensemble, Surface
from cgsurrogate.report.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONTOURS = 5  # kT; higher lines would follow single samples
CEILING = 10.0  # kT; colours and profiles end here, since higher bins hold a handful of samples
FEW_VALUES = 15  # bins with samples; fewer are drawn as points, which no line joins


def profile(ax: Axes, name: str, ensembles: Sequence[Ensemble], kT: float, *, legend: bool = False) -> Axes:
    """Free energy along one variable, kJ/mol, with a band of one standard error.

    The line is the kernel estimate where there is one, the histogram beside it as points; else the histogram.
    """
    looks = style.looks(ensembles)
    surfaces = [(e, e.surfaces[name]) for e in ensembles if name in e.surfaces and e.role != "floor"]
    for ensemble, surface in reversed(surfaces):  # the reference on top
        look, x = looks[ensemble.name], style.centres(surface.edges[0])
        line, error = (surface.kernel, surface.kernel_error) if has_kernel(surface) else (None, None)
        if line is None:
            line, error = surface.free_energy, surface.error
        elif ensemble.role != "baseline":
            ax.plot(
                x, surface.free_energy, linestyle="none", marker=".", markersize=2.4, color=look.color, alpha=0.55,
                zorder=2,
            )  # fmt: skip
        if look.band and error is not None and np.isfinite(error).any():
            ax.fill_between(x, line - error, line + error, color=look.color, alpha=0.2, linewidth=0, zorder=1)
        order = {"reference": 4, "surrogate": 3}.get(ensemble.role, 2)
        ax.plot(
            x,
            line,
            color=look.color,
            linestyle=look.dashes,
            linewidth=look.width,
            marker="o" if np.isfinite(line).sum() < FEW_VALUES else "",
            markersize=3.5,
            label=style.short(ensemble.name),
            zorder=order,
        )
        if error is not None and np.isfinite(line).sum() < FEW_VALUES and look.band:
            ax.errorbar(x, line, error, linestyle="none", color=look.color, linewidth=1, zorder=order)
    _profile_axes(ax, [s for _, s in surfaces], kT)
    if legend:
        handles, labels = ax.get_legend_handles_labels()
        ax.legend(handles[::-1], labels[::-1])
    return ax


def shift(values: np.ndarray, target: np.ndarray, probability: np.ndarray) -> float:
    """What to add to a surface, so that it agrees with another on average over the probability."""
    both = np.isfinite(values) & np.isfinite(target)
    weights = np.where(both, probability, 0.0)
    return float(np.sum(weights[both] * (target - values)[both]) / weights.sum()) if weights.sum() > 0 else 0.0


def has_kernel(surface: Surface) -> bool:
    return surface.kernel is not None and bool(np.isfinite(surface.kernel).any())


def _profile_axes(ax: Axes, surfaces: Sequence[Surface], kT: float) -> None:
    found = style.finite_range([s.kernel if has_kernel(s) else s.free_energy for s in surfaces])
    top = min(CEILING * kT, found[1]) if found else CEILING * kT
    style.few_ticks(ax)
    ax.set_ylim(-0.04 * top, 1.08 * max(top, kT))
    ax.set_ylabel("free energy (kJ/mol)")
    if surfaces:
        ax.set_xlabel(style.axis_label(surfaces[0], 0))
        if surfaces[0].periodic[0]:
            style.angle_ticks(ax, "x")
        else:
            ax.set_xlim(float(surfaces[0].edges[0][0]), float(surfaces[0].edges[0][-1]))


def ceiling(surfaces: Sequence[Surface], kT: float) -> float:
    """Upper end of the common colour scale, kJ/mol, a whole number of kT."""
    found = style.finite_range([s.free_energy for s in surfaces])
    highest = found[1] / kT if found else CEILING
    return float(np.clip(np.ceil(highest), 3, CEILING)) * kT


def surface(ax: Axes, values: Surface, kT: float, top: float, *, contours: bool = True) -> Axes:
    """One surface, kJ/mol from 0 to ``top``; white lines every kT up to 5 kT.

    The lines follow the kernel estimate where there is one, else the smoothed histogram.
    """
    ax.set_facecolor(style.EMPTY)
    bins(ax, values.edges, values.free_energy, cmap=style.SEQUENTIAL, vmin=0, vmax=top)
    if contours:
        smooth = values.kernel if has_kernel(values) else smoothed(values, kT)
        if smooth is not None and (np.isfinite(smooth) & (smooth > kT)).any():
            most = round(top / kT) - (not has_kernel(values))
            levels = np.arange(1, min(CONTOURS, most) + 1) * kT
            x, y = (style.centres(e) for e in values.edges)
            ax.contour(x, y, smooth.T, levels=levels, colors="white", linewidths=0.55, alpha=0.85)
    return surface_axes(ax, values)


def bins(ax: Axes, edges: Sequence[np.ndarray], values: np.ndarray, **options: Any) -> Any:
    """Coloured bins of an even grid, nan left out: one pixel a bin, so that a file stays small. Returns the image."""
    extent = (*(float(edges[0][k]) for k in (0, -1)), *(float(edges[1][k]) for k in (0, -1)))
    masked = np.ma.masked_invalid(values.T)
    return ax.imshow(masked, origin="lower", extent=extent, aspect="auto", interpolation="none", **options)


def surface_axes(ax: Axes, values: Surface) -> Axes:
    """Limits, labels and ticks of a panel over two variables."""
    style.few_ticks(ax)
    for axis, which in enumerate("xy"):
        edges = values.edges[axis]
        (ax.set_xlabel if which == "x" else ax.set_ylabel)(style.axis_label(values, axis))
        if values.periodic[axis]:
            style.angle_ticks(ax, which)
        else:
            (ax.set_xlim if which == "x" else ax.set_ylim)(float(edges[0]), float(edges[-1]))
    ax.spines[["top", "right"]].set_visible(True)
    return ax


def smoothed(values: Surface, kT: float, width: float = 1.0) -> np.ndarray | None:
    """Free energy, kJ/mol, of the histogram smoothed by a Gaussian of ``width`` bins; None for an empty surface.

    Only contour lines use it. Bins that hold no probability after smoothing are nan.
    """
    from scipy.ndimage import gaussian_filter

    if not np.isfinite(values.free_energy).any() or min(values.probability.shape) < 2:
        return None
    mode = ["wrap" if periodic else "nearest" for periodic in values.periodic]
    density = gaussian_filter(np.nan_to_num(np.asarray(values.probability, float)), width, mode=mode, truncate=2.0)
    with np.errstate(divide="ignore"):
        energy = -kT * np.log(density)
    energy[~np.isfinite(energy)] = np.nan
    return energy - np.nanmin(energy)


def difference(reference: Surface, other: Surface) -> np.ndarray:
    """Surface of ``other`` minus that of the reference, kJ/mol, where both have samples, else nan.

    The two are first shifted to agree on average, each bin counted by its reference probability: a shift of the whole
    surface is no error, and the lowest bin alone is a noisy zero.
    """
    raw = other.free_energy - reference.free_energy
    both = np.isfinite(raw)
    weights = np.where(both, reference.probability, 0.0)
    if not both.any() or weights.sum() <= 0:
        return np.full_like(raw, np.nan)
    return raw - np.sum(weights[both] * raw[both]) / weights.sum()


def difference_map(ax: Axes, reference: Surface, other: Surface, limit: float) -> Axes:
    """Surrogate minus reference, kJ/mol, from -limit to limit; blank where either has no samples."""
    ax.set_facecolor(style.EMPTY)
    bins(ax, reference.edges, difference(reference, other), cmap=style.DIVERGING, vmin=-limit, vmax=limit)
    return surface_axes(ax, reference)


def error_map(ax: Axes, values: Surface, limit: float) -> Axes:
    """Standard error of a surface, kJ/mol, from 0 to ``limit``."""
    ax.set_facecolor(style.EMPTY)
    error = np.where(np.isfinite(values.free_energy), values.error, np.nan)
    bins(ax, values.edges, error, cmap="magma_r", vmin=0, vmax=limit)
    return surface_axes(ax, values)


def pooled(surfaces: Sequence[Surface], kT: float, labels: tuple[str, ...]) -> Surface:
    """The mean of several surfaces on one grid (all residues together); its error is unknown."""
    probability = np.mean([s.probability for s in surfaces], 0)
    with np.errstate(divide="ignore"):
        energy = np.where(probability > 0, -kT * np.log(np.where(probability > 0, probability, 1)), np.nan)
    energy = energy - np.nanmin(energy) if np.isfinite(energy).any() else energy
    first = surfaces[0]
    outside = float(np.mean([s.outside for s in surfaces]))
    error = np.full_like(energy, np.nan)
    return Surface(labels, first.edges, probability, energy, error, outside, first.periodic)


def js_distance(one: np.ndarray, two: np.ndarray) -> float:
    """Jensen-Shannon distance of two histograms (natural logarithm); only to choose which panels to show."""
    p, q = (np.asarray(a, float).ravel() / max(np.sum(a), 1e-300) for a in (one, two))
    middle = (p + q) / 2

    def part(a: np.ndarray) -> Any:
        return np.sum(a[a > 0] * np.log(a[a > 0] / middle[a > 0]))

    return float(np.sqrt(max(0.0, (part(p) + part(q)) / 2)))

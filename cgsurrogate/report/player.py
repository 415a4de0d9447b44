"""The 3-D player: trajectories in the page, linked with a free-energy surface that shows where each frame lies."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.analysis.free_energy.surfaces import Grid
from cgsurrogate.comparison.comparison import Comparison, Surface
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry.superposition import superposed
from cgsurrogate.report import html
from cgsurrogate.report.plots import drawing, style, surfaces

MOST_FRAMES = 300
MOST_ENSEMBLES = 6
MOST_BYTES = 500_000  # of coordinates in one page, as base64


def payload(comparison: Comparison) -> dict[str, Any]:
    """What the player's script needs, as plain values: chain, trajectories, tracks and drawn surfaces."""
    sample = comparison.basis.sample
    over_two = (n for n, s in comparison.basis.surfaces.items() if len(s.labels) == 2 and not any(s.periodic))
    name = next(over_two, "")  # TIC 1 / TIC 2
    shown = [e for e in drawing.shown(comparison.ensembles) if len(e.sample)][:MOST_ENSEMBLES]
    known = [e.surfaces[name] for e in shown if name in e.surfaces]
    top, target = surfaces.ceiling(known, sample.kT), stretched(sample)
    most = budget(len(sample.beads), len(shown))
    entries = [_entry(e.name, e.sample, target, e.track, e.surfaces.get(name), sample.kT, top, most) for e in shown]
    return {"chain": chain(sample), "ensembles": entries}


def alone(frames: Frames, name: str = "frames") -> dict[str, Any]:
    """The payload of one set of frames, with a surface over end-to-end distance and radius of gyration."""
    values = extent(frames)
    most = budget(len(frames.beads), 1)
    chosen = spread(frames, most)
    surface = _histogram(values, frames)
    top = surfaces.ceiling([surface], frames.kT)
    sample = _pick(frames, chosen)
    entry = _entry(name, sample, stretched(sample), values[chosen], surface, frames.kT, top, most)
    return {"chain": chain(frames), "ensembles": [entry]}


def budget(beads: int, ensembles: int) -> int:
    """Frames an ensemble may bring, so that all coordinates (6 bytes a bead, a third more as base64) stay small."""
    return int(np.clip(MOST_BYTES // max(1, 8 * beads * ensembles), 2, MOST_FRAMES))


def write_player(frames: Frames, out: str | Path, *, title: str = "Trajectory") -> Path:
    """Write one offline page that plays the frames (at most 300 of the first run). Returns its path."""
    return html.write(out, "view.html", title=title, player=alone(frames, title), facts=facts(frames))


def facts(frames: Frames) -> str:
    runs = "run" if len(frames.lengths) == 1 else "runs"
    return (
        f"{len(frames):,} frames of {len(frames.beads)} beads in {len(frames.lengths)} {runs}, {frames.dt:g} ps apart, "
        f"{frames.temperature:g} K"
    )


def chain(frames: Frames) -> dict[str, Any]:
    """Names, residues, bonds and colours of the beads; ``thick`` where neighbours are as far apart as Calpha atoms."""
    beads = frames.beads
    bonds = [list(b) for b in beads.bonds] or [[i, i + 1] for i in range(len(beads) - 1)]
    first = np.asarray(frames.positions[0], float)
    lengths = [float(np.linalg.norm(first[i] - first[j])) for i, j in bonds]
    places = np.asarray(beads.residues, float)
    span = max(1.0, float(places.max() - places.min()))
    return {
        "names": list(beads.names),
        "residues": [f"{n} {r + 1}" for n, r in zip(beads.residue_names, beads.residues, strict=True)],
        "bonds": [[int(i), int(j)] for i, j in bonds],
        "colors": [_color(p) for p in (places - places.min()) / span],
        "thick": bool(lengths and np.median(lengths) > 0.25),
    }


def _color(place: float) -> int:
    """0xRRGGBB along the chain: blue at the N-terminus, over light grey-green, to red at the C-terminus."""
    stops = np.array([(0.10, 0.35, 0.80), (0.25, 0.68, 0.72), (0.93, 0.78, 0.32), (0.82, 0.22, 0.16)])
    at = place * (len(stops) - 1)
    low = min(int(at), len(stops) - 2)
    red, green, blue = (255 * (stops[low] + (at - low) * (stops[low + 1] - stops[low]))).astype(int)
    return int(red) << 16 | int(green) << 8 | int(blue)


def spread(frames: Frames, most: int = MOST_FRAMES) -> np.ndarray:
    """Indices of at most ``most`` evenly spaced frames of the first run."""
    stop = frames.runs[0].stop
    return np.arange(0, stop, max(1, -(-stop // most)))


def _pick(frames: Frames, chosen: np.ndarray) -> Frames:
    step = int(chosen[1] - chosen[0]) if len(chosen) > 1 else 1
    positions = np.asarray(frames.positions[chosen])
    return Frames(frames.beads, positions, (len(chosen),), frames.dt * step, frames.temperature)


def extent(frames: Frames) -> np.ndarray:
    """(T, 2) distance of the first bead to the last, and mass-weighted radius of gyration, nm."""
    ends = np.asarray(frames.positions[:, -1], float) - frames.positions[:, 0]
    radius = registry.build("cvs", "gyration", frames)(frames)
    return np.column_stack([np.linalg.norm(ends, axis=-1), radius])


def _histogram(values: np.ndarray, frames: Frames) -> Surface:
    labels = ("end-to-end distance (nm)", "radius of gyration (nm)")
    grid = Grid.over(values, labels, None, bins=40)
    counts, *_ = np.histogram2d(values[:, 0], values[:, 1], bins=grid.edges, weights=frames.probabilities)
    probability = counts / counts.sum()
    energy = surfaces.free_energy(probability, frames.kT)
    return Surface(labels, grid.edges, probability, energy, np.full_like(energy, np.nan), 0.0, grid.periodic)


def _entry(
    name: str,
    sample: Frames,
    target: np.ndarray,
    track: np.ndarray,
    surface: Surface | None,
    kT: float,
    top: float,
    most: int,
) -> dict[str, Any]:
    step = max(1, -(-len(sample) // most))
    positions = superposed(np.asarray(sample.positions[::step], float), target)
    largest = max(1e-6, float(np.abs(positions).max()))
    packed = np.round(positions / largest * 32767).astype("<i2")
    entry: dict[str, Any] = {
        "name": name,
        "frames": len(positions),
        "dt": sample.dt * step,
        "scale": 10 * largest / 32767,  # to Angstrom, which the viewer counts in
        "reach": [10 * float(np.quantile(part, 0.95)) for part in _reach(positions)],  # sideways, upwards
        "positions": base64.b64encode(packed.tobytes()).decode(),
    }
    if surface is not None and len(track) == len(sample):
        entry["track"] = np.round(np.asarray(track, float)[::step, :2], 4).tolist()
        entry["surface"] = _draw(surface, kT, top)
    return entry


def stretched(sample: Frames) -> np.ndarray:
    """(N, 3) the frame that all others are turned onto: wider than nine in ten, and upright."""
    positions = np.asarray(sample.positions, float)
    centred = positions - positions.mean(1, keepdims=True)
    order = np.argsort(np.sum(centred**2, (1, 2)), kind="stable")
    return upright(centred[order[(9 * (len(order) - 1)) // 10]])


def _reach(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T,) furthest bead of each frame from the centre, nm: from left to right, and across."""
    return np.abs(positions[..., 0]).max(-1), np.linalg.norm(positions[..., 1:], axis=-1).max(-1)


def upright(positions: np.ndarray) -> np.ndarray:
    """(N, 3) turned so that its longest extent lies from left to right and its shortest points to the viewer."""
    centred = positions - positions.mean(0)
    axes = np.linalg.svd(centred, full_matrices=True)[2]
    axes[2] *= np.sign(np.linalg.det(axes)) or 1.0
    if centred[-1] @ axes[0] < centred[0] @ axes[0]:  # the chain runs to the right
        axes[:2] *= -1
    return centred @ axes.T


def _draw(surface: Surface, kT: float, top: float) -> dict[str, Any]:
    """The surface as SVG, with the place of its axes (fractions from the top left) and their limits."""
    import matplotlib
    from matplotlib.figure import Figure

    box = (0.135, 0.14, 0.70, 0.82)
    with matplotlib.rc_context(style.RC | {"savefig.bbox": "standard", "font.size": 11, "axes.labelsize": 11}):
        with matplotlib.rc_context({"xtick.labelsize": 10, "ytick.labelsize": 10}):
            figure = Figure(figsize=(5.6, 4.4))
            ax = figure.add_axes(box)
            surfaces.surface(ax, surface, kT, top)
            bar = figure.add_axes((box[0] + box[2] + 0.02, box[1], 0.025, box[3]))
            figure.colorbar(ax.images[0], cax=bar, label="free energy (kJ/mol)")
            memory = io.BytesIO()
            figure.savefig(memory, format="svg", metadata={"Date": None})
    return {
        "image": html.data_image(drawing.shorter(memory.getvalue()), "svg+xml"),
        "ratio": 4.4 / 5.6,
        "box": [box[0], 1 - box[1] - box[3], box[2], box[3]],
        "x": [float(v) for v in ax.get_xlim()],
        "y": [float(v) for v in ax.get_ylim()],
        "labels": list(surface.labels),
    }

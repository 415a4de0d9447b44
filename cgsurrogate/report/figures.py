"""Every figure of a comparison, drawn and written as PNG and SVG with its numbers as npz beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.report import captions
from cgsurrogate.report.plots import (
    contact_maps,
    drawing,
    kinetics,
    network,
    panels,
    populations,
    ramachandran,
    regions,
    style,
)
from cgsurrogate.report.plots.drawing import Drawing, Made, save
from cgsurrogate.report.tables import described_states

MOST_TORSIONS = 8
Group: TypeAlias = tuple[str, str, str, str, Iterable[Made]]  # name, section, title and caption of one or more figures


def draw_all(
    comparison: Comparison, folder: str | Path, training: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> tuple[Drawing, ...]:
    """Every figure of a comparison, written into ``folder`` as NAME.png, NAME.svg and NAME.npz."""
    import matplotlib

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, Drawing] = {}
    with matplotlib.rc_context(style.RC):
        for stem, section, title, caption, group in _groups(comparison, training or {}):
            for number, (figure, data) in enumerate(group):
                name = drawing.unused(stem if number == 0 else f"{stem}_{number + 1}", drawings)
                width = float(figure.get_size_inches()[0])
                said = (title, captions.worded(caption, comparison)) if number == 0 else (f"{title} (continued)", "")
                drawings[name] = Drawing(name, section, *said, width, *save(figure, folder / name, data))
    return tuple(drawings.values())


def _groups(comparison: Comparison, training: Mapping[str, Any]) -> Iterator[Group]:
    ensembles, sets = comparison.ensembles, kinetics.set_names(comparison.ensembles)
    if any(e.distances for e in comparison.others):
        made = panels.distances(ensembles)
        yield "distances", "distances", "Distances beside the noise floor", captions.DISTANCES, [made]
    yield from _surfaces(comparison)
    if regions.known(ensembles):
        made = regions.figure(ensembles)
        yield "backbone_regions", "regions", "Regions of (\u03c6, \u03c8)", captions.REGIONS, [made]
    for which in sets:
        title, made = f"Populations, {kinetics.called(which)}", populations.figure(ensembles, which)
        yield f"populations_{drawing.slug(which)}", f"states {which}", title, captions.POPULATIONS, [made]
    if any(e.timescales is not None for e in ensembles):
        made = panels.timescales(ensembles)
        yield "timescales", "kinetics", "Implied timescales", captions.TIMESCALES, [made]
    for which in sets:
        yield from _kinetics(comparison, which)
    yield from _contact_map(comparison)
    if any(e.geometry for e in ensembles):
        made = panels.geometry(ensembles)
        yield "geometry", "geometry", "Bonds, angles and closest approach", captions.GEOMETRY, [made]
    if curves := {name: rows for name, rows in training.items() if rows}:
        yield "training", "training", "Training curves", captions.TRAINING, [panels.training(curves)]


def _surfaces(comparison: Comparison) -> Iterator[Group]:
    ensembles, kT = comparison.ensembles, comparison.basis.sample.kT
    flat, torsions, maps, angles = kinds(comparison)
    profiles = captions.profiles(comparison)
    if flat:
        made = panels.profiles(ensembles, flat, kT)
        yield "free_energy_1d", "surfaces", "Free-energy profiles", profiles, [made]
    floor = next((e for e in comparison.others if e.role == "floor"), None)
    for name in maps:
        title = f"Free energy over {style.short(name.replace(' / ', ' and '), 60)}"
        group = [panels.maps(some, name, kT, floor) for some in drawing.chunks(ensembles)]
        yield f"surface_{drawing.slug(name)}", "surfaces", title, captions.surfaces(comparison, name), group
    if angles:
        title = "Ramachandran surfaces" if angles[0].startswith("phi") else "Surfaces over neighbouring torsions"
        figures, caption = ramachandran.figures(comparison, angles, kT), ramachandran.caption(angles)
        yield "ramachandran", "surfaces", title, caption, figures
    if torsions:
        shown, caption = ramachandran.worst(comparison, torsions, MOST_TORSIONS), profiles
        if len(shown) < len(torsions):
            caption = f"The {len(shown)} torsions of {len(torsions)} that differ most. " + caption
        yield "torsions", "surfaces", "Torsion profiles", caption, [panels.profiles(ensembles, shown, kT, columns=4)]


def _kinetics(comparison: Comparison, which: str) -> Iterator[Group]:
    ensembles, name, called = comparison.ensembles, drawing.slug(which), kinetics.called(which)
    section, arrows = f"kinetics {which}", network.figures(ensembles, which, _places(comparison, which))
    tests, dwell_times = kinetics.check_figures(ensembles, which), kinetics.survival_figures(ensembles, which)
    yield f"chapman_kolmogorov_{name}", section, f"Chapman\u2013Kolmogorov test, {called}", captions.CHECK, tests
    yield f"network_{name}", section, f"Transitions, {called}", captions.NETWORK, arrows
    yield f"dwell_times_{name}", section, f"Dwell times, {called}", captions.SURVIVAL, dwell_times


def _places(comparison: Comparison, which: str) -> np.ndarray | None:
    """(M, 2) means of the states in the projection, where the settings hold them as "place"."""
    found = [s.get("place") for s in described_states(comparison, which)]
    good = found and all(isinstance(p, (list, tuple)) and len(p) == 2 and None not in p for p in found)
    count = len(next(e.states[which].names for e in comparison.ensembles if which in e.states))
    return np.array(found, float) if good and len(found) == count else None


def _contact_map(comparison: Comparison) -> Iterator[Group]:
    found = comparison.basis.contact_map
    if found is None:
        return
    if contact_maps.has_contacts(comparison.basis):
        caption = captions.CONTACTS.format(cutoff=found.cutoff)
        yield "contacts", "structure", "Contact maps", caption, contact_maps.contact_figures(comparison.ensembles)
    made = contact_maps.chain_figure(comparison.ensembles)
    yield "chain", "structure", "Fluctuations and distances", captions.CHAIN, [made]


def kinds(comparison: Comparison) -> tuple[list[str], list[str], list[str], list[str]]:
    """Names of the reference's surfaces: (profiles, torsions, surfaces over two variables, Ramachandran surfaces)."""
    found: tuple[list[str], list[str], list[str], list[str]] = ([], [], [], [])
    for name, surface in comparison.basis.surfaces.items():
        found[2 * (len(surface.labels) == 2) + all(surface.periodic)].append(name)
    return found

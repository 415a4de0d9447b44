"""Every figure of a comparison, drawn and written as PNG and SVG with its numbers as npz beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.report import captions
from cgsurrogate.report.plots import contact_maps, drawing, kinetics, network, panels, populations, ramachandran, style
from cgsurrogate.report.plots.drawing import Drawing, save
from cgsurrogate.report.tables import described_states

MOST_TORSIONS = 8


def draw_all(
    comparison: Comparison, folder: str | Path, training: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> tuple[Drawing, ...]:
    """Every figure of a comparison, written into ``folder`` as NAME.png, NAME.svg and NAME.npz."""
    import matplotlib

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, Drawing] = {}
    with matplotlib.rc_context(style.RC):
        for stem, section, title, caption, figure, data in _figures(comparison, training or {}):
            name = drawing.unused(stem, drawings)
            width = float(figure.get_size_inches()[0])
            drawings[name] = Drawing(name, section, title, caption, width, *save(figure, folder / name, data))
    return tuple(drawings.values())


def _figures(comparison: Comparison, training: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """(name, section, title, caption, figure, data) of each."""
    if any(e.distances for e in comparison.others):
        made = panels.distances(comparison.ensembles)
        yield "distances", "distances", "Distances beside the noise floor", captions.DISTANCES, *made
    yield from _surfaces(comparison)
    for which in kinetics.set_names(comparison.ensembles):
        yield from _states(comparison, which)
    if any(e.timescales is not None for e in comparison.ensembles):
        made = panels.timescales(comparison.ensembles)
        yield "timescales", "kinetics", "Implied timescales", captions.TIMESCALES, *made
    for which in kinetics.set_names(comparison.ensembles):
        yield from _kinetics(comparison, which)
    yield from _contact_map(comparison)
    if any(e.geometry for e in comparison.ensembles):
        made = panels.geometry(comparison.ensembles)
        yield "geometry", "geometry", "Bonds, angles and closest approach", captions.GEOMETRY, *made
    curves = {name: rows for name, rows in training.items() if rows}
    if curves:
        yield "training", "training", "Training curves", captions.TRAINING, *panels.training(curves)


def _surfaces(comparison: Comparison) -> Iterator[tuple[Any, ...]]:
    ensembles, kT = comparison.ensembles, comparison.reference.sample.kT
    flat, torsions, maps, angles = kinds(comparison)
    profiles = captions.profiles(comparison)
    if flat:
        yield "free_energy_1d", "surfaces", "Free-energy profiles", profiles, *panels.profiles(ensembles, flat, kT)
    floor = next((e for e in comparison.others if e.role == "floor"), None)
    for name in maps:
        title = f"Free energy over {style.short(name.replace(' / ', ' and '), 60)}"
        for number, group in enumerate(drawing.chunks(ensembles)):
            stem, caption = drawing.part(f"surface_{drawing.slug(name)}", number), captions.surfaces(comparison, name)
            yield stem, "surfaces", title, caption, *panels.maps(group, name, kT, floor)
    if angles:
        title = "Ramachandran surfaces" if angles[0].startswith("phi") else "Surfaces over neighbouring torsions"
        caption = ramachandran.caption(comparison, angles)
        for number, made in enumerate(ramachandran.figures(comparison, angles, kT)):
            yield drawing.part("ramachandran", number), "surfaces", title, caption, *made
    if torsions:
        shown, caption = ramachandran.worst(comparison, torsions, MOST_TORSIONS), profiles
        if len(shown) < len(torsions):
            caption = f"The {len(shown)} torsions of {len(torsions)} that differ most. " + caption
        yield "torsions", "surfaces", "Torsion profiles", caption, *panels.profiles(ensembles, shown, kT, columns=4)


def _states(comparison: Comparison, which: str) -> Iterator[tuple[Any, ...]]:
    made, title = populations.figure(comparison.ensembles, which), f"Populations, {kinetics.called(which)}"
    yield f"populations_{drawing.slug(which)}", f"states {which}", title, captions.POPULATIONS, *made


def _kinetics(comparison: Comparison, which: str) -> Iterator[tuple[Any, ...]]:
    ensembles, name, called = comparison.ensembles, drawing.slug(which), kinetics.called(which)
    for title, stem, caption, figures in (
        (
            "Chapman\u2013Kolmogorov test",
            "chapman_kolmogorov",
            captions.CHECK,
            kinetics.check_figures(ensembles, which),
        ),
        ("Transitions", "network", captions.NETWORK, network.figures(ensembles, which, _places(comparison, which))),
        ("Residence times", "residence", captions.SURVIVAL, kinetics.survival_figures(ensembles, which)),
    ):
        for number, made in enumerate(figures):
            yield drawing.part(f"{stem}_{name}", number), f"kinetics {which}", f"{title}, {called}", caption, *made


def _places(comparison: Comparison, which: str) -> np.ndarray | None:
    """(M, 2) means of the states in the projection, where the settings hold them as "place"."""
    found = [s.get("place") for s in described_states(comparison, which)]
    good = found and all(isinstance(p, (list, tuple)) and len(p) == 2 and None not in p for p in found)
    count = len(next(e.states[which].names for e in comparison.ensembles if which in e.states))
    return np.array(found, float) if good and len(found) == count else None


def _contact_map(comparison: Comparison) -> Iterator[tuple[Any, ...]]:
    ensembles = comparison.ensembles
    found = comparison.reference.contact_map
    if found is None:
        return
    if contact_maps.has_contacts(comparison.reference):
        caption = captions.CONTACTS.format(cutoff=found.cutoff)
        for number, made in enumerate(contact_maps.contact_figures(ensembles)):
            yield drawing.part("contacts", number), "contact map", "Contact maps", caption, *made
    yield "chain", "contact map", "Fluctuations and distances", captions.CHAIN, *contact_maps.chain_figure(ensembles)


def kinds(comparison: Comparison) -> tuple[list[str], list[str], list[str], list[str]]:
    """Names of the reference's surfaces: (profiles, torsions, surfaces over two variables, Ramachandran surfaces)."""
    found: tuple[list[str], ...] = ([], [], [], [])
    for name, surface in comparison.reference.surfaces.items():
        found[2 * (len(surface.labels) == 2) + all(surface.periodic)].append(name)
    return found  # type: ignore[return-value]

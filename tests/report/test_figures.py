"""Panels of the report: their axes come back, and what they show are the comparison's numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from comparison_example import KT, TRAINING, comparison

from cgsurrogate.analysis.free_energy.divergences import jensen_shannon
from cgsurrogate.report import figures
from cgsurrogate.report.plots import checks, contact_maps, kinetics, network, populations, ramachandran, style, surfaces


def axes():
    return style.new_figure(3, 3).subplots()


TICS = "TIC 1 / TIC 2"
PANELS = {
    "profile": lambda ax, made: surfaces.profile(ax, "TIC 1", made, KT),
    "surface": lambda ax, made: surfaces.surface(ax, made[0].surfaces[TICS], KT, 10.0),
    "error": lambda ax, made: surfaces.error_map(ax, made[0].surfaces[TICS], 2.0),
    "difference": lambda ax, made: surfaces.difference_map(ax, made[0].surfaces[TICS], made[1].surfaces[TICS], 5.0),
    "distances": checks.distances,
    "timescales": checks.timescales,
    "geometry": lambda ax, made: checks.geometry(ax, "bonds", made),
    "training": lambda ax, made: checks.training(ax, TRAINING["stepper"]),
    "check": lambda ax, made: kinetics.check(ax, "metastable", 0, made),
    "survival": lambda ax, made: kinetics.survival(ax, "metastable", 1, made),
    "network": lambda ax, made: network.network(ax, made[0].states["metastable"]),
    "populations": lambda ax, made: populations.populations(ax, "named", made),
    "contacts": lambda ax, made: contact_maps.contacts(ax, made[0].contact_map, made[1].contact_map),
    "contact difference": lambda ax, made: contact_maps.contact_difference(ax, *(e.contact_map for e in made[:2])),
    "fluctuation": contact_maps.fluctuation,
    "pairs": contact_maps.pairs,
}


@pytest.mark.parametrize("name", PANELS)
def test_panels_return_their_axes_and_draw_something(example, name):
    ax = axes()
    assert PANELS[name](ax, example.ensembles) is ax
    assert ax.lines or ax.collections or ax.patches or ax.images


def test_the_reference_is_black_and_baselines_are_thin_and_dashed(example):
    ax = surfaces.profile(axes(), "TIC 1", example.ensembles, KT)
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["reference"].get_color() == "#000000"
    baseline = lines["Markov state model"]
    assert baseline.get_linestyle() != "-"
    assert baseline.get_linewidth() < lines["stepper"].get_linewidth()
    named = [line for name, line in lines.items() if not name.startswith("_")]
    assert len({line.get_color() for line in named}) == len(named) == len(example.ensembles)


def test_an_ensemble_has_one_look_in_every_figure(example):
    """Also where another has no such data: nothing shifts to the next colour."""
    first = dataclasses.replace(example.others[0], timescales=None, surfaces={}, geometry={})
    fewer = (example.reference, first, *example.others[1:])
    wanted = style.looks(example.ensembles)["stepper"].color
    for draw in (
        lambda ax: surfaces.profile(ax, "TIC 1", fewer, KT),
        lambda ax: checks.timescales(ax, fewer),
    ):
        lines = {line.get_label().rstrip(" *"): line for line in draw(axes()).lines}
        assert lines["stepper"].get_color() == wanted
        assert "force field" not in lines


def test_a_difference_ignores_a_shift_of_the_whole_surface(example):
    reference = example.reference.surfaces["TIC 1"]
    shifted = dataclasses.replace(reference, free_energy=reference.free_energy + 3.0)
    np.testing.assert_allclose(np.nan_to_num(surfaces.difference(reference, shifted)), 0, atol=1e-12)


def test_empty_bins_stay_blank(example):
    reference = example.reference.surfaces["TIC 1 / TIC 2"]
    ax = surfaces.surface(axes(), reference, KT, 10.0, contours=False)
    drawn = np.ma.getmaskarray(ax.images[0].get_array())
    np.testing.assert_array_equal(drawn, ~np.isfinite(reference.free_energy.T))


def test_smoothing_for_contours_wraps_angles_and_keeps_a_flat_surface_flat(example):
    flat = example.reference.surfaces["phi 1 / psi 1"]
    flat = dataclasses.replace(flat, probability=np.full_like(flat.probability, 1 / flat.probability.size))
    np.testing.assert_allclose(surfaces.smoothed(flat, KT), 0, atol=1e-9)
    peak = np.zeros_like(flat.probability)
    peak[0, 0] = 1.0
    wrapped = surfaces.smoothed(dataclasses.replace(flat, probability=peak), KT)
    assert wrapped[-1, 0] == pytest.approx(wrapped[1, 0])


def test_titles_are_short():
    assert ramachandran.title("phi 2 / psi 2") == "\u03c6 2 / \u03c8 2"
    assert ramachandran.title("CA torsion 3 / CA torsion 4") == "torsion 3 / 4"


def test_the_residues_shown_are_those_that_differ_most():
    made = comparison(residues=9)
    names = figures.kinds(made)[3]
    shown = ramachandran.worst(made, names, 3)
    others = [e for e in made.others if e.role == "surrogate"]

    def far(name):
        reference = made.reference.surfaces[name].probability.ravel()
        return max(jensen_shannon(reference, e.surfaces[name].probability.ravel()) for e in others)

    assert min(far(n) for n in shown) >= max(far(n) for n in names if n not in shown)
    assert shown == sorted(shown, key=names.index)


def test_profiles_are_the_kernel_estimate_with_the_histogram_as_points(example):
    ax = surfaces.profile(axes(), "TIC 1", [example.reference], KT)
    known = example.reference.surfaces["TIC 1"]
    points, line = sorted(ax.lines, key=lambda line: line.get_linestyle() != "None")
    np.testing.assert_array_equal(line.get_ydata(), known.kernel)
    moved = points.get_ydata() - known.free_energy
    assert np.nanmax(moved) - np.nanmin(moved) < 1e-9  # by one shift for all


def test_without_a_kernel_the_profile_is_the_histogram(example):
    bare = dataclasses.replace(example.reference.surfaces["TIC 1"], kernel=None, kernel_error=None)
    ax = surfaces.profile(axes(), "TIC 1", [dataclasses.replace(example.reference, surfaces={"TIC 1": bare})], KT)
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), bare.free_energy)

"""Kinetics, states and contact maps in the report: what is drawn and printed is what the comparison holds."""

from __future__ import annotations

import dataclasses
import html
import math

import numpy as np
import pytest
import states_example
from comparison_example import HOSTILE, comparison
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cgsurrogate.analysis.results import Estimate
from cgsurrogate.report import numbers, tables
from cgsurrogate.report.plots import contact_maps, kinetics, network, style


def test_the_test_draws_what_was_predicted_and_counted(example):
    ax = kinetics.check(
        style.new_figure(4, 3).subplots(), "metastable", 2, example.ensembles, shown=[example.reference]
    )
    test = example.reference.states["metastable"].check
    drawn = [line for line in ax.lines if len(line.get_xdata()) == len(test.lags)]
    np.testing.assert_array_equal(drawn[0].get_ydata(), test.predicted.value[2])
    np.testing.assert_array_equal(drawn[1].get_ydata(), test.counted.value[2])
    np.testing.assert_allclose(drawn[0].get_xdata(), test.lags)


def test_times_that_differ_do_not_share_an_axis(example):
    groups = kinetics.time_axes(example.ensembles, "metastable")
    assert [[e.name for e in g] for g in groups] == [["reference", "force field", "Markov state model"], ["stepper"]]


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_no_label_of_a_network_hides_another(count):
    states = states_example.kinetics("named", names=("A", "B", "C", "D", "E")[:count])
    figure = style.new_figure(*((5.5, 5.2) if count >= network.CROWDED else (11.2 / 3, 3.6)))
    ax = network.network(figure.subplots(), states)
    figure.get_layout_engine().execute(figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in ax.texts]
    times = [box for box, text in zip(boxes, ax.texts, strict=True) if text.get_gid() == "time"]
    assert len(times) == {2: 2, 3: 6, 4: 8, 5: 8}[count]
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:k])


def test_networks_hang_together_and_take_their_area_from_the_population():
    states = states_example.kinetics("named", names=tuple("ABCDE"))
    joined = network.strongest(states)
    reached = {0}
    for _ in joined:
        reached |= {k for pair in joined if reached & set(pair) for k in pair}
    assert reached == set(range(5))
    ax = network.network(style.new_figure(4, 3).subplots(), states)
    areas = np.array([p.radius**2 for p in ax.patches if hasattr(p, "radius")])
    large = areas > network.SMALLEST**2
    np.testing.assert_allclose(areas[large] / areas[0], (states.populations.value / states.populations.value[0])[large])


def test_places_of_states_are_moved_apart_where_they_coincide():
    at = network.layout(3, np.array([[0.0, 0.0], [0.0, 0.0], [5.0, 1.0]]))
    apart = np.linalg.norm(at[:, None] - at[None], axis=-1)[np.triu_indices(3, 1)]
    assert apart.min() > 0.8 * network.NEAREST


def test_contacts_hold_the_reference_above_the_diagonal(example):
    one, other = (states_example.contact_map(12, shift) for shift in (0.0, 0.2))
    shown = contact_maps.triangles(one, other)
    above, below = np.triu_indices(12, 1), np.tril_indices(12, -1)
    np.testing.assert_array_equal(shown[above], one.contacts[above])
    np.testing.assert_array_equal(shown[below], other.contacts[below])
    image = contact_maps.contact_difference(style.new_figure(4, 3).subplots(), one, other).images[0]
    np.testing.assert_allclose(image.get_array().filled(0), np.nan_to_num(other.contacts - one.contacts))


@pytest.mark.parametrize("made", [tables.first_passage, tables.rates, tables.populations])
@pytest.mark.parametrize("factor", [1.0, 10.0])
def test_intervals_describe_and_get_no_mark(example, made, factor):
    """An interval that overlaps is no proof of agreement, and one that does not is no verdict."""
    states = example.others[0].states["named"]
    scaled = {
        field: Estimate(*(factor * getattr(getattr(states, field), part) for part in ("value", "low", "high")))
        for field in ("mean_first_passage", "rates", "populations")
    }
    others = (
        dataclasses.replace(example.others[0], states={"named": dataclasses.replace(states, **scaled)}),
        *example.others[1:],
    )
    table = made(dataclasses.replace(example, others=others), "named")
    assert {cell.state for _, cells in table.rows for cell in cells} == {""}
    if made is tables.first_passage:
        assert [row.under for row, _ in table.rows] == ["folding", "unfolding"]
        value = example.reference.states["named"].mean_first_passage.value[0, 1]
        assert table.rows[0][1][0].text == numbers.duration(value)[0]


def test_tables_hold_the_numbers_of_the_comparison(example):
    sampling = tables.convergence(example)
    assert [row.text for row, _ in sampling.rows] == [e.name for e in example.ensembles]
    pace = example.others[0].convergence.per_second / example.reference.convergence.per_second
    assert any(cell.under.startswith(numbers.digits(pace)) for cell in sampling.rows[1][1])
    (recipe,) = tables.published(example)
    printed = {row.text: cells for row, cells in recipe.rows}["torsions"]
    assert printed[0].text == "0.0500"
    assert "0.107" in printed[-1].text
    measures = tables.further(example)
    assert [t.title for t in measures] == list(example.others[0].further)
    first = example.others[0].further["KL divergence"]["torsions"]
    assert measures[0].rows[0][1][1].text == numbers.digits(first.value, 3)
    shown = [*measures, tables.distances(example)]
    assert {cell.state for table in shown for _, cells in table.rows for cell in cells} == {""}


def test_a_time_scaling_is_said_in_words(example):
    (text,) = tables.time_scalings(example.ensembles)
    assert text.startswith("stepper:")
    assert "3.2 ps" in text and "2.1 to 4.8" in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, "0.50 ps"),
        (1652, "1.7 ns"),
        (995, "995 ps"),
        (3.7e6, "3.7 \u00b5s"),
        (9.96, "10 ps"),
        (math.nan, "\u2013"),
    ],
)
def test_times_have_readable_units(value, expected):
    assert numbers.duration(value)[0] == expected


def test_a_notebook_shows_text_only():
    made = dataclasses.replace(comparison(names=(HOSTILE,)), warnings=(HOSTILE,))
    shown = made._repr_html_()
    assert "<script" not in shown and "<a " not in shown
    assert html.escape(HOSTILE) in shown

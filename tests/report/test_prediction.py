"""The page without a reference, the head of a prediction, and the model card on it."""

import dataclasses
import re

import numpy as np
import pytest
from comparison_example import comparison

from cgsurrogate.analysis.backbone_regions import REGIONS
from cgsurrogate.analysis.results import BackboneRegions, Estimate
from cgsurrogate.comparison import predicted
from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.report import model_card, page, tables
from cgsurrogate.report.prediction import Prediction, lead

HOSTILE = "<script>window.caught=1</script>"
CARD = f"""# A card

Two models
of *peptides*, see [the paper](https://example.org).

- one
  and more
- two {HOSTILE}

## Measured error

| what | error |
|:--|--:|
| all | 0.081 |

### Of helices

Large.

## Data
None.
"""


def regions(helix, half=0.02):
    """Two residues, the first with this share of helix."""
    value = np.array([[helix, 0.9 - helix, 0.1, 0.0], [0.2, 0.5, 0.3, 0.0]])
    return BackboneRegions(("ALA 2", "GLY 3"), REGIONS, Estimate(value, value - half, value + half))


@pytest.fixture(scope="module")
def alone():
    """Two surrogates beside each other."""
    both = [one for one in comparison().others if one.role == "surrogate"]
    made = [
        dataclasses.replace(one, judgement=None, learned=None, regions=regions(helix), published={})
        for one, helix in zip(both, (0.3, 0.6), strict=True)
    ]
    made[0] = dataclasses.replace(made[0], distances={}, further={})
    return Comparison(made[0], (made[1],), (), ("a warning",), {"seed": 0})


@pytest.fixture
def undrawn(monkeypatch):
    """A page without figures, which take longest."""
    monkeypatch.setattr(page.figures, "draw_all", lambda *_: ())


def text_of(path):
    page_text = re.sub(r"<(script|style)\b.*?</\1>", "", path.read_text(), flags=re.S)
    return " ".join(re.sub(r"<[^>]*>", " ", page_text).split())


def test_a_page_without_reference_judges_nothing_and_names_none(alone, tmp_path):
    facts = {"force field": {"its length": "as there"}, "stepper": {"one jump": "20 ps"}}
    path = page.write_report(alone, tmp_path, prediction=Prediction("GPAV", facts, CARD))
    text, raw = text_of(path), path.read_text()
    assert "Verdict" not in text and "was judged" not in text and "the reference" not in text
    assert "No all-atom simulation of GPAV was made" in text and "a warning" in text
    assert "Distance to the force field" in text and "second sample of the force field" in text
    assert "0.081" in text and HOSTILE not in raw and "example.org" not in text
    headings = re.findall(r'<a href="#(\w+)">', raw)
    assert headings[:2] == ["prediction", "player"] and headings.index("distances") > headings.index("surfaces")
    assert all(f'<section id="{key}">' in raw for key in headings)
    assert (tmp_path / "figures" / "backbone_regions.npz").exists()


def test_a_comparison_without_reference_survives_its_folder(alone, tmp_path, undrawn):
    again = Comparison.load(alone.save(tmp_path / "c"))
    assert again.reference is None and again.basis.name == "force field"
    np.testing.assert_allclose(again.basis.regions.shares.value, alone.basis.regions.shares.value)
    path = page.write_report(again, tmp_path / "page")
    assert "There is no reference" in text_of(path)


def test_with_a_reference_the_verdict_stays(tmp_path, undrawn):
    judged = comparison()
    said = lead(Prediction("GPAV", {}), judged)
    assert "is judged below" in said.text and said.unmeasured
    text = text_of(page.write_report(judged, tmp_path, prediction=Prediction("GPAV", {})))
    assert "Verdict" in text and "Prediction" in text and "Distance to the reference" in text


def test_disagreement_is_told_where_intervals_do_not_overlap(alone):
    told = predicted.disagreements(alone)
    assert any("ALA 2, helix: 30 % (28 to 32) by the force field and 60 % (58 to 62)" in line for line in told)
    assert not any("GLY 3" in line for line in told)
    wide = [
        dataclasses.replace(one, regions=regions(h, 0.4)) for one, h in zip(alone.ensembles, (0.3, 0.6), strict=True)
    ]
    near = {name: dataclasses.replace(d, value=d.floor) for name, d in alone.others[0].distances.items()}
    same = dataclasses.replace(alone, basis=wide[0], others=(dataclasses.replace(wide[1], distances=near),))
    assert len(predicted.disagreements(same)) == 1 and "agree within" in predicted.disagreements(same)[0]
    assert predicted.disagreements(dataclasses.replace(alone, others=())) == []


def test_the_table_of_regions_has_a_row_for_each(alone):
    table = tables.regions(alone)
    assert len(table.rows) == 8 and table.rows[0][1][0].text == "30 %" and table.rows[0][1][1].text == "60 %"


def test_a_card_is_read_as_plain_text():
    card = model_card.blocks(CARD)
    kinds = [one.kind for one in card]
    assert kinds == ["heading", "text", "list", "heading", "table", "heading", "text", "heading", "text"]
    assert card[1].rows == (("Two models of peptides, see the paper.",),)
    assert card[2].rows[0] == ("one and more",)
    measured = model_card.about(card, "measured")
    assert [one.kind for one in measured] == ["table", "heading", "text"]
    assert measured[0].rows == (("what", "error"), ("all", "0.081"))
    assert model_card.about(card, "nothing") == () and model_card.blocks("") == ()

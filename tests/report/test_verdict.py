"""The verdict on the page: four marks, grey where nothing can be judged, and older comparisons without judgement."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import judgement_example
import pytest
from comparison_example import HOSTILE, comparison, older

from cgsurrogate.comparison import summary, wording
from cgsurrogate.comparison.judgement import AGREES, DIFFERS, FAMILIES, MARKS, NOT_APPLICABLE, UNKNOWN, Finding
from cgsurrogate.report import html, marks, page, verdict


@pytest.fixture(scope="module")
def example():
    return comparison(training=True)


class Cells(HTMLParser):
    """(states of the marks inside, text) of every cell of the tables of findings, and of every entry of the verdict."""

    def __init__(self, text: str, tags: tuple[str, ...] = ("td", "li")) -> None:
        super().__init__()
        self.found: list[tuple[list[str], str]] = []
        self.open, self.tags = "", tags
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.tags:
            self.open = tag
            self.found.append(([], ""))
        words = (dict(attrs).get("class") or "").split()
        if self.open and words[:1] == ["mark"]:
            self.found[-1][0].append(words[1])

    def handle_endtag(self, tag: str) -> None:
        self.open = "" if tag == self.open else self.open

    def handle_data(self, data: str) -> None:
        if self.open:
            self.found[-1] = (self.found[-1][0], self.found[-1][1] + data)


def values(comparison) -> dict:
    """What the page is made of, without pictures and player, which other tests look at."""
    return {
        "title": "", "lead": None, "comparison": comparison,
        "entries": verdict.entries(comparison), "made": verdict.made(comparison),
        "judged": verdict.judged(comparison), "learned": verdict.learned(comparison), "captions": page.captions,
        "called": page.tables.CALLED, "trained": False,
        "words": marks.WORDS, "distances": None, "further": [], "plates": [],
        "sections": [], "contents": [], "size": page.size, "notes": [], "player": {"ensembles": []}, "provenance": [],
        "images": {},
    }  # fmt: skip


def drawn(comparison) -> str:
    return html.render("report.html", **values(comparison))


def part(text: str, key: str) -> str:
    found = re.search(rf'<section id="{key}">.*?</section>', text, flags=re.S)
    return found.group(0) if found else ""


def with_(comparison, place: int, **changes):
    others = list(comparison.others)
    others[place] = dataclasses.replace(others[place], **changes)
    return dataclasses.replace(comparison, others=tuple(others))


def test_what_cannot_be_judged_is_grey_and_has_no_tick(example):
    text = drawn(example)
    cells = [(states, said) for states, said in Cells(part(text, "judged"), ("td",)).found if UNKNOWN in said]
    assert len(cells) >= 4
    assert all(states == ["unknown"] for states, _ in cells)
    assert any("needed: about 80 ns more" in said for _, said in cells)
    grey = re.search(r"\.mark\.unknown, \.mark\.absent { color: (.*?); }", text)
    assert grey and grey.group(1) == "var(--quiet)"


def test_each_mark_is_drawn_as_itself_and_only_the_judgement_gives_one(example):
    table = verdict.judged(example)
    rows = {row.name: row for row in table.rows}
    column = [name for name, _, _ in table.head].index("stepper")
    cells = {name: row.cells[column] for name, row in rows.items() if not row.family}
    given = {finding.name: finding for finding in example.others[1].judgement.findings}
    assert set(given) <= set(cells) and {f.mark for f in given.values()} == set(MARKS)
    for name, finding in given.items():
        assert cells[name].state == ("" if finding.mark == NOT_APPLICABLE else marks.STATES[finding.mark])
    assert cells["slow rates"] == verdict.Judged("", "\u2013", ("its time is not physical time",))
    assert cells["temperature"].text.replace("\u00a0", " ") == "+18 K (9 to 27)"
    assert cells["temperature"].lines == ("p < 0.001", "would have shown 8\u00a0K")
    assert rows["temperature"].under.replace("\u00a0", " ") == "small enough: 15 K"


def test_rows_follow_the_families_and_small_columns_the_surrogates(example):
    table = verdict.judged(example)
    assert [row.name for row in table.rows if row.family] == [f for f in FAMILIES if f != "surfaces"]
    assert [(name, small) for name, _, small in table.head] == [
        ("force field", False), ("stepper", False), ("training", True), ("Markov state model", True),
    ]  # fmt: skip
    states = {row.name: [cell.state for cell in row.cells] for row in table.rows if row.family}
    assert states["shape"] == ["", "differs", "", "differs"] and set(states["geometry"]) == {""}
    assert [name for name, _, _ in verdict.learned(example).head] == ["force field", "stepper"]


def test_the_head_quotes_each_judgement(example):
    first, second, training = verdict.entries(example)
    assert [answer.word for answer in first.answers] == [UNKNOWN, AGREES]
    assert [answer.word for answer in second.answers] == [DIFFERS, AGREES]
    assert second.answers[0].text == example.others[1].judgement.head
    assert second.answers[0].question == "Does it agree with the held-out runs?"
    assert training.role == "floor" and not training.warning
    assert "5 % of cases" in verdict.made(example)


def test_training_runs_that_differ_are_said_first(example):
    place = next(k for k, one in enumerate(example.others) if one.role == "floor")
    made = with_(example, place, judgement=judgement_example.judgement(DIFFERS))
    assert verdict.entries(made)[0].warning.startswith("The training runs themselves differ")
    assert summary.TRAINING_DIFFERS in made.summary() and summary.TRAINING_DIFFERS not in example.summary()


def test_a_broken_molecule_is_said_beside_the_verdict(example):
    bonds = {**example.others[0].geometry["bonds"], "bad frames": 3}
    for made in (example, older(example)):
        ((state, text),) = verdict.entries(with_(made, 0, geometry={"bonds": bonds}))[0].failed
        assert state == "broken" and text.startswith("3 of 4,000 frames have a broken bond")


def test_an_older_comparison_shows_its_sentences_and_no_tick(example, tmp_path):
    made = older(example)
    assert verdict.judged(made) is None and verdict.learned(made) is None and verdict.made(made) == ""
    text = drawn(made)
    assert all(
        states == ["unknown"] for states, said in Cells(part(text, "verdict"), ("li",)).found if "as far" in said
    )
    for sentence in made.verdict:
        assert sentence in text and sentence in made.summary()
    assert not part(text, "judged")
    assert "judged" not in [key for key, _ in page.contents(values(made))]


def test_some_may_be_judged_and_others_not(example):
    made = with_(example, 0, judgement=None, learned=None)
    assert [entry.answers[0].word for entry in verdict.entries(made)] == ["not judged", DIFFERS, AGREES]
    assert "force field" not in [name for name, _, _ in verdict.judged(made).head]
    assert drawn(made)


def test_what_a_judgement_says_is_only_ever_text(example):
    hostile = dataclasses.replace(
        judgement_example.judgement(DIFFERS),
        head=HOSTILE,
        against=HOSTILE,
        notes=(HOSTILE,),
        findings=(Finding(HOSTILE, "shape", UNKNOWN, HOSTILE, 1, 0, 2, 3, 1, 0.5, HOSTILE, HOSTILE),),
    )
    text = drawn(with_(with_(example, 0, judgement=hostile, learned=hostile), 1, judgement=hostile))
    assert "<script>" not in text and "<img src=x" not in text and "javascript:caught" in text
    assert not re.search(r"<a href=\"?javascript", text)


def test_a_judgement_is_stored_with_its_comparison(example, tmp_path):
    again = type(example).load(example.save(tmp_path))
    for one, other in zip(again.ensembles, example.ensembles, strict=True):
        for mine, known in ((one.judgement, other.judgement), (one.learned, other.learned)):
            assert repr(mine) == repr(known)
            assert known is None or [repr(f) for f in mine.findings] == [repr(f) for f in known.findings]
    assert again.summary() == example.summary()
    older(example).save(tmp_path / "older")
    assert type(example).load(tmp_path / "older").others[0].judgement is None


def test_the_terminal_lists_what_differs_first(example):
    lines = example.summary().splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("stepper: Differs"))
    order = [next(mark for mark in MARKS if line.startswith(f"  {mark} ")) for line in lines[start + 1 : start + 8]]
    assert order == [DIFFERS, DIFFERS, UNKNOWN, AGREES, AGREES, AGREES, NOT_APPLICABLE]
    assert lines[start + 8].startswith("  against its training runs: Agrees")
    assert "differs (differs 2, cannot be judged 1, agrees 3, not applicable 1)" in repr(example)


@pytest.mark.parametrize(
    ("unit", "value", "low", "high", "expected"),
    [
        ("K", 4.0, -2.0, 10.0, "+4 K (-2 to 10)"),
        ("x", 0.3, 0.1, 0.8, "x 0.3 (0.1 to 0.8)"),
        ("%", 12.0, 5.0, 20.4, "12 % (5 to 20)"),
        ("degrees", 1.0, 0.5, 1.5, "+1 degree (0.5 to 1.5)"),
        ("pm", -3.14, -4.0, -2.0, "-3.1 pm (-4 to -2)"),
        ("K", -9.1, -19.4, 1.26, "-9 K (-19 to 1)"),
        ("degrees", -0.21, -0.39, -0.0004, "-0.21 degrees (-0.39 to 0)"),
        ("x", 0.0, float("nan"), 0.4, "x 0 (up to 0.4)"),
        ("x", 3.0, 0.8, float("inf"), "x 3 (0.8 or more)"),
        ("", 120.0, float("nan"), float("nan"), "120"),
        ("K", float("nan"), 1.0, 2.0, ""),
    ],
)
def test_amounts_have_their_unit_and_interval(unit, value, low, high, expected):
    assert wording.found(Finding("", "shape", AGREES, unit, value, low, high)) == expected


@pytest.mark.parametrize(
    ("mark", "unit", "detectable", "tolerance", "expected"),
    [
        (AGREES, "K", 8.0, 15.0, "would have shown 8 K"),
        (UNKNOWN, "K", 25.0, 15.0, "would have shown 25 K, not 15 K"),
        (UNKNOWN, "x", 0.2, 2.0, "would have shown x 0.2, not x 2"),
        (UNKNOWN, "x", 0.6, 2.0, "would have shown x 0.6"),
        (UNKNOWN, "K", float("nan"), 15.0, ""),
    ],
)
def test_what_would_have_shown_is_held_against_what_matters(mark, unit, detectable, tolerance, expected):
    finding = Finding("", "shape", mark, unit, detectable=detectable, tolerance=tolerance)
    assert wording.would_show(finding) == expected

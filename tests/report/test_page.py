"""The report: figures with their data, and one page that needs nothing else and trusts no name."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from comparison_example import HOSTILE, TRAINING

from cgsurrogate.report import figures, html, page, tables
from cgsurrogate.report.plots import style

LOADERS = ("src", "href", "action", "data", "poster", "srcset", "xlink:href", "background")


class Elements(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def written(example, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return page.write_report(
        example, folder, training=TRAINING, provenance={"inputs": [{"file": "a.xtc", "sha256": "00"}]}
    )


def without_scripts(text: str) -> str:
    return re.sub(r"<script\b[^>]*>.*?</script>", "<script></script>", text, flags=re.S)


def svg_of(text: str) -> str:
    images = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", text)
    return "".join(base64.b64decode(image).decode() for image in images)


def test_the_page_is_small_and_loads_nothing(written):
    text = written.read_text()
    assert written.name == "report.html"
    assert written.stat().st_size < 3_000_000
    for tag, attributes in Elements(without_scripts(text)).found:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        for name in LOADERS:
            if attributes.get(name) is not None:
                assert attributes[name].startswith(("data:", "#")), (tag, name)
    assert not re.search(r"url\(|@import", without_scripts(text))


def test_the_policy_forbids_the_network_and_names_each_script_by_its_hash(written):
    text = written.read_text()
    metas = [a for tag, a in Elements(without_scripts(text)).found if tag == "meta"]
    policy = next(a["content"] for a in metas if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert "http" not in policy
    scripts = policy.split("script-src ")[1].split(";")[0]
    assert "unsafe" not in scripts
    running = re.findall(r"<script>(.*?)</script>", text, flags=re.S)
    assert len(running) == 2
    assert scripts.split() == html.policy(*running).split("script-src ")[1].split(";")[0].split()


def test_names_are_only_ever_text(hostile):
    text = hostile.read_text()
    assert "<script>window" not in text
    for tag, attributes in Elements(without_scripts(text)).found:
        assert tag != "a" or re.fullmatch(r"#[a-z]+", attributes["href"])
        for value in attributes.values():
            assert not (value or "").lower().startswith("javascript:")
    assert "{{ 7 * 7 }}" in text.replace("\\u007b", "{")
    drawn = svg_of(text)
    assert drawn
    assert not re.search(r"<script|javascript:|<a[\s>]|<[^<>!]*\son\w+=", drawn)
    data = re.search(r'<script type="application/json" id="player-data">(.*?)</script>', text, flags=re.S)
    assert HOSTILE in [entry["name"] for entry in json.loads(data.group(1))["ensembles"]]


def test_the_verdict_and_the_warnings_come_first(written, example):
    text = written.read_text()
    plain = re.sub(r"<[^>]+>", "", without_scripts(text).replace("&#39;", "'"))
    heads = [one.judgement.head for one in example.others if one.role == "surrogate"]
    parts = (*example.warnings, "The error that was found", "Distance to the reference", "Provenance")
    places = [*map(plain.index, heads), *map(plain.rindex, parts)]
    assert places == sorted(places)


def test_every_figure_is_written_with_its_numbers(written):
    folder = written.parent / "figures"
    names = {path.stem for path in folder.iterdir()}
    expected = ["distances", "free_energy_1d", "surface_tic_1_tic_2", "ramachandran", "torsions", "timescales"]
    expected += ["geometry", "training", "contacts", "chain"]
    for name in ("populations", "chapman_kolmogorov", "network", "dwell_times"):
        expected += [f"{name}_metastable", f"{name}_named"]
    assert names == set(expected)
    for name in names:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (folder / f"{name}.svg").read_bytes()
        with np.load(folder / f"{name}.npz", allow_pickle=False) as data:
            assert all(data[key].size for key in data.files)
            assert data.files


def key(*words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", " ".join(words).lower())


def estimate(stem: str, values) -> dict[str, np.ndarray]:
    return {f"{stem}_{part}": getattr(values, part) for part in ("value", "low", "high")}


def expected_numbers(ensemble) -> dict[str, dict[str, np.ndarray]]:
    """Figure -> key -> array, of what the comparison holds."""
    name, surface, shape = key(ensemble.name), ensemble.surfaces["TIC 1 / TIC 2"], ensemble.contact_map
    found = {
        "surface_tic_1_tic_2": {
            f"{name}_tic_1_tic_2_{field}": getattr(surface, field) for field in ("free_energy", "error", "kernel")
        },
        "contacts": {f"{name}_contacts": shape.contacts},
        "chain": {f"{name}_pairs": shape.pairs, **estimate(f"{name}_fluctuation", shape.fluctuation)},
        "timescales": {f"{name}_values": ensemble.timescales.values},
    }
    for which, states in ensemble.states.items():
        found[f"populations_{which}"] = estimate(f"{name}_populations", states.populations)
        found[f"network_{which}"] = estimate(f"{name}_mean_first_passage", states.mean_first_passage)
        found[f"network_{which}"] |= {f"{name}_counts": states.counts}
        found[f"dwell_times_{which}"] = {f"{name}_survival": states.survival}
        found[f"chapman_kolmogorov_{which}"] = estimate(f"{name}_predicted", states.check.predicted)
        found[f"chapman_kolmogorov_{which}"] |= estimate(f"{name}_counted", states.check.counted)
    return found


def test_the_numbers_beside_a_figure_are_those_of_the_comparison(written, example):
    for ensemble in example.ensembles:
        for figure, expected in expected_numbers(ensemble).items():
            with np.load(written.parent / "figures" / f"{figure}.npz", allow_pickle=False) as data:
                for name, values in expected.items():
                    np.testing.assert_array_equal(data[name], values, err_msg=f"{figure} {name}")


def test_every_link_leads_somewhere(written):
    elements = Elements(without_scripts(written.read_text())).found
    known = {a["id"] for _, a in elements if "id" in a}
    links = [a["href"].removeprefix("#") for tag, a in elements if tag == "a"]
    assert len(links) > 8
    assert set(links) <= known
    assert len(set(links)) == len(links)


PARTS = {
    "timescales": None,
    "geometry": {},
    "convergence": None,
    "contact_map": None,
    "states": {},
    "further": {},
    "published": {},
}


def headings(path) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", without_scripts(path.read_text()))


def test_a_bare_comparison_still_makes_a_page(example, tmp_path):
    """Nothing but a profile without errors or kernel, and no surrogate at all: no section is empty."""
    flat = dataclasses.replace(example.reference.surfaces["TIC 1"], error=np.full(60, np.nan), kernel=None)
    bare = dataclasses.replace(example.reference, surfaces={"TIC 1": flat}, **PARTS)
    made = dataclasses.replace(example, basis=bare, others=(), verdict=(), settings={})
    path = page.write_report(made, tmp_path)
    text = path.read_text()
    assert "No surrogate was judged" in text
    shown = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text, flags=re.S)
    assert "nan" not in shown.split()
    assert headings(path) == ["Verdict", "Distance to the reference", "Trajectories", "Free energies"]
    assert {p.stem for p in (tmp_path / "figures").iterdir()} == {"free_energy_1d"}


@pytest.mark.parametrize("part", list(PARTS))
def test_each_part_may_be_absent_alone_and_for_some_only(example, part):
    """Sections are made of what there is, without an error, whichever ensemble lacks a part."""
    for lacking in (slice(0, 1), slice(1, 2), slice(0, None)):
        ensembles = list(example.ensembles)
        ensembles[lacking] = [dataclasses.replace(e, **{part: PARTS[part]}) for e in ensembles[lacking]]
        made = dataclasses.replace(example, basis=ensembles[0], others=tuple(ensembles[1:]))
        found = page.sections(made, [])
        assert not any(section.empty for section in found)
        assert tables.distances(made)
        kept = {section.key for section in found}
        gone = {"convergence": "convergence", "published": "published", "states": "states"}.get(part)
        assert gone is None or (gone in kept) == (lacking.stop is not None)
        assert bool(tables.further(made)) == (part != "further" or lacking.stop is not None)


def test_a_large_comparison_still_fits():
    """Drawings too large together become small PNG files, the largest first; small ones stay SVG."""
    memory = io.BytesIO()
    style.new_figure(1, 1).savefig(memory, format="png")
    most = 1_500_000
    sizes = (most // 2, most // 3, 1000)
    drawings = [
        figures.Drawing(str(k), "surfaces", "", "", 1.0, b"x" * size, memory.getvalue()) for k, size in enumerate(sizes)
    ]
    found = page.images(drawings, most)
    assert sum(map(len, found.values())) <= most
    assert [found[str(k)].split(";")[0] for k in range(3)] == ["data:image/png"] + ["data:image/svg+xml"] * 2


def test_importing_the_page_loads_no_plotting_and_no_learning():
    code = (
        "import sys, cgsurrogate.report.page; print([m for m in ('matplotlib', 'torch', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

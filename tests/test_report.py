"""The report: figures with their data, and one page that needs nothing else and trusts no name."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from comparison_example import KT, TRAINING, comparison

from cgsurrogate.comparison import Distance
from cgsurrogate.frames import Frames
from cgsurrogate.report import checks, figures, html, page, player, ramachandran, style, surfaces

HOSTILE = "<script>alert(1)</script><a href=\"javascript:alert(2)\">'x'</a>"
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
def example():
    return comparison()


@pytest.fixture(scope="module")
def written(example, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return page.write_report(
        example, folder, training=TRAINING, provenance={"inputs": [{"file": "a.xtc", "sha256": "00"}]}
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    made = comparison(names=(HOSTILE, "$x^{2}$ & {{ 7 * 7 }}"), residues=1)
    out = tmp_path_factory.mktemp("hostile") / "page.html"
    return page.write_report(
        dataclasses.replace(made, warnings=(HOSTILE,)),
        out,
        training={HOSTILE: TRAINING["stepper"]},
        provenance={HOSTILE: {HOSTILE: HOSTILE}},
        title=HOSTILE,
    )


def without_scripts(text: str) -> str:
    return re.sub(r"<script\b[^>]*>.*?</script>", "<script></script>", text, flags=re.S)


def svg_of(text: str) -> str:
    images = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", text)
    return "".join(base64.b64decode(image).decode() for image in images)


def axes():
    return style.new_figure(3, 3).subplots()


def test_the_page_is_small_and_loads_nothing(written):
    text = written.read_text()
    assert written.name == "report.html"
    assert written.stat().st_size < 3_000_000
    for tag, attributes in Elements(without_scripts(text)).found:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        for name in LOADERS:
            if attributes.get(name) is not None:
                assert attributes[name].startswith("data:"), (tag, name)
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
    assert "<script>alert" not in text
    for tag, attributes in Elements(without_scripts(text)).found:
        assert tag != "a"
        for value in attributes.values():
            assert not (value or "").lower().startswith("javascript:")
    assert "{{ 7 * 7 }}" in text.replace("\\u007b", "{")
    drawn = svg_of(text)
    assert drawn
    assert not re.search(r"<script|javascript:|<a[\s>]|\son\w+=", drawn)
    data = re.search(r'<script type="application/json" id="player-data">(.*?)</script>', text, flags=re.S)
    assert HOSTILE in [entry["name"] for entry in json.loads(data.group(1))["ensembles"]]


def test_the_verdict_and_the_warnings_come_first(written, example):
    text = written.read_text()
    plain = re.sub(r"<[^>]+>", "", without_scripts(text).replace("&#39;", "'"))
    places = [plain.index(s) for s in (*example.verdict, *example.warnings, "Distance to the reference", "Provenance")]
    assert places == sorted(places)


def test_every_figure_is_written_with_its_numbers(written):
    folder = written.parent / "figures"
    names = {path.stem for path in folder.iterdir()}
    expected = "distances free_energy_1d surface_tic_1_tic_2 ramachandran torsions timescales geometry training"
    assert names == set(expected.split())
    for name in names:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (folder / f"{name}.svg").read_bytes()
        with np.load(folder / f"{name}.npz", allow_pickle=False) as data:
            assert all(data[key].size for key in data.files)
            assert data.files


def test_the_numbers_beside_a_figure_are_those_of_the_comparison(written, example):
    with np.load(written.parent / "figures" / "surface_tic_1_tic_2.npz") as data:
        for ensemble in example.ensembles:
            key = f"{ensemble.name} TIC 1 / TIC 2 free_energy".lower().replace(" / ", "_").replace(" ", "_")
            np.testing.assert_array_equal(data[key], ensemble.surfaces["TIC 1 / TIC 2"].free_energy)


def test_plotting_functions_return_their_axes(example):
    for draw in (
        lambda ax: surfaces.profile(ax, "TIC 1", example.ensembles, KT),
        lambda ax: surfaces.surface(ax, example.reference.surfaces["TIC 1 / TIC 2"], KT, 10.0),
        lambda ax: surfaces.error_map(ax, example.reference.surfaces["TIC 1 / TIC 2"], 2.0),
        lambda ax: surfaces.difference_map(
            ax, *(e.surfaces["TIC 1 / TIC 2"] for e in example.ensembles[:2]), limit=5.0
        ),
        lambda ax: checks.distances(ax, example.ensembles),
        lambda ax: checks.timescales(ax, example.ensembles),
        lambda ax: checks.geometry(ax, "bonds", example.ensembles),
        lambda ax: checks.training(ax, TRAINING["stepper"]),
    ):
        ax = axes()
        assert draw(ax) is ax
        assert ax.lines or ax.collections or ax.patches or ax.images


def test_the_reference_is_black_and_baselines_are_thin_and_dashed(example):
    ax = surfaces.profile(axes(), "TIC 1", example.ensembles, KT)
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["reference"].get_color() == "#000000"
    baseline = lines["Markov state model"]
    assert baseline.get_linestyle() != "-"
    assert baseline.get_linewidth() < lines["stepper"].get_linewidth()
    assert len({line.get_color() for line in ax.lines}) == len(ax.lines)


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
        reference = made.reference.surfaces[name].probability
        return max(surfaces.js_distance(reference, e.surfaces[name].probability) for e in others)

    assert min(far(n) for n in shown) >= max(far(n) for n in names if n not in shown)
    assert shown == sorted(shown, key=names.index)


@pytest.mark.parametrize(
    ("value", "floor", "high", "expected"),
    [
        (0.04, 0.04, 0.05, "within"),
        (0.055, 0.04, 0.05, "close"),
        (0.2, 0.04, 0.05, "beyond"),
        (0.2, math.nan, math.nan, "unknown"),
        (0.2, 0.0, 0.0, "beyond"),
    ],
)
def test_marks(value, floor, high, expected):
    assert page.mark(Distance(value, value, value, floor, high)) == expected


def test_a_broken_molecule_is_never_within(example):
    good = example.others[0]
    assert page.state(good) == "within"
    broken = dataclasses.replace(good, geometry={"bonds": {**good.geometry["bonds"], "bad frames": 3}})
    assert page.state(broken) == "beyond"


def test_a_bare_comparison_still_makes_a_page(example, tmp_path):
    """No distances, timescales or geometry, surfaces without errors, and no surrogate at all."""
    bare = dataclasses.replace(
        example.reference,
        timescales=None,
        geometry={},
        surfaces={"TIC 1": dataclasses.replace(example.reference.surfaces["TIC 1"], error=np.full(60, np.nan))},
    )
    text = page.write_report(dataclasses.replace(example, reference=bare, others=(), verdict=()), tmp_path).read_text()
    assert "No surrogate was judged" in text
    shown = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text, flags=re.S)
    assert "nan" not in shown.split()


def test_alignment_moves_rigidly_and_onto_the_target():
    rng = np.random.default_rng(3)
    target = rng.normal(size=(7, 3))
    target -= target.mean(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    np.testing.assert_allclose(player.aligned((target @ turn + 5.0)[None], target)[0], target, atol=1e-9)
    mirror = player.aligned((target * [1, 1, -1])[None], target)[0]
    assert np.abs(mirror - target).max() > 0.1  # a mirror image is not turned into its original
    moved = player.upright(target)
    distances = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (moved, target)]
    np.testing.assert_allclose(*distances, atol=1e-9)
    handed = [np.linalg.det(x[1:4] - x[0]) for x in (moved, target)]
    assert handed[0] == pytest.approx(handed[1])


def test_the_player_carries_the_molecule_it_was_given(example):
    packed = player.payload(example)
    assert packed["chain"]["bonds"] == [list(b) for b in example.reference.sample.beads.bonds]
    assert packed["chain"]["thick"]
    entry, sample = packed["ensembles"][0], example.reference.sample
    values = np.frombuffer(base64.b64decode(entry["positions"]), "<i2") * entry["scale"] / 10
    values = values.reshape(sample.positions.shape)
    for x, y in zip(values, sample.positions, strict=True):
        got, expected = (np.linalg.norm(a[:, None] - a[None], axis=-1) for a in (x, y))
        np.testing.assert_allclose(got, expected, atol=2e-4)  # nm
    np.testing.assert_allclose(entry["track"], example.reference.track, atol=1e-4)


def test_a_large_molecule_brings_fewer_frames(example):
    assert player.budget(10, 3) == player.MOST_FRAMES
    assert player.budget(5000, 5) * 5000 * 5 * 8 <= player.MOST_BYTES


def test_a_large_comparison_still_fits():
    """Drawings too large together become small PNG files, the largest first; small ones stay SVG."""
    memory = io.BytesIO()
    style.new_figure(1, 1).savefig(memory, format="png")
    sizes = (page.MOST_IMAGES // 2, page.MOST_IMAGES // 3, 1000)
    drawings = [
        figures.Drawing(str(k), "surfaces", "", "", 1.0, b"x" * size, memory.getvalue()) for k, size in enumerate(sizes)
    ]
    found = page.images(drawings)
    assert sum(map(len, found.values())) <= page.MOST_IMAGES
    assert [found[str(k)].split(";")[0] for k in range(3)] == ["data:image/png"] + ["data:image/svg+xml"] * 2


def test_the_player_alone(example, tmp_path):
    frames = example.reference.sample
    long = Frames(frames.beads, np.tile(frames.positions, (20, 1, 1)), (700, 100), 2.0, 300.0)
    path = player.write_player(long, tmp_path / "view.html", title=HOSTILE)
    text = path.read_text()
    assert path.stat().st_size < 3_000_000
    assert "Content-Security-Policy" in text
    assert "<script>alert" not in text
    data = json.loads(re.search(r'id="player-data">(.*?)</script>', text, flags=re.S).group(1))
    (entry,) = data["ensembles"]
    assert entry["frames"] == len(entry["track"]) <= player.MOST_FRAMES
    assert entry["dt"] == 2.0 * 3


def test_radius_of_gyration_weighs_by_mass():
    frames = comparison().reference.sample
    beads = dataclasses.replace(frames.beads, masses=(1e9, 1.0, 1.0, 1e9))
    heavy = dataclasses.replace(frames, beads=beads)
    ends = np.linalg.norm(frames.positions[:, 3] - frames.positions[:, 0], axis=-1)
    np.testing.assert_allclose(player.shape(heavy), np.stack([ends, ends / 2], 1), rtol=1e-5)


def test_importing_the_page_loads_no_plotting_and_no_learning():
    code = (
        "import sys, cgsurrogate.report.page; print([m for m in ('matplotlib', 'torch', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The page in headless Chromium: the surface, the slider and the molecule move together, and nothing complains."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
from comparison_example import HOSTILE, comparison

from cgsurrogate.report import player

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SIZE = {"width": 1300, "height": 1000}
PANEL = "document.querySelectorAll('.panel')[{}].panel"


@pytest.fixture(scope="module")
def browser():
    """One page: ``complaints`` holds console errors and exceptions, ``requests`` every address asked for."""
    with playwright.sync_playwright() as tool:
        page = tool.chromium.launch(executable_path=CHROMIUM, args=FLAGS).new_page(viewport=SIZE)
        page.set_default_timeout(120_000)
        complaints, requests = [], []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "assert") else None)
        page.on("request", lambda request: requests.append(request.url))
        yield SimpleNamespace(page=page, run=page.evaluate, complaints=complaints, requests=requests)


@pytest.fixture(scope="module")
def loaded(browser, hostile):
    browser.page.goto(hostile.as_uri())
    return browser


@pytest.fixture
def opened(loaded):
    """The page with both panels as they were at first."""
    loaded.run("document.querySelectorAll('.panel').forEach((e, i) => { e.panel.play(false); e.panel.choose(i); })")
    return loaded


def spot(browser, panel: int, x: float, y: float) -> tuple[float, float]:
    """Where (x, y), as fractions of the axes from the lower left, lies in the window."""
    return tuple(
        browser.run(
            f"(() => {{ const p = {PANEL.format(panel)}; p.map.scrollIntoView({{block: 'center'}});"
            "const r = p.map.getBoundingClientRect(), b = p.entry.surface.box;"
            f"return [r.left + r.width * (b[0] + b[2] * {x}), r.top + r.height * (b[1] + b[3] * (1 - {y}))]; }})()"
        )
    )


def test_a_click_on_the_surface_shows_the_nearest_frame(opened):
    panel = PANEL.format(0)
    dot = "[Number(P.dot.getAttribute('cx')), Number(P.dot.getAttribute('cy'))]".replace("P", panel)
    seen = set()
    for x, y in ((0.1, 0.6), (0.8, 0.3)):
        opened.page.mouse.click(*spot(opened, 0, x, y))
        frame = opened.run(f"{panel}.frame")
        nearest = opened.run(
            f"(() => {{ const p = {panel}, s = p.entry.surface;"
            "const f = (v, l) => (v - l[0]) / (l[1] - l[0]);"
            f"const d = p.entry.track.map((t) => Math.hypot(f(t[0], s.x) - {x}, f(t[1], s.y) - {y}));"
            "return d.indexOf(Math.min(...d)); })()"
        )
        assert frame == nearest
        assert opened.run(f"{panel}.readout.textContent").startswith(f"frame {frame + 1} of ")
        assert opened.run(f"Number({panel}.slider.value)") == frame
        seen.add((frame, *opened.run(dot)))
    assert len({s[0] for s in seen}) == len({s[1:] for s in seen}) == 2
    assert opened.run(f"{PANEL.format(1)}.frame") == 0  # the other panel stays
    assert opened.complaints == []


def test_playing_moves_the_dot_and_stops_on_pause(opened):
    panel = PANEL.format(1)
    before = opened.run(f"{panel}.dot.getAttribute('cx')")
    opened.run(f"{panel}.button.click()")
    assert any(opened.run(f"{panel}.frame > 2") or opened.page.wait_for_timeout(100) for _ in range(300))
    assert opened.run(f"{panel}.dot.getAttribute('cx')") != before
    opened.run(f"{panel}.button.click()")
    assert opened.run(f"{panel}.timer === null")
    assert opened.complaints == []


def test_the_molecule_follows_the_frame(opened):
    panel = PANEL.format(0)
    if not opened.run(f"Boolean({panel}.viewer)"):
        pytest.skip("no WebGL in this Chromium")
    where = f"{panel}.atoms.map((a) => [a.x, a.y, a.z].map((v) => Math.round(1000 * v))).join()"
    first = opened.run(where)
    opened.run(f"{panel}.slider.value = '25'; {panel}.slider.dispatchEvent(new Event('input'))")
    assert opened.run(f"{panel}.frame") == 25
    assert opened.run(where) != first
    opened.run(f"{panel}.slider.value = '0'; {panel}.slider.dispatchEvent(new Event('input'))")
    assert opened.run(where) == first


def test_the_choice_changes_the_ensemble(opened):
    panel = PANEL.format(1)
    image = opened.run(f"{panel}.image.src")
    opened.run(f"{panel}.choice.value = '0'; {panel}.choice.dispatchEvent(new Event('change'))")
    assert opened.run(f"{panel}.entry.name") == "reference"
    assert opened.run(f"{panel}.image.src") != image


def test_nothing_is_loaded_and_no_name_runs(opened):
    assert opened.complaints == []
    assert opened.run("window.caught") is None
    assert opened.run("document.querySelector('h1').textContent") == HOSTILE
    outside = [r for r in opened.requests if not r.startswith(("file://", "data:", "blob:"))]
    assert outside == []
    assert sum(r.startswith("file://") for r in opened.requests) == 1


@pytest.mark.parametrize("width", [400, 1300])
def test_nothing_sticks_out_sideways(opened, width):
    opened.page.set_viewport_size({"width": width, "height": 900})
    assert opened.run("document.documentElement.scrollWidth <= window.innerWidth")
    opened.page.set_viewport_size(SIZE)


def test_the_tables_of_the_verdict_fit_a_wide_window(opened):
    opened.page.set_viewport_size({"width": 1400, "height": 900})
    clipped = "[...document.querySelectorAll('#judged .scroll, #distances .tabled .scroll')]"
    assert opened.run(f"{clipped}.length >= 2 && {clipped}.every((e) => e.scrollWidth <= e.clientWidth)")
    opened.page.set_viewport_size(SIZE)


def test_the_player_alone_follows_a_click(browser, tmp_path):
    browser.complaints.clear()
    browser.page.goto(player.write_player(comparison().reference.sample, tmp_path / "view.html").as_uri())
    browser.page.mouse.click(*spot(browser, 0, 0.9, 0.9))
    assert browser.run(f"{PANEL.format(0)}.frame") > 0
    assert browser.complaints == []

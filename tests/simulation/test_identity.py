"""What tells simulations apart: kinds by their family, never by a module; what was stored by module still holds."""

from __future__ import annotations

import numpy as np
import pytest
from known_molecule import BEADS, KELVIN, exact, known
from walks import dying

from cgsurrogate.core import filesystem, registry
from cgsurrogate.core.propagator import Propagator
from cgsurrogate.simulation import identity
from cgsurrogate.simulation.integrators._baoab import BAOAB
from cgsurrogate.simulation.run import simulate
from cgsurrogate.simulation.settings import RunOptions, SimulationSettings

SETTINGS = SimulationSettings(0.1, 0.02, KELVIN)
ABOUT = "temperature=300 K, timestep=0.002 ps, outer={outer}, friction=20 /ps, centre=True"
OPTIONS = {"timestep": 0.002, "outer": 1, "friction": 20.0, "centre": True}


def moves(**changes) -> Propagator:
    return registry.build(
        "integrators", "baoab", BEADS, known(), KELVIN, **({"timestep": 0.002, "friction": 20.0} | changes)
    )


def run(folder, propagator: Propagator | None = None):
    start = exact(4).float().numpy()
    return simulate(propagator or moves(), start, BEADS, SETTINGS, RunOptions(folder, checkpoint_every=0))


def by_module(kind: str, name: str, **changes) -> dict:
    """How a propagator was described at first."""
    options = OPTIONS | changes
    recipe = {"family": "integrators", "name": name, "options": options}
    return {"kind": kind, "options": ABOUT.format(**options), "recipe": repr(recipe), "lag": 0.002, "weights": "0" * 16}


@pytest.mark.parametrize(
    "kind", ["cgsurrogate.integrators.baoab.BAOAB", "cgsurrogate.simulation.integrators.baoab.BAOAB"]
)
@pytest.mark.parametrize("finished", [True, False])
def test_a_simulation_that_was_stored_by_module_is_the_same(tmp_path, kind, finished):
    whole = run(tmp_path / "whole")
    folder = tmp_path / "run"
    if finished:
        run(folder)
        path, inside = folder / "frames.json", ("source", "simulation")
    else:
        with dying(BAOAB, 12), pytest.raises(KeyboardInterrupt):
            run(folder)
        path, inside = folder / "simulation.json", ()
    stored = filesystem.read_json(path)
    settings = stored
    for key in inside:
        settings = settings[key]
    settings["propagator"] = by_module(kind, "baoab")
    filesystem.write_json(path, stored)
    assert np.array_equal(run(folder).positions, whole.positions)
    for changes, words in (({"friction": 10.0}, r"options\.friction: 20.0 there, 10.0"), ({"timestep": 0.001}, "lag")):
        if finished:
            with pytest.raises(ValueError, match=words):
                run(folder, moves(**changes))


@pytest.mark.parametrize(
    "about",
    [
        by_module("cgsurrogate.integrators.baoab.BAOAB", "baoab", outer=2),
        by_module("cgsurrogate.turning.Turning", "baoab"),
        by_module("cgsurrogate.integrators.overdamped.Overdamped", "overdamped"),
    ],
    ids=["several time steps", "a sampler", "another state"],
)
def test_what_is_no_more_the_same_is_refused(tmp_path, about):
    run(tmp_path)
    manifest = filesystem.read_json(tmp_path / "frames.json")
    manifest["source"]["simulation"]["propagator"] = about
    filesystem.write_json(tmp_path / "frames.json", manifest)
    with pytest.raises(ValueError, match="other settings"):
        run(tmp_path)


def test_a_description_holds_no_module():
    about = identity.describe(moves())
    assert "cgsurrogate" not in repr(about)
    assert about["family"] == "integrators" and about["name"] == "baoab" and about["options"]["friction"] == 20.0

"""What is new to a model is noticed, named, and stored with the frames; what is known is left in peace."""

import dataclasses

import comparison_example
import energy_contract
import numpy as np
import pytest

from cgsurrogate import workflows
from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.models import extrapolation, extrapolation_scores
from cgsurrogate.models.extrapolation import fit_extrapolation
from cgsurrogate.models.model import EXTRAPOLATION, Model, compose
from cgsurrogate.simulation.settings import SamplerSettings, SimulationSettings
from cgsurrogate.workflows import compare

COUNT, STATE = 8, -1.8  # beads; radian, where the third dihedral is when it is in the state that is left out
BEADS = Beads(
    ("CA",) * COUNT, (0,) * COUNT, (110.0,) * COUNT, tuple(range(COUNT)), ("ALA",) * COUNT,
    tuple((i, i + 1) for i in range(COUNT - 1)),
)  # fmt: skip


def chain(dihedrals, rng):
    """(T, N, 3) nm: chains with these dihedrals (T, N - 3), and bonds and angles that shake a little."""
    total = len(dihedrals)
    bonds, angles = rng.normal(0.38, 0.003, (total, COUNT)), rng.normal(1.9, 0.06, (total, COUNT))
    x = np.zeros((total, COUNT, 3))
    x[:, 1, 0] = bonds[:, 0]
    x[:, 2] = x[:, 1] + bonds[:, 1, None] * np.stack((-np.cos(angles[:, 0]), np.sin(angles[:, 0]), 0 * bonds[:, 0]), 1)
    for k in range(3, COUNT):
        axis = x[:, k - 1] - x[:, k - 2]
        axis /= np.linalg.norm(axis, axis=1, keepdims=True)
        normal = np.cross(x[:, k - 2] - x[:, k - 3], axis)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        turn, bend = dihedrals[:, k - 3, None], angles[:, k, None]
        side = np.cos(turn) * np.cross(normal, axis) + np.sin(turn) * normal
        x[:, k] = x[:, k - 1] + bonds[:, k, None] * (-np.cos(bend) * axis + np.sin(bend) * side)
    return x.astype(np.float32)


def made(lengths, rng, state=False):
    """Frames whose dihedrals are each in one of two wells, the third one in the left-out state if wanted."""
    total = sum(lengths)
    turns = np.where(rng.random((total, COUNT - 3)) < 0.6, 0.9, 2.6) + rng.normal(0, 0.2, (total, COUNT - 3))
    if state:
        turns[:, 2] = STATE + rng.normal(0, 0.15, total)
    return Frames(BEADS, chain(turns, rng), lengths, 2.0, 300.0)


@pytest.fixture(scope="module")
def frames():
    return made((800,) * 6, np.random.default_rng(0))


@pytest.fixture(scope="module")
def known(frames):
    return fit_extrapolation(frames.split(0.2, 0)[0], frames)


@pytest.fixture(scope="module")
def fresh():
    return made((6000,), np.random.default_rng(1))


def test_scores_do_not_depend_on_shift_turn_and_batch(known, fresh):
    import torch

    x = fresh.positions[:300]
    turned = energy_contract.turned(torch.from_numpy(x).double()).numpy()
    np.testing.assert_allclose(known.score(turned), known.score(x), atol=0.02)
    parts = np.concatenate([known.score(x[:7]), known.score(x[7:])])
    np.testing.assert_allclose(parts, known.score(x), atol=1e-3)


def test_frames_that_were_seen_are_nothing_new(frames):
    few = dataclasses.replace(
        frames, positions=frames.positions[: extrapolation.LANDMARKS], lengths=(extrapolation.LANDMARKS,)
    )
    seen = fit_extrapolation(few, frames)
    assert seen.score(few.positions).max() < 0.05  # every frame is a landmark


def test_other_runs_are_flagged_as_often_as_was_said(known, fresh):
    scores = known.score(fresh.positions)
    assert (scores.max(1) > known.limit).mean() < 5 * (1 - extrapolation.LEVEL)
    of_channels = (known.channels(fresh.positions) > 1).mean(1)  # (channels, N)
    assert (of_channels < 2 * (1 - extrapolation.BEAD_LEVEL)).all()
    assert of_channels[0].mean() > 0.3 * (1 - extrapolation.BEAD_LEVEL)


def test_a_state_that_was_left_out_is_flagged_at_the_beads_that_it_concerns(known):
    x = made((500,), np.random.default_rng(2), state=True).positions
    assert (known.score(x).max(1) > known.limit).mean() > 0.98
    torsions = known.channels(x)[0]
    worst = np.bincount(torsions.argmax(1), minlength=COUNT) / len(x)
    assert worst[2:6].sum() > 0.98  # the third dihedral turns about the bond of beads 3 and 4
    assert (torsions[:, [0, 1, 6, 7]] > known.limit).mean() < 0.01


def test_contacts_that_were_never_seen_are_flagged_though_every_torsion_is_known():
    rng = np.random.default_rng(3)
    pool = made((20_000,), rng)
    ends = np.linalg.norm(pool.positions[:, 0] - pool.positions[:, -1], axis=1)
    apart, near = np.flatnonzero(ends > np.quantile(ends, 0.3)), np.flatnonzero(ends < np.quantile(ends, 0.01))
    apart = apart[: len(apart) // 5 * 5]
    trained = dataclasses.replace(pool, positions=pool.positions[apart], lengths=(len(apart) // 5,) * 5)
    model = fit_extrapolation(trained.take_runs(range(4)), trained)
    torsions, contacts = (c.max(1) for c in model.channels(pool.positions[near]))
    assert np.median(contacts) > 1.5 * np.median(torsions)
    usual = model.score(pool.positions[apart[::50]]).max(1)
    assert np.median(model.score(pool.positions[near]).max(1)) > np.quantile(usual, 0.99)


def test_positions_that_are_not_finite_are_infinitely_new(known, fresh):
    x = fresh.positions[:3].copy()
    x[1, 4] = np.nan
    scores = known.score(x)
    assert np.isinf(scores[1]).all() and np.isfinite(scores[[0, 2]]).all()
    with pytest.raises(ValueError, match="expected positions"):
        known.score(x[:, :5])


def test_a_single_run_and_frames_without_weight(frames):
    single = dataclasses.replace(frames, lengths=(len(frames),))
    assert fit_extrapolation(single, single).about["runs"] == 1
    weights = np.ones(len(frames))
    weights[frames.runs[5]] = 0  # this run was in a state of its own, and counts nothing
    other = frames.positions.copy()
    other[frames.runs[5]] = made((800,), np.random.default_rng(5), state=True).positions
    weighted = dataclasses.replace(frames, positions=other, weights=weights)
    model = fit_extrapolation(weighted, weighted)
    assert (model.score(other[frames.runs[5]]).max(1) > model.limit).mean() > 0.9
    with pytest.raises(ValueError, match="ten or more"):
        fit_extrapolation(dataclasses.replace(single, positions=single.positions[:5], lengths=(5,)), single)


def test_quantiles_are_those_of_repeated_frames():
    rng = np.random.default_rng(2)
    values, counts = rng.normal(size=(2, 3, 40)), rng.integers(0, 5, 40)
    for level in (0.053, 0.517, 0.949, 0.9991):  # at none of them does a frame end exactly
        expected = np.quantile(np.repeat(values, counts, axis=-1), level, axis=-1, method="inverted_cdf")
        assert np.array_equal(extrapolation.quantile(values, level, counts * 0.37), expected)


def test_frames_of_little_weight_change_what_is_usual_as_little(frames):
    """Every tenth frame is anywhere; with hardly any weight they widen the limit no more than with none at all."""
    x, rare = np.array(frames.positions), np.arange(len(frames)) % 10 == 0
    rng = np.random.default_rng(6)
    x[rare] = chain(rng.uniform(-np.pi, np.pi, (rare.sum(), COUNT - 3)), rng)
    found = {}
    for name, weight in (("faint", 1e-4), ("even", 1.0), ("left out", 0.0)):
        weighted = dataclasses.replace(frames, positions=x, weights=5.0 * np.where(rare, weight, 1.0))
        found[name] = fit_extrapolation(weighted, weighted)
    plain = dataclasses.replace(frames, positions=x)
    assert found["even"].limit == pytest.approx(fit_extrapolation(plain, plain).limit, rel=0.02)
    fresh = made((2000,), np.random.default_rng(7))
    limits = {name: model.limit * float(model.scales.mean()) for name, model in found.items()}
    assert limits["faint"] == pytest.approx(limits["left out"], rel=0.15)
    assert limits["even"] > 1.5 * limits["faint"]
    for name in ("faint", "left out"):
        assert 0 < (found[name].score(fresh.positions).max(1) > found[name].limit).mean() < 0.006, name
    assert not (found["even"].score(fresh.positions).max(1) > found["even"].limit).any()
    assert sum(found["faint"].about["held_out"]) == pytest.approx(1.0, abs=1e-4)


def test_it_is_stored_with_the_model(known, fresh, tmp_path):
    model = Model(compose(BEADS, []), BEADS, 300.0, {}, known)
    again = Model.load(model.save(tmp_path / "m")).extrapolation
    np.testing.assert_array_equal(again.score(fresh.positions[:50]), known.score(fresh.positions[:50]))
    assert again.limit == known.limit and again.digest == known.digest
    path = tmp_path / "m" / EXTRAPOLATION
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(ValueError, match="changed since"):
        Model.load(tmp_path / "m")
    without = Model(model.module, BEADS, 300.0, {}).save(tmp_path / "old")
    assert Model.load(without).extrapolation is None


def simulated(folder, positions, lengths):
    known = Provenance(replicas=tuple(range(10, 10 + len(lengths))))
    frames = Frames(BEADS, positions, lengths, 0.5, 300.0, provenance=known)
    return frames.save(folder)


def test_frames_get_their_scores_and_keep_them(known, fresh, tmp_path):
    folder = simulated(tmp_path / "s", fresh.positions[:900], (300, 600))
    assert Frames.load(folder).extrapolation is None
    scored = extrapolation_scores.add_extrapolation(folder, known)
    np.testing.assert_allclose(scored.extrapolation, known.score(fresh.positions[:900]), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(scored.take_runs([1]).extrapolation, scored.extrapolation[300:])
    np.testing.assert_array_equal(Frames.load(scored.save(tmp_path / "copy")).extrapolation, scored.extrapolation)
    Frames.load(folder)
    before = (folder / extrapolation_scores.FILE).stat().st_mtime_ns
    extrapolation_scores.add_extrapolation(folder, known)
    assert (folder / extrapolation_scores.FILE).stat().st_mtime_ns == before
    other = dataclasses.replace(known, limit=known.limit + 1, about={**known.about, "limit": known.limit + 1})
    assert extrapolation_scores.add_extrapolation(folder, other).provenance.extrapolation["limit"] == other.limit
    with pytest.raises(ValueError, match="other beads"):
        energy_contract.frames(20).save(tmp_path / "beads")
        extrapolation_scores.add_extrapolation(tmp_path / "beads", known)


def test_a_kill_while_scores_are_written_leaves_frames_that_can_be_scored(known, fresh, tmp_path, monkeypatch):
    folder = simulated(tmp_path / "s", fresh.positions[:900], (900,))
    monkeypatch.setattr(extrapolation_scores, "PIECE", 400)
    whole = extrapolation_scores.add_extrapolation(simulated(tmp_path / "w", fresh.positions[:900], (900,)), known)
    calls = []

    def killed(fraction):
        calls.append(fraction)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extrapolation_scores.add_extrapolation(folder, known, killed)
    assert Frames.load(folder).extrapolation is None
    again = extrapolation_scores.add_extrapolation(folder, known)
    np.testing.assert_array_equal(again.extrapolation, whole.extrapolation)
    assert again.provenance.extrapolation == whole.provenance.extrapolation


def test_a_warning_names_the_frame_the_replica_and_the_bead(known, fresh, tmp_path):
    x = fresh.positions[:900].copy()
    covered = extrapolation_scores.add_extrapolation(simulated(tmp_path / "c", x, (300, 600)), known)
    said = extrapolation_scores.words(covered)
    assert not said.warn and said.text.startswith("within what the training frames cover")
    x[500] = made((1,), np.random.default_rng(2), state=True).positions[0]
    said = extrapolation_scores.words(
        extrapolation_scores.add_extrapolation(simulated(tmp_path / "s", x, (300, 600)), known)
    )
    assert said.warn and said.text.startswith("frame 200 of replica 11 (t = 100.5 ps): bead ")
    assert "score " in said.text and "99.9% of held-out frames" in said.text
    assert extrapolation_scores.words(fresh) is None


def test_a_simulation_is_scored_and_a_finished_one_is_not_scored_again(tmp_path):
    frames = energy_contract.frames(400)
    energy = compose(frames.beads, [("priors", "bonds", {}), ("priors", "angles", {})])
    for term in energy.terms:
        term.fit(frames)
    model = Model(energy, frames.beads, 300.0, {}, fit_extrapolation(frames.split(0.2)[0], frames))
    sampler = SamplerSettings(integrator="baoab:timestep=0.002")
    settings = SimulationSettings(0.2, 0.04, replicas=3, sampler=sampler)
    result = workflows.make_simulation(model, frames, tmp_path / "s", settings)
    assert result.extrapolation.shape == (15, 12)
    (tmp_path / "s" / extrapolation_scores.FILE).unlink()  # as if it had been killed before it came to this
    manifest = filesystem.read_json(tmp_path / "s" / "frames.json")
    del manifest["arrays"]["extrapolation"], manifest["source"]["extrapolation"]
    filesystem.write_json(tmp_path / "s" / "frames.json", manifest)
    again = workflows.make_simulation(model, frames, tmp_path / "s", settings)
    np.testing.assert_array_equal(again.extrapolation, result.extrapolation)


def test_a_comparison_shows_scores_beside_those_of_held_out_frames(known, fresh, tmp_path):
    scored = extrapolation_scores.add_extrapolation(simulated(tmp_path / "s", fresh.positions, (6000,)), known)
    comparison = comparison_example.comparison()
    name = next(e.name for e in comparison.others if e.role == "surrogate")
    shown = compare._with_scores(comparison, {name: scored})
    of = {e.name: e.geometry.get("extrapolation") for e in shown.ensembles}
    assert [n for n, found in of.items() if found] == [shown.reference.name, name]
    for found in (of[name], of[shown.reference.name]):
        assert sum(found["probability"]) == pytest.approx(1, abs=1e-3)
        assert len(found["edges"]) == len(found["probability"]) + 1
    assert abs(np.cumsum(of[name]["probability"]) - np.cumsum(of[shown.reference.name]["probability"])).max() < 0.1

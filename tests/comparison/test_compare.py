"""A whole comparison: what is within the noise, what is not, what is broken, and its round trip through files."""

import dataclasses
import json

import numpy as np
import pytest
import states_example
from known_chains import calphas, two_states

from cgsurrogate.analysis.kinetics import implied_timescales
from cgsurrogate.analysis.structure import Structure
from cgsurrogate.comparison import summary
from cgsurrogate.comparison.compare import compare
from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.comparison.judgement import DIFFERS, UNKNOWN
from cgsurrogate.comparison.settings import ComparisonSettings
from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import Beads, Frames

NAMES = ("N", "CA", "CB", "C") * 4
BEADS = Beads(
    NAMES,
    (0,) * 16,
    (14.0, 12.0, 12.0, 12.0) * 4,
    tuple(k // 4 for k in range(16)),
    ("ALA",) * 16,
    tuple(sorted((4 * r + a, 4 * r + b) for r in range(4) for a, b in ((0, 1), (1, 2), (1, 3))))
    + tuple((4 * r + 3, 4 * r + 4) for r in range(3)),
)


def place(a, b, c, length, angle, torsion):
    """(t, 3) nm position of a bead at a bond length, angle and torsion from three others (Parsons et al. 2005)."""
    bc = (c - b) / np.linalg.norm(c - b, axis=-1, keepdims=True)
    n = np.cross(b - a, bc)
    n /= np.linalg.norm(n, axis=-1, keepdims=True)
    m = np.cross(n, bc)
    x, y, z = -np.cos(angle), np.sin(angle) * np.cos(torsion), np.sin(angle) * np.sin(torsion)
    return c + length * (x * bc + y[:, None] * m + z[:, None] * n)


def peptide(rng, runs, length, *, helical=0.5, slow=0.02, wide=0.35):
    """Four residues with L chirality; all torsions follow one slow switch between helix and strand."""
    total = runs * length
    state = two_states(rng, runs, length, helical, slow)

    def around(helix, strand):
        return np.where(state, helix, strand) + rng.normal(size=total) * wide

    x = np.zeros((total, 16, 3))
    x[:, 0] = [0, 0, 0]
    x[:, 1] = [0.146, 0, 0]
    x[:, 3] = [0.2, 0.142, 0]
    for r in range(4):
        n, ca, cb, c = range(4 * r, 4 * r + 4)
        if r:
            before = 4 * (r - 1)
            psi, phi = around(-0.8, 2.3), around(-1.1, -2.0)
            x[:, n] = place(x[:, before], x[:, before + 1], x[:, before + 3], 0.133, 2.03, psi)
            flat = np.full(total, np.pi)
            x[:, ca] = place(x[:, before + 1], x[:, before + 3], x[:, n], 0.146, 2.12, flat)
            x[:, c] = place(x[:, before + 3], x[:, n], x[:, ca], 0.152, 1.94, phi)
        x[:, cb] = place(x[:, c], x[:, n], x[:, ca], 0.152, 1.927, np.full(total, -2.143))
    x += rng.normal(size=x.shape) * 0.002
    return Frames(BEADS, x.astype(np.float32), (length,) * runs, 2.0, 300.0)


@pytest.fixture(scope="module")
def made():
    """A reference, a perfect surrogate, a wrong one, and training runs; compared once for all tests of this file."""
    rng = np.random.default_rng(0)
    reference, training = peptide(rng, 8, 600), peptide(rng, 8, 600)
    surrogates = {"good": peptide(rng, 8, 600), "wrong": peptide(rng, 8, 600, helical=0.95, wide=0.5)}
    surrogates["wrong"] = surrogates["wrong"].with_provenance(physical_time=False)
    lines = []
    comparison = compare(
        reference,
        surrogates,
        training=training,
        report=lines.append,
    )
    return comparison, lines


def test_a_perfect_surrogate_is_within_the_noise_and_a_wrong_one_is_beyond(made):
    comparison, lines = made
    good, wrong = comparison.others[:2]
    assert [e.role for e in comparison.ensembles] == ["reference", "surrogate", "surrogate", "floor", "baseline"]
    names = {"torsions", "torsions 2-D", "TIC 1", "TIC 2", "TIC 1-2", "RMSD", "Rg", "end-to-end", "MSM states"}
    assert set(good.distances) == set(wrong.distances) == names and not comparison.reference.distances
    assert sum(d.within for d in good.distances.values()) >= 8
    assert not any(wrong.distances[n].within for n in ("torsions", "torsions 2-D", "TIC 1", "TIC 1-2"))
    assert [line.split(":")[0] for line in comparison.verdict] == ["training runs", "good", "wrong"]
    assert good.judgement.mark != DIFFERS and good.judgement.against == "held-out runs"
    assert good.learned.mark != DIFFERS and good.learned.against == "training runs"
    assert wrong.judgement.mark == DIFFERS and "Differs from the held-out runs" in comparison.verdict[2]
    assert any(f.mark == DIFFERS and f.family in ("shape", "populations", "surfaces") for f in wrong.judgement.findings)
    assert comparison.reference.judgement is None and good.judgement.p.keys() == good.learned.p.keys()
    assert any("not physical" in w for w in comparison.warnings)
    assert len(lines) >= 5


def test_the_kinetics_of_a_true_copy_agree_and_its_states_are_described(made):
    comparison, _ = made
    good, wrong = comparison.others[:2]
    described = comparison.settings["states"]["metastable"]
    known, own = comparison.reference.states["metastable"], good.states["metastable"]
    assert [d["name"] for d in described] == list(known.names) == list(own.names)
    assert all("RMSD" in d["description"] and len(d["place"]) == 2 for d in described)
    assert known.populations.value.sum() == pytest.approx(1)
    assert (own.populations.low <= known.populations.high).all() and (
        known.populations.low <= own.populations.high
    ).all()
    assert np.isfinite(known.mean_first_passage.value[0, 1]) and known.check is not None
    assert not wrong.states["metastable"].physical and own.physical
    assert good.timescales.time_scaling is None
    assert good.further["populations"]["metastable"].within and set(good.further) >= {"Wasserstein", "KL divergence"}
    assert all(0 < d.p <= 1 and (d.p > 0.05) == d.within for d in good.distances.values())
    assert good.convergence.round_trips > 0 and 0 < good.effective < good.frames_count


def test_every_ensemble_has_the_same_surfaces_on_the_grid_of_the_reference(made):
    comparison, _ = made
    surfaces = comparison.reference.surfaces
    assert {"phi 2", "psi 1", "phi 2 / psi 2", "TIC 1", "TIC 1 / TIC 2", "RMSD", "Rg", "end-to-end"} <= set(surfaces)
    for one in comparison.others:
        assert list(one.surfaces) == list(surfaces)
        for name, own in one.surfaces.items():
            assert all(np.array_equal(a, b) for a, b in zip(own.edges, surfaces[name].edges, strict=True))
            assert (
                own.probability.sum() == pytest.approx(1) and own.probability.shape == surfaces[name].probability.shape
            )
            assert np.array_equal(np.isnan(own.free_energy), own.probability == 0)
    assert all(s.outside == 0 for s in surfaces.values())
    assert surfaces["phi 2"].periodic == (True,) and surfaces["TIC 1 / TIC 2"].periodic == (False, False)


def test_the_distance_to_the_reference_is_the_one_of_the_surfaces(made):
    from scipy.spatial.distance import jensenshannon

    comparison, _ = made
    for one in comparison.others:
        for metric, surface in (("TIC 1", "TIC 1"), ("TIC 1-2", "TIC 1 / TIC 2"), ("Rg", "Rg")):
            pair = (e.surfaces[surface].probability.ravel() for e in (one, comparison.reference))
            assert one.distances[metric].value == pytest.approx(jensenshannon(*pair), abs=1e-5)
            assert one.distances[metric].low <= one.distances[metric].value <= one.distances[metric].high
    training = next(e for e in comparison.others if e.role == "floor")
    assert all(d.value == pytest.approx(d.floor) for d in training.distances.values())


def test_timescales_of_a_true_copy_overlap_those_of_the_reference(made):
    comparison, _ = made
    known, own = comparison.reference.timescales, comparison.others[0].timescales
    assert known.physical and not comparison.others[1].timescales.physical
    assert known.values.shape == known.low.shape == (len(known.lags), 4)
    difference = implied_timescales.log_difference(known, own)
    assert difference is not None and difference.low < 0 < difference.high
    exact, flat = -2.0 / np.log(1 - 2 * 0.02), implied_timescales.plateau(known)  # of the switch, in ps
    assert flat.low < 1.3 * exact and flat.high > 0.7 * exact


def test_samples_are_in_time_order_of_one_run_with_their_track(made):
    for one in made[0].ensembles:
        assert 100 <= len(one.sample) <= 300 and one.track.shape == (len(one.sample), 2)
        assert len(one.sample.lengths) == 1 and np.isfinite(one.track).all()


def test_saving_and_loading_changes_nothing(made, tmp_path):
    comparison, _ = made
    comparison.save(tmp_path / "c")
    again = Comparison.load(tmp_path / "c")
    arrays, kept = {}, {}
    assert again._record(arrays) == comparison._record(kept) and set(arrays) == set(kept)
    assert all(np.array_equal(arrays[name], kept[name], equal_nan=True) for name in kept)
    assert again.table() == comparison.table()
    for a, b in zip(again.ensembles, comparison.ensembles, strict=True):
        assert np.allclose(a.sample.positions, b.sample.positions, atol=1e-6)
    text = (tmp_path / "c" / "metrics.json").read_text()
    assert "NaN" not in text and json.loads(text)["ensembles"][1]["distances"]["TIC 1"]["within"] in (True, False)


def results(value):
    """All dataclasses in a comparison but its frames."""
    if dataclasses.is_dataclass(value) and not isinstance(value, Frames):
        yield value
        yield from results(list(vars(value).values()))
    elif isinstance(value, (dict, list, tuple)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from results(one)


def test_every_result_prints_in_a_few_lines(made):
    comparison, _ = made
    found = list(results(comparison))
    assert len({type(one) for one in found}) > 8 and max(len(repr(one)) for one in found) < 2000
    assert "good (surrogate, 4,800 frames): " in repr(comparison)


def test_incomplete_or_foreign_folders_are_one_clear_line(made, tmp_path):
    with pytest.raises(FileNotFoundError, match="cgsurrogate compare"):
        Comparison.load(tmp_path)
    folder = made[0].save(tmp_path / "c")
    record = filesystem.read_json(folder / "metrics.json")
    filesystem.write_json(folder / "metrics.json", record | {"format": 99})
    with pytest.raises(ValueError, match="format 3"):
        Comparison.load(folder)
    filesystem.write_json(folder / "metrics.json", record | {"ensembles": [{}]})
    with pytest.raises(ValueError, match="not a comparison"):
        Comparison.load(folder)


def test_a_comparison_of_format_2_loads_by_its_old_names(made, tmp_path):
    comparison, _ = made
    folder = comparison.save(tmp_path / "c")
    record = filesystem.read_json(folder / "metrics.json") | {"format": 2}
    for row in record["ensembles"]:
        row["shape"], row["sampling"], row["recipes"] = (
            row.pop(k) for k in ("contact_map", "convergence", "published")
        )
        row["geometry"]["handedness"] = row["geometry"].pop("chirality")
        for kinetics in row["states"].values():
            kinetics["passage"] = kinetics.pop("mean_first_passage")
        if row["timescales"]:
            row["timescales"]["clock"] = row["timescales"].pop("time_scaling")
    record["settings"]["recipes"] = {"MDGen": {"source": "a paper", "published": [["MDGen", "torsions", 0.1, "here"]]}}
    filesystem.write_json(folder / "metrics.json", record)
    again = Comparison.load(folder)
    assert again.metrics()["ensembles"] == comparison.metrics()["ensembles"]
    assert again.settings["published"]["MDGen"]["figures"][0][2] == 0.1 and "recipes" not in again.settings


def test_the_table_shows_every_figure_and_no_verdict(made):
    comparison, _ = made
    lines = comparison.table().splitlines()
    rows = {line.split("  ")[0]: line for line in lines}
    assert "TIC 1-2" in rows and "TIC 1" in rows and "good" in lines[0] and "Markov" in lines[0]
    assert len({len(line) for line in lines[:-1]}) == 1 and "*" not in comparison.table()


def test_the_table_shows_the_states_that_a_user_named(made):
    comparison, _ = made
    pair = [comparison.reference, comparison.others[0]]

    def shown(physical):
        states = {"named": states_example.kinetics("named", physical=physical)}
        return summary.table([dataclasses.replace(one, states=states) for one in pair])

    rows = {line.split("  ")[0]: line for line in shown(True).splitlines()}
    for name in ("P(folded)", "folded above unfolded (kJ/mol)", "folded to unfolded (1/ns)"):
        assert " to " in rows[name].removeprefix(name) and "not physical" not in rows[name]
    assert "not physical" in shown(False) and "P(folded)" not in summary.table(pair)


def broken(frames, change):
    positions = np.array(frames.positions)
    change(positions)
    return dataclasses.replace(frames, positions=positions)


def test_broken_bonds_wrong_hands_and_clashes_are_counted():
    rng = np.random.default_rng(1)
    reference = peptide(rng, 2, 300)
    structure = Structure(reference)
    fine = structure.measure(reference)
    assert fine["bonds"]["bad frames"] == 0 and fine["chirality"]["bad frames"] == 0
    assert fine["bonds"]["rms"] == pytest.approx(1, abs=0.01) and fine["closest approach"]["below half"] == 0
    for entry in fine.values():
        assert np.sum(entry["probability"]) == pytest.approx(1) and len(entry["edges"]) == len(entry["probability"]) + 1

    def stretch(x):
        x[:7, 15] += (x[:7, 15] - x[:7, 13]) * 0.8  # the last C away from its CA

    def mirror(x):
        x[:5] *= [1, 1, -1]

    def clash(x):
        x[3, 15] = x[3, 0] + 0.01

    stretched = structure.measure(broken(reference, stretch))["bonds"]
    assert stretched["bad frames"] == 7 and "ALA4.CA-ALA4.C" in stretched["worst"]
    assert structure.measure(broken(reference, mirror))["chirality"]["bad frames"] == 5
    close = structure.measure(broken(reference, clash))["closest approach"]
    assert close["below half"] >= 1 and close["least"] < 0.05 and "ALA1.N-ALA4.C" in close["worst"]
    comparison = compare(reference, {"torn": broken(reference, stretch)})
    torn = comparison.others[0].judgement
    assert torn.mark == DIFFERS and torn.findings[0].text.startswith("7 of 600; ")
    assert "frames with a broken bond 1.2 %" in comparison.verdict[0]


def test_weighted_reference_with_few_beads_and_one_run():
    rng = np.random.default_rng(2)
    frames = peptide(rng, 1, 900)
    ca = [1, 5, 9, 13]
    beads = calphas(4)
    positions = np.ascontiguousarray(frames.positions[:, ca])
    reference = Frames(beads, positions, (900,), 2.0, 300.0, weights=rng.random(900))
    comparison = compare(reference, {"same": Frames(beads, positions, (900,), 2.0, 300.0)})
    assert "PC 1-2" in comparison.others[0].distances and comparison.reference.timescales is None
    assert any("weighted frames" in w for w in comparison.warnings) and any(
        "1 run" in w or "too short" in w for w in comparison.warnings
    )
    assert json.dumps(comparison.metrics(), allow_nan=False)


@pytest.mark.slow
def test_a_result_does_not_depend_on_what_else_is_compared(made):
    rng = np.random.default_rng(3)
    reference, first, second = (peptide(rng, 3, 200) for _ in range(3))
    alone = compare(reference, {"a": first}).others[0]
    beside = compare(reference, {"b": second, "a": first}).others[1]
    assert {k: dataclasses.astuple(v) for k, v in alone.distances.items()} == {
        k: dataclasses.astuple(v) for k, v in beside.distances.items()
    }


def test_another_molecule_a_name_twice_and_an_unknown_cv_are_one_clear_line():
    rng = np.random.default_rng(4)
    reference = peptide(rng, 1, 100)
    renamed = dataclasses.replace(reference, beads=dataclasses.replace(BEADS, names=("O", *NAMES[1:])))
    fewer = Frames(Beads(("CA",), (0,), (1.0,), (0,), ("ALA",)), np.zeros((10, 1, 3), np.float32), (10,), 1.0, 300.0)
    with pytest.raises(ValueError, match=r"bead 0 is ALA N in the reference but ALA O in 'x'"):
        compare(reference, {"x": renamed})
    with pytest.raises(ValueError, match="expected 16 beads"):
        compare(reference, {"x": fewer})
    with pytest.raises(ValueError, match="name of its own"):
        compare(reference, {"reference": reference})
    with pytest.raises(ValueError, match="did you mean 'torsions'"):
        compare(reference, {"x": reference}, settings=ComparisonSettings(cvs=("torsion",)))


@pytest.mark.parametrize(("known", "own"), [(1, 1), (1, 50), (50, 1), (3, 2)])
def test_a_handful_of_frames_gives_numbers_or_an_honest_refusal(known, own):
    rng = np.random.default_rng(5)
    comparison = compare(peptide(rng, 1, known), {"x": peptide(rng, 1, own)})
    assert json.dumps(comparison.metrics(), allow_nan=False) and comparison.table()
    if known == 1:
        marks = {f.mark for f in comparison.others[0].judgement.findings if f.family != "geometry"}
        assert marks == {UNKNOWN} and "Cannot be judged" in comparison.verdict[0]


@pytest.mark.slow
def test_burn_in_is_dropped_from_simulations_before_they_are_compared_and_from_nothing_else():
    rng = np.random.default_rng(6)
    reference, own = peptide(rng, 6, 200), peptide(rng, 12, 80)
    still = np.repeat(np.asarray(reference.positions[::100]), 50, 0)
    frozen = Frames(BEADS, still, (50,) * 12, 2.0, 300.0).with_provenance(physical_time=False, simulation={"seed": 1})
    plain = ComparisonSettings(cvs=("torsions",), baseline=False)
    made = compare(reference, {"own": own, "frozen": frozen}, training=reference, settings=plain)
    counts = {one.name: one.frames_count for one in made.ensembles}
    assert counts == {"reference": 1200, "own": 960, "frozen": 300, "training runs": 1200}
    assert any(line.startswith("frozen: 12 of its 12 replicas never move") for line in made.warnings)
    assert any(
        line.startswith("frozen: the starts still explain 100% of the variance of TIC") for line in made.warnings
    )
    asked = compare(reference, {"own": own}, training=reference, settings=dataclasses.replace(plain, burn_in="30"))
    counts = {one.name: one.frames_count for one in asked.ensembles}
    assert counts == {"reference": 1200, "own": 12 * 65, "training runs": 1200}

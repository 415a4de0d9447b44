"""Contact maps: exact contacts and distances, fluctuations with intervals that hold, turned copies alike."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cgsurrogate.analysis import contact_map as module
from cgsurrogate.analysis.contact_map import ContactMapEstimator
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.statistics import blocks

COUNT = 9


def beads_of(names=("CA",) * COUNT, residues=tuple(range(COUNT))):
    count = len(names)
    return Beads(names, (12,) * count, (12.0,) * count, residues, ("TYR",) * count)


def chain(rng, frames, noise=0.02, weights=None, lengths=None, loose=()):
    """A bent chain with independent noise; beads in ``loose`` shake three times as much."""
    k = np.arange(COUNT)
    start = np.stack([0.38 * k * np.cos(0.25 * k), 0.38 * k * np.sin(0.25 * k), 0.1 * k], 1)
    width = np.full(COUNT, noise)
    width[list(loose)] *= 3
    x = start + rng.normal(size=(frames, COUNT, 3)) * width[:, None]
    return Frames(beads_of(), x.astype(np.float32), lengths or (frames,), 1.0, 300.0, weights=weights)


def measured(reference, frames, seed=0):
    return ContactMapEstimator(reference).measure(frames, blocks(frames.lengths), np.random.default_rng(seed))


def test_contacts_and_distances_are_the_counted_ones():
    frames = chain(np.random.default_rng(0), 300, noise=0.08)
    estimator = ContactMapEstimator(frames, cutoff=1.2)
    found = estimator.measure(frames, blocks(frames.lengths), np.random.default_rng(0))
    x = np.asarray(frames.positions, float)
    r = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)
    near = np.abs(np.subtract.outer(np.arange(COUNT), np.arange(COUNT))) < 3
    assert np.isnan(found.contacts[near]).all() and found.cutoff == 1.2
    assert np.allclose(found.contacts[~near], (r <= 1.2).mean(0)[~near])
    assert 0 < found.contacts[~near].mean() < 1
    pooled = r[:, np.triu(~near)]
    expected = np.histogram(pooled, found.pair_edges)[0] / pooled.size
    assert np.allclose(found.pairs, expected, atol=1e-3) and found.pairs.sum() == pytest.approx(1)
    assert found.residues[:2] == ("TYR 1", "TYR 2")


def test_a_turned_copy_is_the_same_and_a_mirror_image_is_not():
    rng = np.random.default_rng(1)
    frames = chain(rng, 200)
    turned = np.stack([Rotation.random(random_state=k).apply(x) + k for k, x in enumerate(frames.positions)])
    copy = Frames(frames.beads, turned.astype(np.float32), (200,), 1.0, 300.0)
    mirrored = Frames(frames.beads, frames.positions * np.float32([1, 1, -1]), (200,), 1.0, 300.0)
    one, two, three = (measured(frames, f) for f in (frames, copy, mirrored))
    assert np.allclose(one.fluctuation.value, two.fluctuation.value, atol=1e-4)
    assert np.allclose(one.pairs, two.pairs, atol=2e-3) and np.array_equal(one.pair_edges, two.pair_edges)
    assert np.allclose(one.fluctuation.value, three.fluctuation.value, atol=0.05)  # about its own mean place
    assert np.allclose(one.pairs, three.pairs)


def test_fluctuations_are_those_of_independent_noise_and_a_loose_bead_stands_out():
    frames = chain(np.random.default_rng(2), 4000, noise=0.01, loose=(4,))
    value = measured(frames, frames).fluctuation.value
    assert np.argmax(value) == 4 and value[4] == pytest.approx(0.03 * np.sqrt(3), rel=0.2)  # the fit takes some
    others = np.delete(value, 4)
    assert (others < 0.01 * np.sqrt(3) * 1.3).all() and (others > 0.01 * np.sqrt(3) * 0.6).all()


def test_the_interval_of_a_fluctuation_holds_the_truth():
    rng = np.random.default_rng(3)
    reference = chain(rng, 500)
    estimator = ContactMapEstimator(reference)
    truth = measured(reference, chain(rng, 20_000)).fluctuation.value
    inside = []
    for seed in range(100):
        sample = chain(rng, 400, lengths=(200, 200))
        own = estimator.measure(sample, blocks(sample.lengths, 2.0), np.random.default_rng(seed)).fluctuation
        inside.append((own.low <= truth) & (truth <= own.high))
    assert 0.90 <= np.mean(inside) <= 0.99


def test_weights_count_and_frames_without_weight_do_not(monkeypatch):
    rng = np.random.default_rng(4)
    tight, wide = chain(rng, 300, noise=0.01), chain(rng, 300, noise=0.2)
    both = np.concatenate([tight.positions, wide.positions])
    weights = np.repeat([1.0, 0.0], 300)
    mixed = Frames(beads_of(), both, (300, 300), 1.0, 300.0, weights=weights)
    a, b = measured(tight, tight), measured(tight, mixed)
    assert np.allclose(a.fluctuation.value, b.fluctuation.value) and np.allclose(a.pairs, b.pairs)
    assert np.allclose(a.contacts, b.contacts, equal_nan=True)
    monkeypatch.setattr(module, "MOST_FRAMES", 50)
    thinned = measured(tight, mixed)
    assert np.allclose(
        thinned.fluctuation.value, a.fluctuation.value, rtol=0.5
    ) and thinned.pairs.sum() == pytest.approx(1)


def test_every_ensemble_has_the_pairs_and_bins_of_the_reference_and_chunks_change_nothing(monkeypatch):
    rng = np.random.default_rng(5)
    reference, other = chain(rng, 300), chain(rng, 300, noise=0.3)
    estimator = ContactMapEstimator(reference)
    one, two = (estimator.measure(f, blocks(f.lengths), np.random.default_rng(0)) for f in (reference, other))
    assert np.array_equal(one.pair_edges, two.pair_edges) and two.pairs.sum() == pytest.approx(1)
    monkeypatch.setattr("cgsurrogate.geometry.measures.CHUNK", 1000)
    again = estimator.measure(other, blocks(other.lengths), np.random.default_rng(0))
    assert np.allclose(again.pairs, two.pairs) and np.allclose(again.fluctuation.value, two.fluctuation.value)
    assert np.allclose(again.contacts, two.contacts, equal_nan=True)


def test_beads_without_ca_and_very_small_molecules():
    rng = np.random.default_rng(6)
    names = beads_of(("A", "B", "C", "D", "E"), (0, 0, 1, 1, 2))
    frames = Frames(names, rng.normal(size=(30, 5, 3)).astype(np.float32), (30,), 1.0, 300.0)
    found = measured(frames, frames)
    assert found.residues == ("TYR 1 A", "TYR 1 B", "TYR 2 C", "TYR 2 D", "TYR 3 E")
    assert np.isfinite(found.contacts[0, 3]) and np.isnan(found.contacts[0, 2])
    two = Frames(beads_of(("CA", "CA"), (0, 1)), rng.normal(size=(30, 2, 3)).astype(np.float32), (30,), 1.0, 300.0)
    found = measured(two, two)
    assert np.isnan(found.contacts).all() and np.isnan(found.pairs).all()
    assert np.isfinite(found.fluctuation.value).all()
    single = Frames(two.beads, two.positions[:1], (1,), 1.0, 300.0)
    assert np.isnan(measured(two, single).fluctuation.low).all()
    with pytest.raises(ValueError, match="cutoff of a contact"):
        ContactMapEstimator(two, cutoff=0)

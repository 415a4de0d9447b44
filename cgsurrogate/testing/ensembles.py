"""The contract of mappings, collective variables and published benchmarks."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np

from cgsurrogate.analysis.cvs._base import CV, TooSmall
from cgsurrogate.comparison.published._base import PublishedBenchmark
from cgsurrogate.core.frames import Frames
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.testing import samples
from cgsurrogate.testing._law import Kind, Law, expect

# -- mappings ---------------------------------------------------------------------------------------------------------


def _mapping(kind: Kind) -> Mapping:
    built: Mapping = kind.build(samples.all_atom().topology)
    return built


def rows_sum_to_one_and_force_weights_invert_position_weights(kind: Kind) -> None:
    mapping = _mapping(kind)
    rows, product = mapping.weights.sum(1), (mapping.force_weights @ mapping.weights.T).toarray()
    expect(np.allclose(rows, 1), "rows of the position weights that sum to one", rows, "divide each row by its sum")
    remedy = "sum the forces of each bead over a group of atoms of its own"
    expect(np.allclose(product, np.eye(len(product)), atol=1e-12), "force_weights @ weights.T = 1", product, remedy)


def positions_and_forces_turn_with_the_molecule(kind: Kind) -> None:
    from scipy.spatial.transform import Rotation

    mapping, atoms = _mapping(kind), samples.shaken_atoms()
    turn = Rotation.from_rotvec([0.3, -1.0, 0.5]).as_matrix()
    off = mapping.positions(atoms @ turn.T + 1) - mapping.positions(atoms) @ turn.T - 1
    expect(
        np.abs(off).max() < 1e-5, "positions that turn with the atoms", f"{np.abs(off).max():.2g} nm off", "see above"
    )
    off = mapping.forces(atoms @ turn.T) - mapping.forces(atoms) @ turn.T
    expect(np.abs(off).max() < 1e-4, "forces that turn with the atoms", f"{np.abs(off).max():.2g} off", "see above")


def a_hydrogen_moves_with_its_heavy_atom(kind: Kind) -> None:
    """Bonds of hydrogen may be rigid, so both ends have the same force weight in every bead."""
    mapping = _mapping(kind)
    for a, b in samples.all_atom().topology.bonds:
        if "H" in (a.element.symbol, b.element.symbol):
            same = np.array_equal(*mapping.force_weights.toarray()[:, [a.index, b.index]].T)
            remedy = "give a hydrogen the force weight of its heavy atom, since their bond may be rigid"
            expect(same, f"the same force weights of {a} and {b}", "others", remedy)


def a_bead_weighs_what_its_force_is_summed_over(kind: Kind) -> None:
    mapping = _mapping(kind)
    mass = np.array([atom.element.mass for atom in samples.all_atom().topology.atoms])
    wanted = mapping.force_weights @ mass
    fine = np.allclose(mapping.beads.masses, wanted) and sum(mapping.beads.masses) <= mass.sum() + 1e-9
    expect(fine, f"masses {np.round(wanted, 2)} amu", np.round(mapping.beads.masses, 2), "set force_weights @ masses")


def bonds_join_all_beads_of_a_chain(kind: Kind) -> None:
    mapping = _mapping(kind)
    groups = list(range(len(mapping.beads)))
    for i, j in mapping.beads.bonds:
        groups = [groups[i] if g == groups[j] else g for g in groups]
    expect(len(set(groups)) == 1, "bonds that join all beads", f"{len(set(groups))} pieces", "bond neighbouring beads")


def the_mapped_force_is_the_slope_of_the_potential_of_mean_force(kind: Kind) -> None:
    """For U = k/2 sum |r|^2 the mean over all unmapped degrees of freedom is known.

    Positions given the beads R are Gaussian, with mean W^T (W W^T)^-1 R, so the mean force is -k (W W^T)^-1 R; the
    mean of the mapped force over that Gaussian must be the same, which needs force_weights @ weights.T = 1.
    """
    mapping, k = _mapping(kind), 7.0
    weights = mapping.weights.toarray()
    inverse = np.linalg.inv(weights @ weights.T)
    beads = np.random.default_rng(0).normal(size=(1, len(mapping.beads), 3))
    mean_atoms = np.einsum("na,nm,tmd->tad", weights, inverse, beads)
    expected = -k * np.einsum("nm,tmd->tnd", inverse, beads)
    came = mapping.forces(-k * mean_atoms)
    fine = np.allclose(came, expected, rtol=1e-4, atol=1e-4)
    expect(
        fine, "the mean force of a spring", f"{np.abs(came - expected).max():.2g} kJ/mol/nm off", "mend force_weights"
    )


# -- collective variables ---------------------------------------------------------------------------------------------


def _moved(frames: Frames) -> Frames:
    import torch

    turned = samples.turned(torch.from_numpy(np.array(frames.positions, float))).numpy()
    return dataclasses.replace(frames, positions=turned.astype(np.float32))


def _variables(kind: Kind) -> Iterator[tuple[Frames, CV]]:
    """For the backbone, and for CA beads alone where those are enough."""
    yield (frames := samples.peptide_frames()), kind.build(frames)
    frames = samples.peptide_frames("ca")
    with contextlib.suppress(TooSmall):
        yield frames, kind.build(frames)


def it_gives_one_finite_row_a_frame(kind: Kind) -> None:
    for frames, cv in _variables(kind):
        values, wanted = cv(frames), (len(frames), len(cv.labels))
        expect(values.shape == wanted, f"values of shape {wanted}, a column a label", values.shape, "name every column")
        expect(np.isfinite(values).all(), "finite values", values, "mend the function")
        pairs = all(0 <= a < len(cv.labels) and 0 <= b < len(cv.labels) for a, b in cv.pairs)
        expect(pairs, f"pairs of columns below {len(cv.labels)}", cv.pairs, "mend pairs")
        if cv.period:
            inside = bool((np.abs(values) <= cv.period / 2 + 1e-6).all())
            expect(inside, f"values within half a period, {cv.period / 2:g}", np.abs(values).max(), "wrap them")


def it_does_not_change_when_the_molecule_is_shifted_or_turned(kind: Kind) -> None:
    for frames, cv in _variables(kind):
        values = cv(frames)
        off = cv(_moved(frames)) - values
        if cv.period:
            off = (off + cv.period / 2) % cv.period - cv.period / 2
        fine = np.abs(off).max() < 1e-4 * max(1.0, float(np.abs(values).max()))
        came = f"{np.abs(off).max():.2g} more of the same frames, turned"
        expect(fine, "the same value of a turned and shifted molecule", came, "use distances, angles and dihedrals")


# -- published benchmarks ---------------------------------------------------------------------------------------------


def it_says_what_it_measures_and_where_it_comes_from(kind: Kind) -> None:
    frames = samples.peptide_frames()
    benchmark: PublishedBenchmark = kind.build(frames)
    metrics = benchmark.metrics
    texts = benchmark.name and benchmark.source and metrics and all(metrics.values())
    expect(texts, "name, source, and a text for every metric", metrics, "set them in the class")
    came, wanted = set(benchmark(frames)), set(metrics)
    expect(came == wanted, f"figures of {sorted(wanted)}", sorted(came), "give every metric, nan where it is not known")
    known = all(f.metric in metrics and f.what and f.source for f in benchmark.figures)
    expect(known, "published figures of its metrics, with what and source", benchmark.figures, "mend figures")


def it_gives_the_same_figures_again(kind: Kind) -> None:
    frames = samples.peptide_frames()
    one, two = (kind.build(frames)(frames) for _ in range(2))
    same = all(np.isclose(one[name], two[name], equal_nan=True) for name in one)
    expect(same, "the same figures when it is built again", (one, two), "draw from a generator with a fixed seed")


MAPPINGS: tuple[Law, ...] = (
    rows_sum_to_one_and_force_weights_invert_position_weights,
    positions_and_forces_turn_with_the_molecule,
    a_hydrogen_moves_with_its_heavy_atom,
    a_bead_weighs_what_its_force_is_summed_over,
    bonds_join_all_beads_of_a_chain,
    the_mapped_force_is_the_slope_of_the_potential_of_mean_force,
)
CVS: tuple[Law, ...] = (
    it_gives_one_finite_row_a_frame,
    it_does_not_change_when_the_molecule_is_shifted_or_turned,
)
PUBLISHED: tuple[Law, ...] = (
    it_says_what_it_measures_and_where_it_comes_from,
    it_gives_the_same_figures_again,
)

"""Surfaces under permutations: the level is exact, a lost basin and a wrong barrier are found and named in words."""

import math

import numpy as np
import pytest

from cgsurrogate.analysis.free_energy.basins import basins
from cgsurrogate.analysis.free_energy.surfaces import BlockHistogram, Grid
from cgsurrogate.comparison.landscape import KINDS, adjusted, landscape
from cgsurrogate.comparison.pooled_blocks import deviance

ANGLE = Grid(("phi 2",), (np.linspace(-math.pi, math.pi, 101),), (True,))
TIC = Grid(("TIC 1",), (np.linspace(-2, 2, 61),), (False,))
PAIR = Grid(("TIC 1", "TIC 2"), (np.linspace(-2, 2, 31), np.linspace(-2, 2, 31)), (False, False))


def centres(grid):
    return [(edges[1:] + edges[:-1]) / 2 for edges in grid.edges]


def torsion(left=0.02, height=0.0):
    """(100,) density of an angle: broad about -75 degrees, a second basin at 55 degrees that holds a share ``left``."""
    (phi,) = centres(ANGLE)

    def peak(degrees, width):
        density = np.exp(width * np.cos(phi - math.radians(degrees)))
        return density / density.sum()

    density = (1 - left) * peak(-75, 8.0) + left * peak(55, 12.0)
    between = np.abs(phi - math.radians(12)) < math.radians(22)
    return density * np.where(between, math.exp(-height), 1.0)


def well(shift=0.0):
    (x,) = centres(TIC)
    return np.exp(-2.5 * (x**2 - 1) ** 2 + shift * x)


def plane():
    x, y = centres(PAIR)
    return np.exp(-2.5 * (x[:, None] ** 2 - 1) ** 2 - y[None] ** 2).ravel()


def blocks_of(rng, density, grid, count, frames=400, spread=0.3):
    """Blocks whose populations vary more than those of independent frames do: each has its own smooth tilt."""
    modes = np.cos(np.outer(np.arange(1, 4), np.linspace(0, 2 * math.pi, len(density))))
    tilted = density * np.exp(spread * rng.normal(size=(count, 3)) @ modes)
    weights = np.array([rng.multinomial(frames, p / p.sum()) for p in tilted], np.float32)
    return BlockHistogram(grid, weights, np.arange(count), 0.0, float(count * 20), 2.494)


def masks_of(rng, first, second, permutations):
    labels = np.r_[np.ones(first), np.zeros(second)]
    return np.array([labels, *(rng.permutation(labels) for _ in range(permutations))], np.float32)


def compared(rng, own, *, reference=None, first=10, second=14, permutations=199):
    """Of an ensemble with the densities ``own`` by surface against those of ``reference``, usual ones where None."""
    grids = {"phi 2": ANGLE, "phi 3": ANGLE, "TIC 1": TIC, "TIC 1 / TIC 2": PAIR}
    usual = {"phi 2": torsion(), "phi 3": torsion(), "TIC 1": well(), "TIC 1 / TIC 2": plane()}
    usual |= reference or {}
    pairs = {
        name: tuple(
            blocks_of(rng, source[name], grid, count) for source, count in ((usual, first), (usual | own, second))
        )
        for name, grid in grids.items()
    }
    metrics = {"torsions": ["phi 2", "phi 3"], "TIC 1": ["TIC 1"], "TIC 1-2": ["TIC 1 / TIC 2"]}
    return landscape(pairs, metrics, masks_of(rng, first, second, permutations))


def found(rows, kind, surface):
    """Rows of a kind and surface and their p values, adjusted for all rows."""
    return [(row, p) for row, p in zip(rows, adjusted(rows), strict=True) if (row.kind, row.surface) == (kind, surface)]


@pytest.mark.parametrize("trials", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_the_level_is_exact_for_every_kind_and_for_all_together(trials):
    """Blocks of one distribution: p <= 0.05 in 5 % of the trials, for a reference of fewer blocks as well."""
    rng = np.random.default_rng(0)
    alone = dict.fromkeys(KINDS, 0)
    together = 0
    for _ in range(trials):
        rows = compared(rng, {}, first=6, second=15, permutations=99)
        together += adjusted(rows).min() <= 0.05
        for kind in KINDS:
            alone[kind] += adjusted([row for row in rows if row.kind == kind]).min() <= 0.05
    most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
    assert together / trials <= most
    assert all(count / trials <= most for count in alone.values()), alone
    assert 0.02 < np.mean(list(alone.values())) / trials < 0.10


def test_a_basin_that_is_lost_is_named():
    rows = compared(np.random.default_rng(1), {"phi 2": torsion(left=0.0)})
    hits = [(row, p) for row, p in found(rows, "population", "phi 2") if "55 degrees" in row.place]
    ((row, p),) = hits or found(rows, "population", "phi 2")
    assert p <= 0.05 and row.value == 0 and row.low == 0 and row.high < 0.3 and row.unit == "x"
    assert row.text.startswith("never visited against 2.") and abs(float(row.place.split()[3]) - 55) < 8
    missed = found(rows, "unvisited", "phi 2")[0]
    assert missed[0].value == pytest.approx(2, abs=1.2) and "never is; by chance" in missed[0].text
    largest, p = found(rows, "free energy", "phi 2")[0]
    assert p <= 0.05 and largest.value > largest.low > 1 and not math.isfinite(largest.high)
    assert found(rows, "free energy", "TIC 1")[0][1] > 0.05


def test_a_lost_basin_is_found_beside_a_rollout_of_many_more_blocks():
    """What single blocks of many visit has no long tail that would hide it."""
    rows = compared(np.random.default_rng(7), {"phi 2": torsion(left=0.0)}, first=12, second=240)
    row, p = min(found(rows, "population", "phi 2"), key=lambda one: one[1])
    assert p <= 0.05 and row.value < 0.01 and row.high < 0.1 and "degrees" in row.place
    assert found(rows, "unvisited", "phi 2")[0][1] <= 0.05


def test_amounts_are_the_differences_that_were_put_in():
    """Of a large sample: a basin three times too full, a barrier 2 kT too high, each within its interval."""
    rng, kT = np.random.default_rng(2), 2.494
    few = [blocks_of(rng, torsion(*args), ANGLE, 30, 20_000, 0.05) for args in ((0.03, 0.0), (0.09, 0.0), (0.03, 2.0))]
    masks = masks_of(rng, 30, 30, 199)
    rows = landscape({"phi 2": (few[0], few[1])}, {}, masks)
    ((row, p),) = found(rows, "population", "phi 2")
    assert p <= 0.05 and row.low < row.value < row.high and row.value == pytest.approx(3, rel=0.15)
    rows = landscape({"phi 2": (few[0], few[2])}, {}, masks)
    barriers = found(rows, "barrier", "phi 2")
    row, p = min(barriers, key=lambda one: one[1])
    assert p <= 0.05 and row.value == pytest.approx(2 * kT, rel=0.15) and row.low < row.value < row.high
    assert "between" in row.name and "degrees" in row.place and " against " in row.text
    own, known = (float(text.split()[0]) for text in row.text.split("against"))
    assert own - known == pytest.approx(row.value, abs=0.2)


def test_a_region_that_the_reference_forbids_is_found_and_its_share_is_told():
    density = well()
    density[26:34] = 0  # no reference frame within 0.27 of the origin
    assert density.sum() > 0
    rows = compared(np.random.default_rng(3), {"TIC 1": well()}, reference={"TIC 1": density})
    row, p = found(rows, "forbidden", "TIC 1")[0]
    assert p <= 0.05 and row.unit == "%" and row.value > 1 and abs(float(row.place.split("= ")[1])) < 0.3
    assert found(rows, "unvisited", "TIC 1")[0][1] > 0.05


def test_an_error_of_every_residue_is_seen_in_all_of_them_together():
    """Each angle alone is short of it: the joint histogram has twice the data."""
    rng, wins = np.random.default_rng(4), 0
    for _ in range(8):
        rows = compared(rng, {name: torsion(0.011) for name in ("phi 2", "phi 3")})
        joint = [row.observed for row in rows if row.kind == "population" and row.surface == "phi of all residues"]
        single = [row.observed for row in rows if row.kind == "population" and row.surface == "phi 2"]
        wins += max(joint) > max(single)
    assert wins >= 5


def test_a_block_that_weighs_more_and_other_counts_of_frames_change_no_amount():
    rng = np.random.default_rng(5)
    one, other = (blocks_of(rng, torsion(), ANGLE, 12) for _ in range(2))
    tenfold = BlockHistogram(ANGLE, other.weights * 10, other.runs, 0.0, other.effective, other.kT)
    masks = masks_of(rng, 12, 12, 49)
    first, second = (landscape({"phi 2": (one, two)}, {"torsions": ["phi 2"]}, masks) for two in (other, tenfold))
    for a, b in zip(first, second, strict=True):
        assert a.name == b.name and a.observed == pytest.approx(b.observed) and a.value == pytest.approx(b.value)


def test_figures_that_all_blocks_have_deviate_as_student_says_and_rare_ones_have_no_long_tail():
    rng, masks = np.random.default_rng(8), masks_of(np.random.default_rng(9), 20, 180, 400)
    dense = 1 + 0.05 * rng.normal(size=(200, 1))
    means = [[row[mask == 1], row[mask == 0]] for mask in masks for row in (dense[:, 0],)]
    z = [(b.mean() - a.mean()) / (dense.std(ddof=1) * math.sqrt(1 / 20 + 1 / 180)) for a, b in means]
    assert np.allclose(deviance(dense, masks)[:, 0], z, rtol=0.1, atol=0.05)
    rare = np.zeros((200, 60))
    for column in rare.T:
        column[rng.choice(200, 4, replace=False)] = rng.exponential(size=4)
    drawn = np.abs(deviance(rare, masks))
    assert np.quantile(drawn.max(1), 0.95) < 3.5 and np.isfinite(drawn).all()
    alone = np.zeros((200, 1))
    alone[:6] = 1  # in six of the twenty blocks of the reference and nowhere else
    assert deviance(alone, masks)[0, 0] < -4.5
    assert np.isfinite(deviance(alone, masks, rare[:, :1])).all()


def test_wrong_masks_are_one_clear_line():
    one = blocks_of(np.random.default_rng(6), well(), TIC, 5)
    with pytest.raises(ValueError, match=r"masks of 10 columns, a block each, got \(3, 9\)"):
        landscape({"TIC 1": (one, one)}, {}, np.ones((3, 9)))


def test_basins_of_a_line_and_of_a_circle():
    x = np.linspace(0, 2 * math.pi, 120, endpoint=False)
    energy = 2 * np.cos(2 * x) + 0.5 * np.cos(x)  # minima at pi / 2 and 3 pi / 2, saddles at 0 and pi
    round_, line = basins(energy, True), basins(energy, False)
    assert sorted(round_.minima.tolist()) == pytest.approx([30, 90], abs=3) and len(round_.saddles) == 2
    assert {saddle.bin for saddle in round_.saddles} == {0, 60}
    assert [saddle.bin for saddle in line.saddles] == [60] and set(line.labels.tolist()) == {0, 1}
    shallow = basins(0.3 * np.cos(5 * x) + np.cos(x), True)
    assert len(shallow.minima) == 1 and not shallow.saddles and len(basins(0.3 * np.cos(5 * x), True, 0.5).minima) == 5
    gap = energy.copy()
    gap[55:65] = np.inf
    split = basins(gap, False)
    assert len(split.minima) == 2 and not split.saddles and (split.labels[55:65] == -1).all()
    assert basins(np.full(5, np.nan), True).minima.shape == (0,)


def test_the_lower_of_two_minima_is_the_first():
    energy = np.array([3, 0.5, 2, 4, 1, 0, 5.0])
    one = basins(energy, False)
    assert one.minima.tolist() == [5, 1] and one.saddles[0] == (3, 0, 1)

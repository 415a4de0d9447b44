"""The contract of every energy: priors and networks."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.energy import Energy, Prior, forces
from cgsurrogate.models.evaluation.evaluator import Forces
from cgsurrogate.testing import samples
from cgsurrogate.testing._law import ContractError, Kind, Law, expect

FORMULA = "mend the formula of forward"
INTERNAL = "let forward depend on distances, angles and dihedrals alone, with no sum over the batch"


def trained(kind: Kind) -> Energy:
    """A prior that is fitted, or a network with every weight moved off its start, where the output may be zero."""
    torch.manual_seed(0)
    energy: Energy = kind.build(samples.peptide())
    if isinstance(energy, Prior):
        # tightly sampled frames, so that wider conformations also touch walls and repulsion
        energy.fit(samples.frames(shake=0.004))
        return energy
    rng = samples.generator(1)
    with torch.no_grad():
        for weight in energy.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=rng))
    return energy


def _double(kind: Kind) -> tuple[Energy, Tensor]:
    """The energy in float64, and (6, 12, 3) nm."""
    return trained(kind).double().requires_grad_(False), samples.conformations(6)


def it_gives_one_finite_energy_a_frame_that_depends_on_the_positions(kind: Kind) -> None:
    energy, x = _double(kind)
    value = energy(x)
    expect(value.shape == (6,), "forward to give (6,) for positions (6, N, 3)", tuple(value.shape), "sum over beads")
    expect(torch.isfinite(value).all(), "finite energies", value.tolist(), FORMULA)
    expect(value.std() > 0, "an energy that depends on positions", "the same for all frames", FORMULA)


def frames_of_a_batch_do_not_see_each_other(kind: Kind) -> None:
    energy, x = _double(kind)
    whole = energy(x).detach()
    for row in range(6):
        off = float((energy(x[row : row + 1]).detach()[0] - whole[row]).abs())
        fine = off <= 1e-12 * (1 + float(whole[row].abs()))
        expect(fine, "the energy of a frame to be the same alone and in a batch", f"{off:.2g} kJ/mol more", INTERNAL)


def it_is_blind_to_shifts_and_turns(kind: Kind) -> None:
    energy, x = _double(kind)
    value, force = forces(energy, x)
    off = float((energy(samples.turned(x)) - value).abs().max())
    fine = off < 1e-12 * max(float(value.abs().max()), 1.0)
    expect(fine, "the energy of a turned and shifted molecule to be the same", f"{off:.2g} kJ/mol more", INTERNAL)
    size = float(force.norm(dim=2).max())
    push, twist = (float(v.sum(1).abs().max()) for v in (force, torch.linalg.cross(x, force)))
    expect(push < 1e-10 * size, "forces that sum to zero", f"{push:.2g} kJ/mol/nm", INTERNAL)
    expect(twist < 1e-10 * size, "forces without a torque", f"{twist:.2g} kJ/mol", INTERNAL)


def it_tells_a_mirror_image_if_and_only_if_it_is_chiral(kind: Kind) -> None:
    energy, x = _double(kind)
    value = energy(x).detach()
    off = float((energy(x * torch.tensor([-1.0, 1.0, 1.0])) - value).abs().max())
    if energy.chiral:
        fine = off > 1e-3 * float(value.std())
        expect(fine, "another energy of the mirror image, as chiral = True says", "the same", "set chiral = False")
    else:
        fine = off < 1e-12 * max(float(value.abs().max()), 1.0)
        remedy = "set chiral = True in the class, or use quantities that a mirror leaves alone"
        expect(fine, "the same energy of the mirror image, as chiral = False says", f"{off:.2g} kJ/mol more", remedy)


def its_force_is_minus_its_slope(kind: Kind) -> None:
    energy, x = _double(kind)
    _, force = forces(energy, x)
    rng, h = samples.generator(5), 1e-5
    for _ in range(4):
        along = torch.randn(x.shape, generator=rng, dtype=x.dtype)
        with torch.no_grad():
            slope = _difference([energy(x + n * h * along) for n in (-2, -1, 1, 2)], h)
        analytic = -(force * along).sum((1, 2))
        off = float((slope - analytic).abs().max() / analytic.abs().max())
        expect(off < 1e-6, "the force to be minus the slope", f"{off:.2g} of it off", "let autograd see all of forward")


def _difference(at: list[Tensor], h: float) -> Tensor:
    """The slope from values at -2, -1, 1 and 2 steps of ``h``."""
    return (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h)


def rare() -> Tensor:
    """(16, 12, 3) nm: usual conformations, and ones behind walls: shaken hard, pressed together, pulled apart."""
    usual, hard = samples.conformations(4), samples.conformations(4, shake=0.08)
    return torch.cat((usual, hard, 0.4 * samples.conformations(4, shake=0.03), 3 * usual))


def a_simulation_evaluates_the_same_energy(kind: Kind) -> None:
    check_fast(trained(kind))


def check_fast(energy: Energy) -> None:
    """What a simulation evaluates is the same energy: to rounding in float64, to 1e-4 of a frame's force in float32."""
    energy, x = copy.deepcopy(energy).double(), rare()
    value, force = forces(energy, x)
    size, span = force.norm(dim=2).amax(1).clamp(min=1e-3), value.abs().clamp(min=1.0)
    remedy = "mend what analytic() gives, or leave analytic() out"
    for dtype, tolerance in ((torch.float64, 1e-7), (torch.float32, 1e-4)):
        fast, pull = Forces(copy.deepcopy(energy).to(dtype))(x.to(dtype))
        same = pull.shape == x.shape and pull.dtype == fast.dtype == dtype
        expect(same, f"forces {tuple(x.shape)} in {dtype}", f"{tuple(pull.shape)} in {pull.dtype}", remedy)
        off = max(float(((pull - force).norm(dim=2).amax(1) / size).max()), float(((fast - value).abs() / span).max()))
        expect(off < tolerance, f"energies and forces of forward within {tolerance:g}", f"{off:.2g} off", remedy)


def its_state_dict_is_all_that_there_is(kind: Kind) -> None:
    energy, x = trained(kind), samples.conformations(3).float()
    other = kind.build(samples.peptide())
    other.load_state_dict(energy.state_dict())
    remedy = "keep all that is learned in parameters and buffers of a size that does not depend on the data"
    expect(torch.equal(other(x), energy(x)), "the same energies after a state dict is loaded", "others", remedy)


# -- networks ---------------------------------------------------------------------------------------------------------


def a_loss_on_forces_reaches_every_weight(kind: Kind) -> None:
    network = trained(kind)
    _, force = forces(network, samples.conformations(4).float(), create_graph=True)
    names, weights = zip(*network.named_parameters(), strict=True) if list(network.parameters()) else ((), ())
    slopes = torch.autograd.grad(force.square().sum(), weights, allow_unused=True) if weights else ()
    found = zip(names, slopes, strict=True)
    dead = [name for name, slope in found if slope is None or not torch.isfinite(slope).all()]
    expect(not dead, "a finite gradient of every weight", f"none of {', '.join(dead)}", "leave such weights out")


def second_derivatives_are_right(kind: Kind) -> None:
    """Force matching differentiates forces: checked against differences of forces in float64."""
    network, x = trained(kind).double(), samples.conformations(2)
    along, h = torch.randn(x.shape, generator=samples.generator(2), dtype=x.dtype), 1e-5
    x.requires_grad_(True)
    _, force = forces(network, x, create_graph=True)
    (row,) = torch.autograd.grad((force * along).sum(), x)
    with torch.no_grad():
        slope = _difference([forces(network, x.detach() + n * h * along)[1] for n in (-2, -1, 1, 2)], h)
    off = float((row - slope).abs().max() / slope.abs().max())
    expect(off < 1e-6, "the slope of the force by autograd", f"{off:.2g} of it off", "use smooth functions")


def forces_have_no_jumps(kind: Kind) -> None:
    """Two halves are pulled apart: the largest change from step to step halves with the step; a jump would stay."""
    network = trained(kind).double()
    largest = []
    for count in (1001, 2001):
        x = samples.conformations(1).repeat(count, 1, 1)
        x[:, 5:, 0] += torch.linspace(0.3, 2.0, count, dtype=torch.float64)[:, None]
        largest.append(float(forces(network, x)[1].diff(dim=0).abs().max()))
    came = f"a jump of {largest[1]:.2g} kJ/mol/nm as two halves are pulled apart"
    expect(largest[1] < 0.6 * largest[0], "forces without jumps", came, "let every term fade to zero at its cutoff")


# -- priors -----------------------------------------------------------------------------------------------------------


def it_is_nan_until_fitted(kind: Kind) -> None:
    value = kind.build(samples.peptide())(samples.conformations(3).float())
    expect(torch.isnan(value).all(), "nan before fit", value.tolist(), "let the parameters be nan until fit sets them")


def its_summary_has_a_row_for_every_term(kind: Kind) -> None:
    prior = trained(kind)
    assert isinstance(prior, Prior)
    rows = prior.summary()
    named = len({row.get("term") for row in rows}) == len(rows) > 0
    expect(named, 'rows of summary() with a "term" each, all different', rows, "name every term")
    finite = all(math.isfinite(v) for row in rows for v in row.values() if isinstance(v, float))
    expect(finite, "finite figures in summary()", rows, "leave out what is not known")


def a_weight_counts_like_so_many_copies(kind: Kind) -> None:
    frames, x = samples.frames(60), samples.conformations(5).float()
    times = np.random.default_rng(0).integers(1, 4, 60)
    repeated = np.repeat(frames.positions, times, axis=0)
    values = []
    for one in (
        dataclasses.replace(frames, weights=times.astype(float)),
        dataclasses.replace(frames, positions=repeated, lengths=(len(repeated),)),
    ):
        prior = kind.build(frames.beads)
        prior.fit(one)
        values.append(prior(x))
    off = float((values[0] - values[1]).abs().max())
    fine = torch.allclose(values[0], values[1], rtol=2e-4, atol=2e-3)
    expect(fine, "a weight of 2 to count like two frames", f"{off:.2g} kJ/mol apart", "use frames.probabilities in fit")


def frames_of_another_molecule_are_refused(kind: Kind) -> None:
    prior, beads = kind.build(samples.peptide()), samples.chain_beads(4)
    x = samples.zigzag(4, 5).numpy().astype(np.float32)
    try:
        prior.fit(dataclasses.replace(samples.frames(5), beads=beads, positions=x))
    except ValueError as error:
        expect("other beads" in str(error), 'an error that says "other beads"', error, "name the fault so")
        return
    raise ContractError("expected fit to refuse frames of other beads; it took them; raise ValueError in fit")


ENERGY: tuple[Law, ...] = (
    it_gives_one_finite_energy_a_frame_that_depends_on_the_positions,
    frames_of_a_batch_do_not_see_each_other,
    it_is_blind_to_shifts_and_turns,
    it_tells_a_mirror_image_if_and_only_if_it_is_chiral,
    its_force_is_minus_its_slope,
    a_simulation_evaluates_the_same_energy,
    its_state_dict_is_all_that_there_is,
)
NETWORKS = (
    *ENERGY,
    a_loss_on_forces_reaches_every_weight,
    second_derivatives_are_right,
    forces_have_no_jumps,
)
PRIORS = (
    *ENERGY,
    it_is_nan_until_fitted,
    its_summary_has_a_row_for_every_term,
    a_weight_counts_like_so_many_copies,
    frames_of_another_molecule_are_refused,
)

"""Compiled code: the same numbers as without it, and a machine without a compiler lacks nothing but speed."""

from __future__ import annotations

import copy

import energy_contract as contract
import pytest
import torch

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Energy, Internal, forces
from cgsurrogate.core.frames import Beads
from cgsurrogate.models.evaluation import native
from cgsurrogate.models.evaluation.evaluator import Forces
from cgsurrogate.models.networks import _residues_compiled

SMALL = "int answer(void) { return ANSWER; }\n"


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setattr(native, "library", lambda *_, **__: None)


def backbone(count: int) -> Beads:
    """ALA, GLY and PRO in turn, so that sites are there, missing, or seen one way only."""
    from cgsurrogate.core import bead_types

    names, residues, residue_names, bonds = [], [], [], []
    for r in range(count):
        kind, first = ("ALA", "GLY", "PRO")[r % 3], len(names)
        mine = ("N", "CA", "C", "O") if kind == "GLY" else ("N", "CA", "CB", "C", "O")
        carbonyl = first + mine.index("C")
        bonds += [(first, first + 1), (first + 1, carbonyl), (carbonyl, carbonyl + 1)]
        bonds += [(first + 1, first + 2)] if kind != "GLY" else []
        bonds += [(carbonyl, carbonyl + 2)] if r < count - 1 else []
        names += mine
        residues += [r] * len(mine)
        residue_names += [kind] * len(mine)
    types = tuple(bead_types.number(r, n) for r, n in zip(residue_names, names, strict=True))
    return Beads(tuple(names), types, (13.0,) * len(names), tuple(residues), tuple(residue_names), tuple(sorted(bonds)))


def network(beads: Beads, **options) -> Energy:
    torch.manual_seed(0)
    built = registry.build("networks", "residues", beads, **options)
    with torch.no_grad():
        for weight in built.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return built.requires_grad_(False)


def walk(beads: Beads, count: int = 3) -> torch.Tensor:
    """(count, N, 3) nm, from coiled to reaching beyond the cutoff."""
    rng = torch.Generator().manual_seed(0)
    return torch.cumsum(0.12 * torch.randn(count, len(beads), 3, generator=rng), 1) + torch.linspace(
        0, 1, len(beads)
    ).view(-1, 1) * torch.arange(count).view(-1, 1, 1)


def compiled(energy: Energy) -> bool:
    return isinstance(energy.analytic(), _residues_compiled.Compiled)


BEADS = {"backbone": backbone(7), "ca": contract.chain_beads(30), "two": backbone(2), "one": contract.chain_beads(1)}


@pytest.mark.parametrize("options", [{}, {"width": 5, "layers": 1, "radial": 3}, {"layers": 3, "cutoff": 0.7}])
@pytest.mark.parametrize("beads", BEADS.values(), ids=BEADS)
def test_compiled_code_gives_the_forces_of_double_precision(beads, options):
    energy = network(beads, **options)
    if not compiled(energy):
        pytest.skip("no compiler here")
    value, force = forces(copy.deepcopy(energy).double(), walk(beads).double())
    fast, pull = Forces(energy)(walk(beads))
    assert (fast - value).abs().max() < 1e-5 * value.abs().max().clamp(min=1)
    assert (pull - force).abs().max() <= 1e-5 * force.abs().max()


@pytest.mark.parametrize("beads", BEADS.values(), ids=BEADS)
def test_without_a_compiler_forces_are_the_same(beads, no_compiler):
    energy = network(beads)
    assert not compiled(energy)
    value, force = forces(copy.deepcopy(energy).double(), walk(beads).double())
    fast, pull = Forces(energy)(walk(beads))
    assert (fast - value).abs().max() < 1e-5 * value.abs().max().clamp(min=1)
    assert (pull - force).abs().max() <= 1e-5 * force.abs().max()


def test_the_contract_holds_without_a_compiler(no_compiler, monkeypatch):
    energy = network(contract.peptide())
    contract.check_fast(energy)
    monkeypatch.setattr("cgsurrogate.models.evaluation.analytic.MANY", 1)  # lists
    contract.check_fast(energy)


@pytest.mark.parametrize("beads", [BEADS["backbone"], BEADS["ca"]], ids=["backbone", "ca"])
def test_a_replica_does_not_depend_on_its_company(beads):
    """Bit for bit, by compiled code."""
    form, rng = network(beads).analytic(), torch.Generator().manual_seed(0)
    if not isinstance(form, _residues_compiled.Compiled):
        pytest.skip("no compiler here")
    at = Internal(
        0.2 + 1.5 * torch.rand(len(form.distances), 5, generator=rng),
        torch.zeros(0, 5),
        6 * torch.rand(len(form.dihedrals), 5, generator=rng),
    )

    def evaluated(at: Internal) -> tuple[torch.Tensor, ...]:
        slopes = Internal(*(torch.zeros_like(q) for q in at))
        return form.evaluate(at, slopes), slopes.distances, slopes.dihedrals

    together = evaluated(at)
    for b in range(5):
        for one, all_ in zip(evaluated(Internal(*(q[:, b : b + 1].contiguous() for q in at))), together, strict=True):
            assert torch.equal(one[..., 0], all_[..., b])


def test_what_does_not_compile_is_as_if_there_were_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    broken = tmp_path / "broken.c"
    broken.write_text("this is not C\n")
    assert native.library(broken) is None


def test_constants_and_changes_of_the_source_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "small.c"
    source.write_text(SMALL)
    two, three = native.library(source, ANSWER=2), native.library(source, ANSWER=3)
    if two is None:
        pytest.skip("no compiler here")
    assert (two.answer(), three.answer()) == (2, 3)
    source.write_text(SMALL.replace("ANSWER", "ANSWER + 10"))
    native.library.cache_clear()
    assert native.library(source, ANSWER=2).answer() == 12


def test_it_can_be_turned_off(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CGSURROGATE_NATIVE", "0")
    source = tmp_path / "small.c"
    source.write_text(SMALL)
    assert native.library(source, ANSWER=2) is None


def test_a_cache_that_others_may_write_to_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "cgsurrogate").mkdir()
    (tmp_path / "cgsurrogate").chmod(0o777)
    source = tmp_path / "small.c"
    source.write_text(SMALL)
    assert native.library(source, ANSWER=2) is None
    assert not list((tmp_path / "cgsurrogate").iterdir())


def test_small_numbers_of_the_process_are_left_alone():
    network(BEADS["ca"]).analytic()
    assert float(torch.tensor(1e-40) * 1) > 0  # compiled code may not switch denormal numbers off for everyone

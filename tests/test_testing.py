"""The contracts over every kind, and over files of a stranger: good ones pass, broken ones are told what to mend."""

import pytest
from click.testing import CliRunner

from cgsurrogate import testing
from cgsurrogate.cli import group
from cgsurrogate.core import registry

OPTIONS = {"native_contacts": {"cutoff": 3.0}, "contacts": {"cutoff": 1.2}}  # a stretched chain has no contacts
CUSTOM = """
# side chains at their centre of mass
each CA = name CA
each SC = name CB   # one carbon
cap = resname ACE and not element H
"""


@pytest.mark.parametrize(
    "family, name, law",
    [(family, name, law) for family, laws in testing.LAWS.items() for name in registry.kinds(family) for law in laws],
    ids=lambda x: x if isinstance(x, str) else x.__name__,
)
def test_every_kind_keeps_the_contract_of_its_family(family, name, law, tmp_path):
    options = OPTIONS.get(name, {})
    if name == "custom":
        (tmp_path / "beads.txt").write_text(CUSTOM)
        options = {"file": str(tmp_path / "beads.txt")}
    law(testing.Kind(family, name, options))


# A file of a stranger for each family; then what to replace in it, and what the broken one is told.
NETWORK = """
import torch
from cgsurrogate.core.energy import Energy

def build(beads, strength: float = 1.0):
    return Tiny(strength)

class Tiny(Energy):
    def __init__(self, strength):
        super().__init__()
        self.strength = torch.nn.Parameter(torch.tensor(float(strength)))

    def forward(self, positions):
        centre = positions.mean(1, keepdim=True)
        return self.strength * (positions - centre).square().sum((1, 2))
"""
PRIOR = """
import numpy as np
import torch
from cgsurrogate.core.energy import Prior

def build(beads):
    return Ends(beads)

class Ends(Prior):
    def __init__(self, beads):
        super().__init__()
        self.beads = beads
        self.register_buffer("rest", torch.tensor(float("nan")))

    def fit(self, frames):
        if frames.beads != self.beads:
            raise ValueError("the frames hold other beads")
        length = np.linalg.norm(frames.positions[:, -1] - frames.positions[:, 0], axis=-1)
        self.rest.fill_(float((frames.probabilities * length).sum()))

    def forward(self, positions):
        return 5e4 * ((positions[:, -1] - positions[:, 0]).norm(dim=1) - self.rest).square()

    def summary(self):
        return [{"term": "ends", "rest (nm)": float(self.rest)}]
"""
INTEGRATOR = """
import math
import torch
from cgsurrogate.core import units
from cgsurrogate.core.energy import forces
from cgsurrogate.core.propagator import Propagator, State

def build(beads, energy, temperature, timestep: float = 1e-6):
    return Euler(energy, units.thermal_energy(temperature), timestep)

class Euler(Propagator):
    def __init__(self, energy, kT, timestep):
        super().__init__()
        self.energy, self.kT, self.lag = energy, kT, timestep

    def start(self, positions, rng):
        return State(positions.clone())

    def step(self, state, rng):
        _, force = forces(self.energy, state.positions)
        noise = torch.empty_like(force).normal_(generator=rng)
        return State((state.positions + self.lag * force + math.sqrt(2 * self.kT * self.lag) * noise).detach())
"""
STEPPER = """
from cgsurrogate.core import registry

def build(beads, lag: float | None = None):
    stepper = registry.build("steppers", "autoregressive", beads, lag=lag, width=16, hidden=8, mixtures=3)
    encode = stepper.encode
    stepper.encode = lambda positions: encode(positions)
    return stepper
"""
MAPPING = """
import dataclasses
from cgsurrogate.core import registry

def build(topology):
    made = registry.build("mappings", "ca", topology)
    return dataclasses.replace(made, beads=dataclasses.replace(made.beads, masses=made.beads.masses))
"""
CV = """
import numpy as np

def cv(positions):
    return np.linalg.norm(positions[:, -1] - positions[:, 0], axis=-1)
"""
PUBLISHED = """
from cgsurrogate.comparison.published._base import PublishedBenchmark

def build(reference):
    return Size()

class Size(PublishedBenchmark):
    name, source = "size", "A. Stranger, J. Irrepr. Results 1 (2026)"
    metrics = {"mean size": "nm"}

    def __call__(self, frames):
        return {"mean size": float(frames.positions.std())}
"""
STRANGERS = {
    "networks": (NETWORK, "(positions - centre)", "positions", "depend on distances, angles and dihedrals"),
    "priors": (PRIOR, "(frames.probabilities * length).sum()", "length.mean()", "frames.probabilities"),
    "integrators": (INTEGRATOR, "normal_(generator=rng)", "normal_()", "from the generator that step is given"),
    "steppers": (STEPPER, "encode(positions)\n", "encode(positions).abs()\n", "encode dihedrals with their sign"),
    "mappings": (MAPPING, "masses=made.beads.masses", "masses=(1.0,) * 5", "set force_weights @ masses"),
    "cvs": (CV, "positions[:, -1] - positions[:, 0]", "positions[:, -1]", "use distances"),
    "published": (PUBLISHED, '"mean size": float', '"size": float', "give every metric"),
}


@pytest.mark.parametrize("family", testing.LAWS)
def test_a_strangers_file_is_checked_and_a_broken_one_is_told_what_to_mend(family, tmp_path):
    text, good, bad, remedy = STRANGERS[family]
    file = tmp_path / "mine.py"
    file.write_text(text)
    result = CliRunner().invoke(group, ["kinds", "--check", str(file)])
    assert result.exit_code == 0, result.output
    assert f"of the {family}:" in result.output and result.output.count("  ok ") == len(testing.LAWS[family])
    file = tmp_path / "broken.py"
    file.write_text(text.replace(good, bad))
    result = CliRunner().invoke(group, ["kinds", "--check", str(file), "--family", family])
    assert result.exit_code == 1 and "BROKEN" in result.output and "laws are broken" in result.output
    assert remedy in result.output, result.output
    with pytest.raises(testing.ContractError, match="expected"):
        testing.check(str(file), family)


def test_a_file_of_no_family_is_told_why(tmp_path):
    (tmp_path / "mine.py").write_text("def build(beads):\n    return 3\n")
    with pytest.raises(testing.ContractError, match="build gave int, no Energy"):
        testing.check(str(tmp_path / "mine.py"))

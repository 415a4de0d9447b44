"""The steps of a study as functions: each takes objects, calls the library, and writes one folder.

The commands and the notebook call these; ``pipeline`` strings them together.
"""

from cgsurrogate.workflows.compare import make_comparison, make_report
from cgsurrogate.workflows.corrections import describe
from cgsurrogate.workflows.inputs import (
    load_ensembles,
    load_example,
    load_reference,
    mapping_builder,
    with_speed,
    with_speeds,
)
from cgsurrogate.workflows.samplers import make_propagator
from cgsurrogate.workflows.simulate import make_simulation, starting_frames, steps_per_second
from cgsurrogate.workflows.train import INTEGRATOR, NETWORK, PRIORS, make_energy, make_stepper

__all__ = [
    "INTEGRATOR",
    "NETWORK",
    "PRIORS",
    "describe",
    "load_ensembles",
    "load_example",
    "load_reference",
    "make_comparison",
    "make_energy",
    "make_propagator",
    "make_report",
    "make_simulation",
    "make_stepper",
    "mapping_builder",
    "starting_frames",
    "steps_per_second",
    "with_speed",
    "with_speeds",
]

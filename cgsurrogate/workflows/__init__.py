"""The steps of a study as functions: each takes objects, calls the library, and writes one folder.

The commands and the notebook call these; ``study`` strings them together. What a name stands for is imported when it is
first used, so that the help of a command is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cgsurrogate.workflows.compare import make_comparison, make_report
    from cgsurrogate.workflows.corrections import describe
    from cgsurrogate.workflows.deployment import make_deployment
    from cgsurrogate.workflows.inputs import (
        load_ensembles,
        load_example,
        load_reference,
        mapping_builder,
        with_speed,
        with_speeds,
    )
    from cgsurrogate.workflows.inspection import foresight, inspect, inspect_files
    from cgsurrogate.workflows.pretrained import pretrained_model, started
    from cgsurrogate.workflows.reweighting import make_reweighted
    from cgsurrogate.workflows.samplers import make_propagator
    from cgsurrogate.workflows.simulate import make_simulation, starting_frames, steps_per_second
    from cgsurrogate.workflows.splits import contents, make_split, split
    from cgsurrogate.workflows.train import make_energy, make_stepper

__all__ = [
    "contents",
    "describe",
    "foresight",
    "inspect",
    "inspect_files",
    "load_ensembles",
    "load_example",
    "load_reference",
    "make_comparison",
    "make_deployment",
    "make_energy",
    "make_propagator",
    "make_report",
    "make_reweighted",
    "make_simulation",
    "make_split",
    "make_stepper",
    "mapping_builder",
    "pretrained_model",
    "split",
    "started",
    "starting_frames",
    "steps_per_second",
    "with_speed",
    "with_speeds",
]


FILES = (
    "compare",
    "corrections",
    "deployment",
    "inputs",
    "inspection",
    "pretrained",
    "reweighting",
    "samplers",
    "simulate",
    "splits",
    "train",
)


def __getattr__(name: str) -> Any:
    modules = (importlib.import_module(f"{__name__}.{file}") for file in FILES if name in __all__)
    for module in modules:
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module {__name__} has no attribute {name}")

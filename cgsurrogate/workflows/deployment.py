"""A force field as a folder that OpenMM, ASE or C++ begins with: the model, a structure, a script, and a ``.pt2``."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cgsurrogate.core import devices, filesystem, registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.data.export import pdb_text
from cgsurrogate.models.engines import compiled
from cgsurrogate.models.engines.potential import RECORD, Potential, deviations, energy_of
from cgsurrogate.models.model import MODEL, Model
from cgsurrogate.simulation.run import pick_starts
from cgsurrogate.simulation.settings import INTEGRATOR
from cgsurrogate.workflows.provenance import provenance
from cgsurrogate.workflows.settings import Report, silent
from cgsurrogate.workflows.simulate import of_molecule

FORMATS = {"openmm": "run_openmm.py", "ase": "run_ase.py", "pt2": "energy_forces.cpp"}  # and what is put beside it
STRUCTURE, GRAPH, PACKAGE = "beads.pdb", "energy_forces.graph.pt2", "energy_forces.pt2"
CONFORMATIONS, STEPS = 16, 500  # by which deviations are measured, and of dynamics that make them from one structure


def make_deployment(
    model: Model,
    start: Frames,
    out: Path,
    formats: Sequence[str],
    *,
    device: str = "cpu",
    force: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Write the folder; what is in it, as its ``export.json`` says.

    Args:
        start: whose first frame is the structure, and whose molecule the model is bound to.
        formats: of ``FORMATS``.
        device: for which the ``.pt2`` is made.
        force: replace an earlier export.

    Raises:
        ValueError: a time-stepper, frames of another molecule, or a folder that is not for this.
        RuntimeError: what the format needs is not installed.
    """
    model = of_molecule(model, start.beads)
    potential = Potential(model)
    done = (out / RECORD).exists()
    if done and not force:
        raise ValueError(f"{out} is already complete; give --force to replace it, or another folder")
    with filesystem.writing(out, *((MODEL, RECORD) if done else ())):
        for name in (*FORMATS.values(), STRUCTURE, GRAPH, PACKAGE, RECORD):
            (out / name).unlink(missing_ok=True)
        with filesystem.whole(out):
            record = _written(model, potential, start, out, formats, device, report)
            filesystem.write_json(out / RECORD, record)
    return record


def _written(
    model: Model,
    potential: Potential,
    start: Frames,
    out: Path,
    formats: Sequence[str],
    device: str,
    report: Report,
) -> dict[str, Any]:
    energy = energy_of(model)
    report(None, "measuring the errors of single precision")
    x = conformations(model, start)
    record: dict[str, Any] = {
        "made": provenance(),
        "model": model.digest,
        "formats": list(formats),
        "beads": len(model.beads),
        "deviations": {"float32": deviations(potential.evaluate, energy, x)},
        "compiled": {},
        "notes": [],
    }
    model.save(out)
    filesystem.write_text(out / STRUCTURE, pdb_text(model.beads, np.asarray(start.positions[0])))
    for name in formats:
        text = importlib.resources.files("cgsurrogate.models.engines").joinpath("files", FORMATS[name]).read_text()
        filesystem.write_text(out / FORMATS[name], text)
    if "pt2" in formats:
        report(None, "tracing energy and forces")
        place = devices.chosen(device)
        program = compiled.trace(energy.to(place), len(model.beads))
        compiled.save(program, out / GRAPH)
        report(None, "compiling, a minute or two")
        try:
            compiled.package(program, out / PACKAGE)
        except compiled.NoCompiler as error:
            record["notes"].append(f"{error}; {GRAPH} is there alone")
        else:
            record["compiled"][PACKAGE] = {"sha256": filesystem.sha256(out / PACKAGE), "device": place.type}
            record["deviations"][PACKAGE] = deviations(compiled.load(out / PACKAGE), energy, x)
        energy.to("cpu")
    return record


def conformations(model: Model, start: Frames) -> np.ndarray:
    """(B, N, 3) nm: frames drawn from ``start``, or from short dynamics where there are few of them."""
    rng = np.random.default_rng(0)
    if len(start) >= CONFORMATIONS:
        return pick_starts(start, CONFORMATIONS, rng)
    name, options = registry.parse(INTEGRATOR)
    moves = registry.build("integrators", name, model.beads, model.module, model.temperature, **options)
    generator = torch.Generator().manual_seed(0)
    state = moves.start(torch.from_numpy(pick_starts(start, CONFORMATIONS, rng)), generator)
    for _ in range(STEPS):
        state = moves.step(state, generator)
    return np.asarray(state.positions.numpy())


def sentences(record: dict[str, Any]) -> list[str]:
    """What a user should know of an export, a line each."""
    lines = []
    for name, off in record["deviations"].items():
        what = "float32" if name == "float32" else name
        lines.append(
            f"errors against float64, {what}: energy {off['energy']:.1e} kJ/mol, forces {off['force']:.1e} kJ/mol/nm "
            f"(of {off['force_size']:.0f})"
        )
    return [*lines, *(f"note: {note}" for note in record["notes"])]

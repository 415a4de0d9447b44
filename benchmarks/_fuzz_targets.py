"""The files that ``fuzz.py`` damages: one of every format that is read or stored, and how each is read."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import types
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import mdtraj
import numpy as np
import torch

from cgsurrogate.comparison.comparison import METRICS, SURFACES, Comparison
from cgsurrogate.core import filesystem, registry
from cgsurrogate.core.differences import differences, words
from cgsurrogate.core.frames import MANIFEST, Frames
from cgsurrogate.core.propagator import State
from cgsurrogate.data import contents, examples, system_file
from cgsurrogate.data.read import Input, read
from cgsurrogate.models.model import MODEL, WEIGHTS, Model
from cgsurrogate.simulation import checkpoint
from cgsurrogate.training.settings import TrainingSettings
from cgsurrogate.training.state import CHECKPOINT, TrainingState
from cgsurrogate.workflows.settings import StudySettings
from cgsurrogate.workflows.study_folder import record_of, refuse_other

FRAMES = 20
TESTS = Path(__file__).resolve().parents[1] / "tests"
STORED = TESTS / "data" / "stored.zip"
HEAVY = registry.builder("mappings", "heavy")
Numbers = dict[str, Any]
Target = tuple[Path, Callable[[], Numbers]]
"""The file to damage, and what reads it: ``positions`` (T, N, 3) nm with their ``bonds``, and all else by name."""


def _of_frames(frames: Frames) -> Numbers:
    beads, known = frames.beads, dataclasses.replace(frames.provenance, trajectories=())
    found = {"positions": np.array(frames.positions), "bonds": np.array(beads.bonds)}
    found |= {"about": repr((beads, frames.lengths, frames.dt, frames.temperature, known.to_dict()))}
    found |= {name: np.array(v) for name in ("forces", "weights") if (v := getattr(frames, name)) is not None}
    return found


def peptide() -> mdtraj.Trajectory:
    """Some frames of the embedded example, in a box."""
    entry = examples.find("pentalanine")
    run = mdtraj.load(str(entry.topology.parent / "run0.xtc"), top=str(entry.topology))[:: 1200 // FRAMES][:FRAMES]
    run.time = np.arange(FRAMES) * 2.0
    run.unitcell_vectors = np.tile(np.eye(3, dtype="f4") * 6, (FRAMES, 1, 1))
    return run


def trajectory(name: str, folder: Path) -> Target:
    """``run.NAME`` with a whole topology in memory."""
    run, path, more = peptide(), folder / f"run.{name}", dict[str, Any]()
    sys.path.insert(0, str(TESTS))
    from written_files import write_h5md, write_lammps, write_netcdf

    if name == "npy":
        np.save(path, run.xyz)
    elif name == "npz":
        np.savez_compressed(path, x=run.xyz)
    elif name == "h5":
        with h5py.File(path, "w") as file:
            file["coordinates"], file["time"] = run.xyz, run.time
    elif name == "h5md":
        write_h5md(path, run.xyz * 10, None)
    elif name == "lammpstrj":
        write_lammps(path, run.xyz * 10)
        more = {"length_unit": "A"}
    elif name == "nc":
        write_netcdf(path, run.xyz * 10, run.xyz)
    else:
        run.save(str(path))
    timed = name in ("xtc", "trr", "h5", "h5md", "nc")
    given = Input(run.topology, [path], 300.0, dt=None if timed else 2.0, no_forces=True, **more)
    return path, lambda: _of_frames(read(given, HEAVY))


def topology(name: str, folder: Path) -> Target:
    """``top.NAME`` with coordinates beside it."""
    run, path = peptide(), folder / f"top.{name}"
    np.save(folder / "x.npy", run.xyz[:2])
    if name == "psf":
        path.write_text(_psf(run.topology))
    elif name == "prmtop":
        path.write_text(_prmtop(run.topology))
    else:
        run[0].save(str(path))
    given = Input(path, [folder / "x.npy"], 300.0, dt=2.0)

    def numbers() -> Numbers:
        said = list[str]()

        def build(structure: Any) -> Any:
            made = HEAVY(structure)
            said.extend(contents.words(structure, made)[1:])  # the first line is not of what is unusual
            return made

        return _of_frames(read(given, build)) | {"told": said}

    return path, numbers


def _psf(top: mdtraj.Topology) -> str:
    rows = ["PSF", "", "       1 !NTITLE", " REMARKS a peptide", "", f"{top.n_atoms:8d} !NATOM"]
    for a in top.atoms:
        rows.append(
            f"{a.index + 1:8d} PEP  {a.residue.resSeq:<4d} {a.residue.name:<4s} {a.name:<4s} {a.element.symbol:<4s} "
            f"{0.0:10.6f}     {a.element.mass:9.4f}           0"
        )
    pairs = [k + 1 for one in top.bonds for k in (one[0].index, one[1].index)]
    rows += ["", f"{len(pairs) // 2:8d} !NBOND: bonds"]
    rows += ["".join(f"{k:8d}" for k in pairs[at : at + 8]) for at in range(0, len(pairs), 8)]
    for section in ("NTHETA: angles", "NPHI: dihedrals", "NIMPHI: impropers"):
        rows += ["", f"{0:8d} !{section}", ""]
    return "\n".join(rows) + "\n"


def _prmtop(top: mdtraj.Topology) -> str:
    pairs = [k * 3 if n < 2 else 1 for one in top.bonds for n, k in enumerate((one[0].index, one[1].index, 0))]
    pointers = [top.n_atoms, *[0] * 10, top.n_residues, *[0] * 19]
    first = [next(residue.atoms).index + 1 for residue in top.residues]
    sections: list[tuple[str, str, list[Any]]] = [
        ("POINTERS", "10I8", pointers),
        ("ATOM_NAME", "20a4", [a.name for a in top.atoms]),
        ("ATOMIC_NUMBER", "10I8", [a.element.atomic_number for a in top.atoms]),
        ("RESIDUE_LABEL", "20a4", [r.name for r in top.residues]),
        ("RESIDUE_POINTER", "10I8", first),
        ("BONDS_INC_HYDROGEN", "10I8", []),
        ("BONDS_WITHOUT_HYDROGEN", "10I8", pairs),
    ]
    rows = ["%VERSION  VERSION_STAMP = V0001.000  DATE = 01/01/26  00:00:00"]
    for flag, form, values in sections:
        rows += [f"%FLAG {flag}", f"%FORMAT({form})"]
        count, layout = (10, "{:8d}") if form == "10I8" else (20, "{:<4s}")
        rows += ["".join(layout.format(v) for v in values[at : at + count]) for at in range(0, len(values), count)]
        rows += [] if values else [""]
    return "\n".join(rows) + "\n"


def colvar(folder: Path) -> Target:
    run, path = peptide(), folder / "COLVAR"
    run.save(str(folder / "run.xtc"))
    rows = [f"{t:.1f} {np.sin(t):.6f} {np.cos(t / 5):.6f}" for t in run.time]
    path.write_text("\n".join(["#! FIELDS time phi bias", *rows]) + "\n")
    given = Input(run.topology, [folder / "run.xtc"], 300.0, weights=[f"{path}:bias:kJ/mol"])
    return path, lambda: _of_frames(read(given, HEAVY))


def frames(name: str, folder: Path) -> Target:
    """A file of a folder of frames."""
    run = peptide()
    np.save(folder / "x.npy", run.xyz)
    made = read(Input(run.topology, [folder / "x.npy"], 300.0, dt=2.0), HEAVY)
    made.save(folder / "frames")
    return folder / "frames" / name, lambda: _of_frames(Frames.load(folder / "frames"))


def model(name: str, folder: Path) -> Target:
    """A file of a small force field."""
    with zipfile.ZipFile(STORED) as archive:
        archive.extractall(folder, [n for n in archive.namelist() if n.startswith("force-field/")])
    Model.load(folder / "force-field").save(folder / "model")

    def numbers() -> Numbers:
        one = Model.load(folder / "model")
        state = {key: value.numpy() for key, value in one.module.state_dict().items()}
        return {**state, "about": repr((one.beads, one.temperature, one.info))}

    return folder / "model" / name, numbers


def comparison(name: str, folder: Path) -> Target:
    """A file of a comparison."""
    with zipfile.ZipFile(STORED) as archive:
        archive.extractall(folder, [n for n in archive.namelist() if n.startswith("run/comparison/")])
    Comparison.load(folder / "run" / "comparison").save(folder / "comparison")
    return folder / "comparison" / name, lambda: {"about": repr(Comparison.load(folder / "comparison").metrics())}


def training(folder: Path) -> Target:
    """The state of a training."""
    torch.manual_seed(0)
    network, settings = torch.nn.Linear(5, 5), TrainingSettings(steps=10)
    objective: Any = types.SimpleNamespace(state_dict=dict, load_state_dict=lambda state: None)
    state = TrainingState(network, objective, settings, folder, "training")
    state.save(torch.optim.AdamW(network.parameters()).state_dict())

    def numbers() -> Numbers:
        again = TrainingState(torch.nn.Linear(5, 5), objective, settings, folder, "training")
        optimizer = again.resume()
        weights = {key: value.numpy() for key, value in again.module.state_dict().items()}
        return {**weights, "about": repr((again.progress, optimizer))}

    return folder / CHECKPOINT, numbers


def simulation(folder: Path) -> Target:
    """The state of a simulation."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, 20, 3, generator=generator)
    progress = checkpoint.Progress(steps=500, frames=50, blocks=[["00000.npy", 50, "ab" * 32]], seconds=12.5)
    path = folder / checkpoint.CHECKPOINT
    checkpoint.write(path, State(x, x * 2, energy=x[:, 0, 0]), generator, progress)

    def numbers() -> Numbers:
        tensors, known = checkpoint.read(path)
        return {**{name: value.numpy() for name, value in tensors.items()}, "about": repr(known)}

    return path, numbers


def record(name: str, folder: Path) -> Target:
    """``map.json``, or ``run.json``, which a run of the same settings looks at."""
    path, given = folder / name, {"topology": "top.pdb", "trajectories": ["a.xtc", "b.xtc"], "temperature": 300.0}
    if name == "map.json":
        filesystem.write_json(path, {"input": [given], "files": {"top.pdb": [4711, 1700000000000000000]}})
        known = filesystem.read_json(path)

        def agrees() -> Numbers:
            if changed := differences(filesystem.read_json(path), known):  # as map says it
                raise ValueError(f"{path}: made differently ({words(changed)})")
            return {}

        return path, agrees
    known = record_of(given, StudySettings())
    filesystem.write_json(path, known | {"directory": "/data", "sha256": {"top.pdb": "ab" * 32}})

    def numbers() -> Numbers:
        held, kept = filesystem.read_json(path), ("input", "settings", "directory", "sha256")
        return {"about": repr((refuse_other(folder, known), [held[key] for key in kept]))}

    return path, numbers


def system(folder: Path) -> Target:
    path, run = folder / "system.toml", peptide()
    run[0].save(str(folder / "top.pdb"))
    run.save(str(folder / "a.xtc"))
    path.write_text(
        '# a peptide\nmapping = "ca"\ntemperature = 300.0\n\n[molecules.one]\ntopology = "top.pdb"\n'
        'trajectories = ["a.xtc"]\nstride = 2\n\n[molecules.two]\ntopology = "top.pdb"\n\n'
        '[[molecules.two.groups]]\ntrajectories = "a*.xtc"\ndt = 1.5\n\n[run]\nminutes = 20\n'
    )

    def numbers() -> Numbers:
        known = system_file.load(path)
        return {"about": repr(([(m.name, system_file.described(m)) for m in known.molecules], known.run))}

    return path, numbers


TRAJECTORIES = ("xtc", "trr", "dcd", "nc", "h5", "h5md", "lammpstrj", "npy", "npz")
TOPOLOGIES = ("pdb", "cif", "gro", "psf", "prmtop")
TARGETS: dict[str, Callable[[Path], Target]] = {
    **{name: lambda folder, n=name: trajectory(n, folder) for name in TRAJECTORIES},
    "pdb with models": lambda folder: trajectory("pdb", folder),
    **{name: lambda folder, n=name: topology(n, folder) for name in TOPOLOGIES},
    "COLVAR": colvar,
    "frames.json": lambda folder: frames(MANIFEST, folder),
    "positions.npy": lambda folder: frames("positions.npy", folder),
    "model.json": lambda folder: model(MODEL, folder),
    "weights.safetensors": lambda folder: model(WEIGHTS, folder),
    "training.pt": training,
    "checkpoint.safetensors": simulation,
    "metrics.json": lambda folder: comparison(METRICS, folder),
    "surfaces.npz": lambda folder: comparison(SURFACES, folder),
    "map.json": lambda folder: record("map.json", folder),
    "run.json": lambda folder: record("run.json", folder),
    "system.toml": system,
}


def made(name: str, folder: Path) -> Target:
    """The target of that name, in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TARGETS[name](folder)

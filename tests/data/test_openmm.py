"""All-atom reference runs with OpenMM: seeds, continuation after a kill, and what is on the disk."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import mdtraj
import numpy as np
import pytest

from cgsurrogate.analysis import convergence
from cgsurrogate.core import filesystem, registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.data.generation.openmm import Run, chunk_seed, generate
from cgsurrogate.data.generation.protocol import Protocol
from cgsurrogate.data.generation.systems import Molecule
from cgsurrogate.data.read import Input, read

openmm = pytest.importorskip("openmm")

pytestmark = pytest.mark.usefixtures("short_preparation")
SHORT = Protocol(runs=2, nanoseconds=0.0024, every=0.4, chunk=0.8, forcefield=("amber14-all.xml", "implicit/obc2.xml"))


@pytest.fixture(scope="module")
def made(dipeptide_pdb, tmp_path_factory, short_preparation):
    """A finished generation, of 2 runs in 3 chunks of 2 frames."""
    out = tmp_path_factory.mktemp("whole")
    generate(dipeptide_pdb, out, SHORT, platform="CPU")
    return out


@pytest.fixture
def trajectories(made):
    return [made / f"run{i}.xtc" for i in range(2)]


def test_a_generation_is_readable_with_its_forces(made, trajectories):
    forces = [path.with_suffix(".forces.npy") for path in trajectories]
    given = Input(made / "topology.pdb", trajectories, 300, forces=forces)
    frames = read(given, registry.builder("mappings", "backbone"))
    assert frames.lengths == (6, 6) and frames.dt == pytest.approx(0.4)
    assert np.abs(frames.positions[0] - frames.positions[6]).max() > 0.01  # runs start apart
    assert len(np.load(made / "run0.potential.npy")) == 6


def test_the_speed_of_a_generation_comes_with_its_frames(made, trajectories, tmp_path):
    accounts = [filesystem.read_json(path.with_suffix("") / "speed.json") for path in trajectories]
    assert [one["nanoseconds"] for one in accounts] == pytest.approx([0.0024, 0.0024])
    frames = read(Input(made / "topology.pdb", trajectories, 300), registry.builder("mappings", "ca"))
    frames.save(tmp_path / "frames")
    seconds = sum(one["seconds"] for one in accounts)
    assert convergence.wall_seconds(Frames.load(tmp_path / "frames")) == pytest.approx(seconds, rel=1e-6)
    alone = tmp_path / "run0.xtc"  # elsewhere nothing is known of its speed
    alone.write_bytes(trajectories[0].read_bytes())
    again = read(Input(made / "topology.pdb", [alone], 300), registry.builder("mappings", "ca"))
    assert np.isnan(convergence.wall_seconds(again))


def test_stored_forces_are_the_slope_of_the_stored_energy(made):
    """Constraint forces are left out, so the force field itself gives the same numbers."""
    from openmm import app, unit

    pdb = app.PDBFile(str(made / "topology.pdb"))
    system = app.ForceField(*SHORT.forcefield).createSystem(
        pdb.topology, nonbondedMethod=app.NoCutoff, constraints=app.HBonds
    )
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    x = np.load(made / "run0" / "00001.positions.npy")
    f, e = (np.load(made / "run0" / f"00001.{name}.npy") for name in ("forces", "potential"))
    for xyz, force, energy in zip(x, f, e, strict=True):
        context.setPositions(xyz.astype(float))
        state = context.getState(getForces=True, getEnergy=True)
        found = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        np.testing.assert_allclose(found, force, atol=0.5)  # positions are stored in single precision
        assert state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) == pytest.approx(energy, abs=0.05)


def test_the_same_command_again_does_nothing(made, dipeptide_pdb):
    before = {p: p.stat().st_mtime_ns for p in made.glob("run*/*.positions.npy")}
    calls = []
    generate(dipeptide_pdb, made, SHORT, platform="CPU", report=lambda *a: calls.append(a))
    assert calls == [] and {p: p.stat().st_mtime_ns for p in made.glob("run*/*.positions.npy")} == before


def test_a_killed_generation_keeps_its_chunks_and_goes_on(made, dipeptide_pdb, tmp_path):
    """``kill -9`` after the first chunks; the same command again keeps them and ends with the same frames."""
    out = tmp_path / "out"
    code = (
        "from cgsurrogate.data.generation import engine, openmm as g\nengine.HOT_PS = 0.4\n"
        f"g.generate({str(dipeptide_pdb)!r}, {str(out)!r}, g.{SHORT!r}, platform='CPU')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.Popen([sys.executable, "-c", code], env=environment)
    deadline = time.monotonic() + 120
    while not list(out.glob("systems/run0/00000.state")) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert list(out.glob("systems/run0/00000.state")) and not (out / "run1.xtc").exists()
    chunks = [path.stem for path in out.glob("systems/run0/*.state")]
    whole = [out / f"run{run}" / f"{chunk}.positions.npy" for run in range(2) for chunk in chunks]
    kept = {path: path.read_bytes() for path in whole}
    generate(dipeptide_pdb, out, SHORT, platform="CPU")
    assert kept and all(path.read_bytes() == data for path, data in kept.items())
    names = sorted(p.relative_to(made) for p in made.rglob("*.npy"))
    assert sorted(p.relative_to(out) for p in out.rglob("*.npy")) == names
    for name in names:
        found, wanted = np.load(out / name), np.load(made / name)
        assert found.shape == wanted.shape
        if "positions" in name.name and len(name.parts) > 1:  # the same seeds give the same frames
            np.testing.assert_allclose(found, wanted, atol=1e-4)
    for run in range(2):
        xyz = np.load(out / f"run{run}" / "00000.positions.npy"), np.load(out / f"run{run}" / "00001.positions.npy")
        moved = np.linalg.norm(xyz[1][0] - xyz[0][-1], axis=-1)
        assert 0 < moved.mean() < 0.2  # 0.4 ps: the next chunk goes on where the last one ended


def test_runs_and_length_may_grow_but_the_physics_may_not(made, dipeptide_pdb, tmp_path):
    import shutil

    out = tmp_path / "copy"
    shutil.copytree(made, out)
    before = np.load(out / "run0.forces.npy")
    generate(dipeptide_pdb, out, dataclasses.replace(SHORT, nanoseconds=0.0032), only=(0,), platform="CPU")
    after = np.load(out / "run0.forces.npy")
    assert len(after) == 8
    np.testing.assert_array_equal(after[:6], before)
    with pytest.raises(ValueError, match=r"temperature: 300\.0 there, 310\.0 now"):
        generate(dipeptide_pdb, out, dataclasses.replace(SHORT, temperature=310.0), platform="CPU")


def test_multiple_time_steps_keep_the_temperature(dipeptide_pdb, tmp_path):
    """The mean kinetic energy is not stored; the spread of positions shows that nothing blows up or freezes."""
    protocol = dataclasses.replace(SHORT, runs=1, solvent_every=2, every=0.08, chunk=0.8, nanoseconds=0.0016)
    (path,) = generate(dipeptide_pdb, tmp_path, protocol, platform="CPU")
    xyz = mdtraj.load(str(path), top=str(tmp_path / "topology.pdb")).xyz
    moved = np.linalg.norm(np.diff(xyz, axis=0), axis=-1).mean()
    assert 0.003 < moved < 0.1  # thermal speed of a heavy atom is 0.4 nm/ps


def a_run(out, number=0, name=""):
    return Run(Molecule(name, None, np.zeros((1, 3))), number, (out / name / f"run{number}",))


def test_seeds_differ_by_molecule_run_and_chunk(tmp_path):
    runs = [a_run(tmp_path, number, name) for name in ("", "AK", "KA") for number in range(5)]
    seeds = [chunk_seed(SHORT, run, chunk) for run in runs for chunk in range(-1, 20)]
    assert len(set(seeds)) == len(seeds) and min(seeds) > 0
    assert chunk_seed(dataclasses.replace(SHORT, seed=1), runs[0], 0) != chunk_seed(SHORT, runs[0], 0)


@pytest.mark.parametrize("changes", [{"runs": 0}, {"every": 0.1, "timestep": 0.03}, {"temperature": -5.0}])
def test_a_protocol_that_makes_no_sense_is_refused(changes):
    with pytest.raises(ValueError):
        dataclasses.replace(SHORT, **changes)


def test_a_run_that_is_not_there_is_refused(dipeptide_pdb, tmp_path):
    with pytest.raises(ValueError, match="2 runs"):
        generate(dipeptide_pdb, tmp_path, SHORT, only=(5,), platform="CPU")

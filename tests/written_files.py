"""Trajectories with forces as other programs write them."""

import h5py
import numpy as np
from mdtraj.formats import TRRTrajectoryFile
from scipy.io import netcdf_file

PERIODIC = "ITEM: BOX BOUNDS pp pp pp\n0 50\n0 50\n0 50\n"


def write_trr(path, xyz, forces, every=1):
    """Frames 2 ps apart, with forces in every n-th one; None for no positions or no forces."""
    count = len(xyz if xyz is not None else forces)
    box = np.tile(np.eye(3, dtype="f4") * 5, (1, 1, 1))
    with TRRTrajectoryFile(str(path), "w") as file:
        for i in range(count):
            of = None if forces is None or i % every else forces[i : i + 1]
            place = xyz[i : i + 1] if xyz is not None else None
            zero = np.zeros(1, "f4")
            file._write(place, np.array([2 * i], "f4"), np.array([i], "i4"), box, zero, None, of)


def write_netcdf(path, xyz, forces, unit: str | None = "kilocalorie/mole/angstrom", scale=None):
    """As Amber does: Angstrom, kcal/mol/A."""
    with netcdf_file(str(path), "w", version=2) as file:
        file.Conventions, file.ConventionVersion = "AMBER", "1.0"
        for name, size in (("frame", None), ("atom", forces.shape[1]), ("spatial", 3)):
            file.createDimension(name, size)
        file.createVariable("time", "f4", ("frame",))[:] = np.arange(len(forces)) * 2.0
        for name, values in (("coordinates", xyz), ("forces", forces)):
            if values is not None:
                variable = file.createVariable(name, "f4", ("frame", "atom", "spatial"))
                variable[:] = values
                if name == "forces" and unit:
                    variable.units = unit
                if name == "forces" and scale:
                    variable.scale_factor = scale


def write_h5md(path, xyz, forces, units=("Angstrom", "kcal mol-1 Angstrom-1"), every=1):
    with h5py.File(path, "w") as file:
        file.create_group("h5md").attrs["version"] = (1, 1)
        group = file.create_group("particles/all")
        box = group.create_group("box")
        box.attrs["boundary"] = np.array([b"none"] * 3)
        for name, values, unit, taken in (("position", xyz, units[0], 1), ("force", forces, units[1], every)):
            if values is None:
                continue
            data = group.create_dataset(f"{name}/value", data=values[::taken])
            group[f"{name}/step"] = np.arange(len(values))[::taken] * 500
            group[f"{name}/time"] = np.arange(len(values))[::taken] * 2.0
            group[f"{name}/time"].attrs["unit"] = "ps"
            if unit:
                data.attrs["unit"] = unit


def write_lammps(path, xyz, columns="id type x y z", forces=None, box=PERIODIC, more="", every=500, names=False):
    """Frames (T, A, 3) as they are, the atoms of each in an order of its own."""
    rng = np.random.default_rng(5)
    with open(path, "w") as file:
        for t, frame in enumerate(xyz):
            file.write(f"{more}ITEM: TIMESTEP\n{t * every}\nITEM: NUMBER OF ATOMS\n{len(frame)}\n{box}")
            file.write(f"ITEM: ATOMS {columns}\n")
            for i in rng.permutation(len(frame)):
                row = [*frame[i], *(() if forces is None else forces[t, i])]
                file.write(f"{i + 1} {'C' if names else 1} {' '.join(f'{x:.6f}' for x in row)}\n")

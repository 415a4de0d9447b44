"""What the force field is compared with, where it is installed: torchmd-net's networks, and all-atom OpenMM."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

# As in published coarse-grained force fields (Majewski et al., Nat. Commun. 14, 5739 (2023)), and TensorNet's own.
GRAPH = {"model": "graph-network", "embedding_dimension": 128, "num_layers": 4, "num_rbf": 18, "cutoff_lower": 3.0,
         "cutoff_upper": 12.0, "activation": "tanh", "neighbor_embedding": False}  # fmt: skip
TENSOR = {"model": "tensornet", "embedding_dimension": 128, "num_layers": 2, "num_rbf": 32, "cutoff_lower": 0.0,
          "cutoff_upper": 12.0, "activation": "silu", "neighbor_embedding": True}  # fmt: skip
COMMON = {"rbf_type": "expnorm", "trainable_rbf": False, "max_z": 100, "max_num_neighbors": 64, "precision": 32,
          "aggr": "add", "derivative": True, "output_model": "Scalar", "reduce_op": "add", "prior_model": None,
          "atom_filter": -1, "equivariance_invariance_group": "O(3)", "box_vecs": None, "static_shapes": False,
          "num_heads": 8, "attn_activation": "silu", "distance_influence": "both", "vector_cutoff": False,
          "check_errors": False, "output_mlp_num_layers": 0}  # fmt: skip


def torchmd_net(x: np.ndarray) -> dict[str, Callable[[], object] | str]:
    """For (B, N, 3) nm: calls that give energies and forces, or why there is none."""
    try:
        from torchmdnet.models.model import create_model
    except ImportError as error:
        return {"torchmd-net": f"not installed ({error})"}
    batch, count, _ = x.shape
    positions = torch.tensor(10 * x.reshape(-1, 3))
    types, which = torch.ones(len(positions), dtype=torch.long), torch.arange(batch).repeat_interleave(count)
    found: dict[str, Callable[[], object] | str] = {}
    for options in (GRAPH, TENSOR):
        name = f"torchmd-net {options['model']} {options['embedding_dimension']} x {options['num_layers']}"
        try:
            model = create_model(COMMON | options).eval().requires_grad_(False)
            model(types, positions, which)
        except Exception as error:  # a peer that does not run is a line of the table, not the end of the benchmark
            found[name] = f"does not run here ({type(error).__name__}: {str(error)[:80]})"
        else:
            found[name] = lambda model=model: model(types, positions, which)
    return found


def openmm(pdb: Path, steps: int = 200) -> tuple[Callable[[], object], float, str] | str:
    """A call that makes ``steps`` steps, what they advance in ns, and a description; or why there is none."""
    try:
        import openmm
        from openmm import app, unit
    except ImportError as error:
        return f"not installed ({error})"
    molecule = app.PDBFile(str(pdb))
    field = app.ForceField("amber14-all.xml", "implicit/obc2.xml")
    modeller = app.Modeller(molecule.topology, molecule.positions)
    try:
        system = field.createSystem(modeller.topology, constraints=app.HBonds, hydrogenMass=4 * unit.amu)
    except ValueError:  # hydrogens are missing, or not those of this force field
        modeller.delete([atom for atom in modeller.topology.atoms() if atom.element is app.element.hydrogen])
        try:
            modeller.addHydrogens(field)
            system = field.createSystem(modeller.topology, constraints=app.HBonds, hydrogenMass=4 * unit.amu)
        except ValueError as error:
            return f"{pdb.name} does not fit the force field ({str(error)[:100]})"
    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 0.004 * unit.picoseconds)
    platform = openmm.Platform.getPlatformByName("CPU")
    simulation = app.Simulation(modeller.topology, system, integrator, platform, {"Threads": "1"})
    simulation.context.setPositions(modeller.positions)
    simulation.minimizeEnergy(maxIterations=200)
    simulation.step(200)
    atoms = modeller.topology.getNumAtoms()
    return lambda: simulation.step(steps), steps * 4e-6, f"{pdb.name}, {atoms} atoms, OBC2, 4 fs, CPU platform"

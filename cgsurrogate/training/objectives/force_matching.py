"""Force matching: the slopes of the energy are the mean forces of the reference."""

from __future__ import annotations

from torch import Generator, Tensor, nn

from cgsurrogate.core.energy import Energy, forces
from cgsurrogate.geometry.torsion_moves import TorsionMoves


class ForceMatching(nn.Module):
    """Mean squared error of the force (Noid et al., J. Chem. Phys. 128, 244114 (2008)), mostly along soft directions.

    The mean force minimises every quadratic form of the error, whatever its weights. Reference forces of stiff bonds
    are mostly noise, so the error is measured as a torque on every dihedral and angle, in units of that torque's own
    spread, with a small share of the plain error in Cartesian coordinates.

    A batch holds positions (B, N, 3) nm and what is left of the forces when those of the priors are taken off (B, N,
    3).
    """

    unit: Tensor  # (M,) kJ/mol/radian
    force_unit: Tensor  # kJ/mol/nm

    def __init__(self, moves: TorsionMoves, positions: Tensor, residual: Tensor, cartesian: float = 0.1):
        super().__init__()
        self.moves, self.cartesian = moves, cartesian
        torques = moves.torques(positions, residual)
        self.register_buffer("unit", torques.square().mean(0).sqrt().clamp(min=1e-6))
        self.register_buffer("force_unit", residual.square().mean().sqrt().clamp(min=1e-6))

    def forward(self, network: Energy, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
        positions, residual = batch
        error = forces(network, positions, create_graph=True)[1] - residual
        soft = (self.moves.torques(positions, error) / self.unit).square().mean()
        return soft + self.cartesian * (error / self.force_unit).square().mean()

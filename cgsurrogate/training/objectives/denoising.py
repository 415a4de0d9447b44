"""Denoising: how noise is undone gives the slopes of the energy, without forces."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from cgsurrogate.core.energy import Energy, forces
from cgsurrogate.geometry.torsion_moves import TorsionMoves


class Denoising(nn.Module):
    """Denoising score matching (Vincent, Neural Comput. 23, 1661 (2011)) in dihedrals and angles.

    Every dihedral and angle q is turned by s z, z standard normal, and the slope of the log density in these
    coordinates, in units of 1/s, must point back:

        s (-dU/dq / kT + d log(volume)/dq) = -z   on average.

    Bonds stay as they are, so the noise s need be small only against the soft coordinates: ``share`` of their own
    spread, at most ``largest`` radian. Noise comes in pairs +z and -z. Where noise makes beads collide, walls of the
    priors would be all that is learned from; a weight that depends on the noised positions alone leaves the minimum
    where it is, so samples count by 1 / (1 + mean square of the priors' own slope). A batch holds positions (B, N, 3).
    """

    scale: Tensor  # (M,) radian

    def __init__(
        self,
        moves: TorsionMoves,
        priors: Energy,
        positions: Tensor,
        kT: float,
        share: float = 0.2,
        largest: float = 0.07,
    ):
        super().__init__()
        self.moves, self.kT = moves, kT
        self.priors = [priors]  # in a list: a part of the loss, not a module that is trained or moved with it
        self.register_buffer("scale", (share * moves.widths(positions)).clamp(max=largest))

    def forward(self, network: Energy, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
        (positions,) = batch
        z = torch.randn(len(positions), len(self.moves), generator=rng, dtype=positions.dtype).to(positions)
        z = torch.cat((z, -z))
        noised = self.moves.turn(torch.cat((positions, positions)), self.scale * z)
        walls = self.scale * self.moves.torques(noised, forces(self.priors[0], noised)[1]) / self.kT
        force = forces(network, noised, create_graph=True)[1]
        slope = self.moves.torques(noised, force) / self.kT + self.moves.volume_slope(noised)
        weight = 1 / (1 + walls.square().mean(1))
        return (weight * (self.scale * slope + walls + z).square().mean(1)).mean()

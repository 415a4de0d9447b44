"""Whatever scores positions is an ``Energy``: priors, networks, and their sum."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cgsurrogate.core import devices
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.registry import Spec


class Internal(NamedTuple):
    """Internal coordinates of a batch, or the slopes of an energy with respect to them."""

    distances: Tensor  # (D, B) nm
    cosines: Tensor  # (A, B) of angles
    dihedrals: Tensor  # (T, B) radian


class Analytic(abc.ABC):
    """An energy as a function of internal coordinates that knows its slopes: what a simulation evaluates.

    Its evaluator measures the coordinates of all terms at once and pulls all slopes back to the beads at once.
    Constants are those of the moment when it was made. ``floats`` is the size of its largest arrays, per replica.
    """

    distances: np.ndarray = np.zeros((0, 2), int)  # (D, 2) the beads of each coordinate
    angles: np.ndarray = np.zeros((0, 3), int)  # (A, 3)
    dihedrals: np.ndarray = np.zeros((0, 4), int)  # (T, 4)
    floats: int = 1
    cutoff: float | None = None  # nm; distances beyond it count nothing, and those below it can be ``chosen``

    @abc.abstractmethod
    def evaluate(self, at: Internal, slopes: Internal) -> Tensor:
        """Energies (B,) kJ/mol; adds its dU/dq to ``slopes``."""

    def value(self, at: Internal) -> Tensor:
        """Energies (B,) kJ/mol alone; a form that saves work without slopes writes its own."""
        return self.evaluate(at, Internal(*map(torch.zeros_like, at)))

    def chosen(self, rows: np.ndarray) -> Analytic:
        """The same for one replica, of whose distances only these rows are below the cutoff."""
        raise NotImplementedError(f"{type(self).__name__} has a cutoff, so it needs chosen()")


class Energy(nn.Module, abc.ABC):
    """A potential energy of one molecule (its ``Beads`` are bound when it is built).

    ``stiff`` marks the terms that hold the local geometry: bonds, angles, impropers.
    ``chiral`` says whether the energy can tell a molecule from its mirror image.
    ``transfers`` says that weights belong to types of beads, so that ``bound`` gives the energy of another molecule.
    """

    stiff: ClassVar[bool] = False
    chiral: ClassVar[bool] = False
    transfers: ClassVar[bool] = False
    spec: Spec  # how it was built; given by the registry

    @abc.abstractmethod
    def forward(self, positions: Tensor) -> Tensor:
        """(B, N, 3) nm -> (B,) kJ/mol."""

    def bound(self, beads: Beads) -> Energy:
        """The same energy of another molecule; the weights are shared, not copied.

        Raises:
            ValueError: the energy belongs to one molecule, or it knows nothing like some part of this one.
        """
        if not self.transfers:
            raise ValueError(
                f"an energy of the kind {type(self).__name__} belongs to one molecule; train it on this one"
            )
        other: Energy = self.spec.build(beads)
        for name, weight in self.named_parameters():
            path, _, last = name.rpartition(".")
            setattr(other.get_submodule(path), last, weight)
        return other.to(devices.of(self)).train(self.training)

    def analytic(self) -> Analytic | None:
        """The same energy with its slopes written out, for speed; None where autograd has to do."""
        return None


class Prior(Energy):
    """A physical term whose parameters are fitted from frames; nan until then, so that it cannot be used unseen.

    ``marginal`` says that the term is the Boltzmann inversion of single coordinates, independent of one another, so
    that all such terms together describe the product of the marginals. ``redrawn`` says of such a one that its
    coordinates are soft, so that noise frames have each from another frame. ``notes`` are concerns of the last fit.
    """

    marginal: ClassVar[bool] = False
    redrawn: ClassVar[bool] = False
    notes: tuple[str, ...] = ()

    @abc.abstractmethod
    def fit(self, frames: Frames, *others: Frames) -> None:
        """Set the parameters from the (weighted) frames; ValueError names a term that no energy could hold.

        A term that does not fit well gets what serves it best, and ``notes`` says so. Priors that ``transfers`` are
        fitted to the frames of ``others``, which are of other molecules, as well.
        """

    @abc.abstractmethod
    def summary(self) -> list[dict[str, Any]]:
        """One row a fitted term: its name, parameters with units, and how well it fits."""


class Sum(Energy):
    """The sum of several energies."""

    def __init__(self, *terms: Energy):
        super().__init__()
        self.terms = nn.ModuleList(terms)

    def forward(self, positions: Tensor) -> Tensor:
        total = positions.new_zeros(positions.shape[0])
        for term in self.terms:
            total = total + term(positions)
        return total

    def bound(self, beads: Beads) -> Sum:
        return Sum(*(term.bound(beads) for term in self.terms if isinstance(term, Energy)))

    def part(self, *, stiff: bool) -> Sum:
        """The terms that are (not) stiff; modules are shared, not copied."""
        return Sum(*(term for term in self.terms if isinstance(term, Energy) and term.stiff == stiff))


class Difference(Energy):
    """One energy without another; no energy of its own that could be stored."""

    def __init__(self, whole: Energy, part: Energy):
        super().__init__()
        self.whole, self.part = whole, part

    def forward(self, positions: Tensor) -> Tensor:
        value: Tensor = self.whole(positions) - self.part(positions)
        return value


def forces(energy: Energy, positions: Tensor, *, create_graph: bool = False) -> tuple[Tensor, Tensor]:
    """Energies (B,) kJ/mol and forces (B, N, 3) kJ/mol/nm = -dE/dx.

    ``create_graph`` keeps the graph so that a loss on forces can be differentiated.
    """
    with torch.enable_grad():
        x = positions if positions.requires_grad else positions.detach().requires_grad_(True)
        value = energy(x)
        if not value.requires_grad:  # a sum without terms
            return value, torch.zeros_like(x)
        (slope,) = torch.autograd.grad(value.sum(), x, create_graph=create_graph)
    if not create_graph:
        value = value.detach()
    return value, -slope

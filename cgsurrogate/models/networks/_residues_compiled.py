"""``_residues_analytic`` in single precision by compiled code (``_residues_compiled.c``), where there is a compiler."""

from __future__ import annotations

import copy
import ctypes
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.energy import Analytic, Internal
from cgsurrogate.models.evaluation import native
from cgsurrogate.models.networks._residue_edges import SparseEdges
from cgsurrogate.models.networks._residues_analytic import Passes

SOURCE = Path(__file__).with_name("_residues_compiled.c")
EDGE, SITE = 16, 36  # bytes
KNOTS = 16  # of a table, to the standard deviation of a Gaussian


def build(passes: Passes) -> Analytic:
    """The same by compiled code; itself where that is not possible."""
    weight = passes.output
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        return passes
    edges, layers = passes.edges, len(passes.mixers)
    constants = {"FEATURES": weight.shape[1], "SITES": edges.sites}
    code = native.library(SOURCE, LAYERS=layers, ORDER=passes.order, **constants)
    return passes if code is None else Compiled(passes, code)


class Network(ctypes.Structure):
    """As in the source."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("residues", "pairs", "dihedrals", "slots", "kinds", "knots")),
        *(
            (name, ctypes.c_void_p)
            for name in ("table", "there", "turns", "turning", "embedding", "filters", "layers", "head")
        ),
        ("cutoff", ctypes.c_float),
    )


class Compiled(Analytic):
    """A replica at a time; pairs are in an order that keeps the weights of an offset in the nearest cache."""

    def __init__(self, passes: Passes, code: ctypes.CDLL):
        edges = passes.edges
        self.code, self.residues, self.edges = code, passes.residues, edges
        self.distances, self.dihedrals, self.cutoff = passes.distances, passes.dihedrals, passes.cutoff
        table, filters = _filters(edges)
        turns = torch.where(passes.where < len(passes.dihedrals), passes.where, -1).to(torch.int32)
        self.slots = len(turns) // self.residues
        self.numbers = {"residues": self.residues, "dihedrals": len(self.dihedrals), "slots": self.slots}
        self.numbers |= {"kinds": filters.shape[1], "knots": filters.shape[4]}
        turning = passes.turning.view(2, passes.order, self.slots, passes.width).permute(2, 1, 0, 3)
        layers = [
            _flat(one.T, one, two.T, two, mixer.T, mixer, one_bias, two_bias, bias)
            for (one, one_bias, two, two_bias), (mixer, bias) in zip(passes.senders, passes.mixers, strict=True)
        ]
        weight, bias = passes.hidden
        self.arrays = {
            "turns": turns,
            "turning": turning.contiguous(),
            "embedding": passes.embedding.contiguous(),
            "filters": filters,
            "layers": torch.cat(layers),
            "head": _flat(weight.T, weight, bias, passes.output),
        }
        self.nodes = (3 * len(layers) + 4) * self.residues * passes.width
        self._take(table, edges.present)

    def _take(self, table: np.ndarray, present: np.ndarray) -> None:
        """Set the pairs (P, 4), with their sites (S, P)."""
        edges, self.table, self.present = self.edges, table, present
        pairs, there = torch.as_tensor(table.astype(np.int32)), torch.as_tensor(present.astype(np.uint8))
        self.arrays = self.arrays | {"table": pairs, "there": there}
        self.network = Network(
            **self.numbers,
            pairs=len(table),
            cutoff=edges.cutoff,
            **{name: array.data_ptr() for name, array in self.arrays.items()},
        )
        self.floats = len(self.distances)
        self.room = torch.empty(self.nodes)
        self.listed = torch.empty(max(len(table), 1) * (EDGE + SITE * edges.sites), dtype=torch.uint8)

    def evaluate(self, at: Internal, slopes: Internal) -> Tensor:
        return self._call(at, slopes.distances, slopes.dihedrals)

    def value(self, at: Internal) -> Tensor:
        return self._call(at, None, None)

    def _call(self, at: Internal, *slopes: Tensor | None) -> Tensor:
        """Energies (B,); without slopes to add to, nothing is computed backwards."""
        values = torch.empty(at.distances.shape[1])
        arrays = (at.distances, at.dihedrals, values, *slopes, self.room, self.listed)
        if not all(array is None or array.is_contiguous() for array in arrays):
            raise ValueError("expected coordinates and slopes without gaps in memory")
        places = (ctypes.c_void_p(None if array is None else array.data_ptr()) for array in arrays)
        self.code.evaluate(ctypes.byref(self.network), ctypes.c_int64(len(values)), *places)
        return values

    def chosen(self, rows: np.ndarray) -> Compiled:
        near, pairs = copy.copy(self), self.edges.near_pairs(rows)
        near.distances = self.edges.rows_of(pairs)
        near._take(self.table[pairs], self.present[:, pairs])
        return near


def _filters(edges: SparseEdges) -> tuple[np.ndarray, Tensor]:
    """The pairs (P, 4), and the filters of each kind of pair in tables: (L, kinds, 2, S, knots, 2, F)."""
    offset = np.minimum(edges.pairs[1] - edges.pairs[0], edges.near)
    bits = (edges.present * 2 ** np.arange(edges.sites)[:, None]).sum(0)
    kinds, number = np.unique(offset * 2**edges.sites + bits, return_inverse=True)
    away, there = torch.as_tensor(kinds >> edges.sites), torch.as_tensor(kinds)[:, None] >> torch.arange(edges.sites)
    mask = torch.nn.functional.pad((there & 1).double().repeat_interleave(edges.radial, 1), (0, 1), value=1.0)
    partner = torch.tensor(edges.partner)[:, None] * edges.radial + torch.arange(edges.radial)
    swapped = torch.cat((partner.flatten(), torch.tensor([edges.sites * edges.radial])))
    ahead, behind = mask * edges.by_offset[edges.near + away], mask * edges.by_offset[edges.near - away][:, swapped]
    weights = edges.weights.double()
    both = ahead[..., None] * weights[:, None], behind[..., None] * weights[:, None, swapped]
    scaled = torch.stack(both, 2)  # (L, kinds, 2, C, F)
    constant, scaled = scaled[..., -1, :], scaled[..., :-1, :].unflatten(3, (edges.sites, edges.radial))
    tables = torch.einsum("pdk,lowskf->lowspdf", _gaussians(edges), scaled)  # p of knots, d of values and slopes
    tables[:, :, :, 0, :, 0] += constant[..., None, :]
    return np.stack((*edges.pairs, number.ravel(), offset < edges.near), 1), tables.float().contiguous()


def _gaussians(edges: SparseEdges) -> Tensor:
    """(knots, 2, K) from 0 to the cutoff: fading Gaussians, and their slopes times the spacing."""
    count = int(np.ceil(KNOTS * edges.cutoff * edges.sharpness * 2**0.5)) + 1
    d = torch.linspace(0, edges.cutoff, count, dtype=torch.float64)[:, None]
    away, near = edges.sharpness * (d - edges.centres.double()), 1 - (d / edges.cutoff).square()
    value = (-away.square()).exp() * near.pow(3)
    slope = -2 * edges.sharpness * away * value - 6 * d / edges.cutoff**2 * near.square() * (-away.square()).exp()
    return torch.stack((value, slope * edges.cutoff / (count - 1)), 1)


def _flat(*parts: Tensor) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])

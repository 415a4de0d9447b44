"""``_edges`` in single precision by compiled code, which keeps a whole edge in registers; where there is a compiler."""

from __future__ import annotations

import copy
import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate import native
from cgsurrogate.networks._edges import FAINT, Flat

SOURCE = Path(__file__).with_name("_edges.c")
EDGE_BYTES = 16  # four whole numbers


def build(flat: Flat) -> Compiled | Flat:
    """The same edges by compiled code; themselves where that is not possible."""
    if flat.weights.dtype != torch.float32 or flat.weights.device.type != "cpu":
        return flat
    features = flat.weights.shape[2]
    code = native.library(SOURCE, FEATURES=features, RADIAL=flat.radial, SITES=flat.sites)
    return flat if code is None else Compiled(flat, code)


class Compiled:
    """Undirected edges, one at a time, in an order that keeps the weights of an offset in the nearest cache."""

    def __init__(self, flat: Flat, code: ctypes.CDLL):
        self.code, self.count, self.sites, self.near = code, flat.count, flat.sites, flat.near
        code.list_edges.restype = ctypes.c_int64
        self.rows, self.present, self.pairs, self.cutoff = flat.rows, flat.present, flat.pairs, flat.cutoff
        self.sharpness, self.centres = flat.sharpness, flat.centres
        self.size = flat.sites * 2 * flat.radial  # numbers that an edge keeps
        self.floats = self.pairs.shape[1] * self.size
        self.room: tuple[Tensor, Tensor] = torch.empty(0, EDGE_BYTES, dtype=torch.uint8), torch.empty(0)
        offset = np.minimum(self.pairs[1] - self.pairs[0], self.near)
        bits = (self.present * 2 ** np.arange(self.sites)[:, None]).sum(0)
        kinds, number = np.unique(offset * 2**self.sites + bits, return_inverse=True)
        away, there = torch.as_tensor(kinds >> self.sites), torch.as_tensor(kinds)[:, None] >> torch.arange(self.sites)
        mask = torch.nn.functional.pad((there & 1).float().repeat_interleave(flat.radial, 1), (0, 1), value=1.0)
        partner = torch.tensor(flat.partner)[:, None] * flat.radial + torch.arange(flat.radial)
        swapped = torch.cat((partner.flatten(), torch.tensor([self.sites * flat.radial])))
        ahead, behind = mask * flat.by_offset[self.near + away], mask * flat.by_offset[self.near - away][:, swapped]
        both = ahead[..., None] * flat.weights[:, None], behind[..., None] * flat.weights[:, None, swapped]
        self.weights = torch.stack(both, 2).contiguous()  # (L, kinds, 2, C, F)
        self._take(np.stack((*self.pairs, number.ravel(), offset < self.near), 1), self.present)

    def _take(self, table: np.ndarray, present: np.ndarray) -> None:
        self.table, self.there = torch.as_tensor(table.astype(np.int32)), torch.as_tensor(present.astype(np.uint8))

    def chosen(self, rows: np.ndarray) -> Compiled:
        """For one replica, of whose distances only these rows are below the cutoff."""
        total = self.pairs.shape[1]
        pairs = np.union1d(np.flatnonzero(self.pairs[1] - self.pairs[0] < self.near), rows % total)
        new = copy.copy(self)
        new.rows = self.rows.reshape(self.sites, total, 2)[:, pairs].reshape(-1, 2)
        new._take(self.table.numpy()[pairs], self.present[:, pairs])
        return new

    def at(self, distances: Tensor) -> tuple[Any, ...]:
        """(D, B) -> what the other methods need: edges and channels, which last until the next call."""
        distances = distances.contiguous()
        begin = (
            *(ctypes.c_int64(n) for n in (distances.shape[1], self.count, len(self.table))),
            *(_at(t) for t in (self.table, self.there, distances, self.centres)),
            *(ctypes.c_float(x) for x in (self.sharpness, self.cutoff, FAINT)),
        )
        count = self.code.list_edges(*begin, None, None)
        if count > len(self.room[0]):
            more = count + count // 8
            self.room = torch.empty(more, EDGE_BYTES, dtype=torch.uint8), torch.empty(more, self.size)
        self.code.list_edges(*begin, *map(_at, self.room))
        return ctypes.c_int64(count), *self.room

    def hear(self, layer: int, edges: tuple[Any, ...], sent: Tensor) -> tuple[Tensor, Any]:
        """h (B R, F) -> m (B R, F), and what ``back`` needs."""
        out, (count, *kept) = torch.zeros_like(sent), edges
        self.code.hear(count, *map(_at, (*kept, self.weights[layer], sent, out)))
        return out, sent

    def back(
        self, layer: int, edges: tuple[Any, ...], memory: Any, felt: Tensor, along: Tensor
    ) -> Tensor:
        """dU/dm (B R, F) -> dU/dh (B R, F); adds dU/d distances to ``along`` (D, B)."""
        out, (count, *kept) = torch.zeros_like(felt), edges
        stride = ctypes.c_int64(along.numel() // self.sites)
        self.code.back(count, stride, *map(_at, (*kept, self.weights[layer], memory, felt, out, along)))
        return out


def _at(array: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.data_ptr())

"""DCD files, of which only the wanted atoms are read."""

import mdtraj
import numpy as np
import pytest

from cgsurrogate.data.formats import dcd_files
from cgsurrogate.data.formats.headers import dcd_layout


@pytest.fixture
def dcd(peptide, atoms, tmp_path):
    made = mdtraj.Trajectory(atoms, peptide.topology)
    made.unitcell_vectors = np.tile(np.diag([3.0, 4.0, 5.0]).astype("f4"), (len(atoms), 1, 1))
    made.save(str(tmp_path / "t.dcd"))
    return tmp_path / "t.dcd"


@pytest.mark.parametrize("chosen", [[2, 3, 4], [7, 0, 5]])
@pytest.mark.parametrize("frames", [range(40), range(3, 38, 5)])
@pytest.mark.parametrize("most", [1, 200, 1 << 20])
def test_pieces_are_what_mdtraj_reads(chosen, frames, most, dcd, peptide):
    pieces = list(dcd_files.blocks(str(dcd), frames, most, np.array(chosen)))
    with mdtraj.open(str(dcd)) as handle:
        expected = handle.read()[0][list(frames)][:, chosen] / 10
    np.testing.assert_array_equal(np.concatenate([xyz for xyz, _ in pieces]), expected)
    cells = np.concatenate([cell for _, cell in pieces])
    np.testing.assert_allclose(cells, np.tile(np.diag([3.0, 4, 5]), (len(frames), 1, 1)), atol=1e-6)


def test_a_record_of_another_length_is_named_by_its_frame(dcd):
    held, data = dcd_layout(dcd), bytearray(dcd.read_bytes())
    data[held.begin + 5 * held.frame + dcd_files.CELL] ^= 1
    dcd.write_bytes(data)
    with pytest.raises(ValueError, match="frame 5 has a record of another length"):
        list(dcd_files.blocks(str(dcd), range(40), 1 << 20, np.arange(3)))


def test_the_other_byte_order_gives_the_same(dcd, tmp_path):
    held = dcd_layout(dcd)
    data = np.frombuffer(dcd.read_bytes(), np.uint8)
    kinds = np.dtype([("cell", [("a", "i4"), ("six", "f8", 6), ("b", "i4")]), ("rest", "i4", (3, held.atoms + 2))])
    body = data[held.begin :].view(kinds).byteswap()
    head = data[: held.begin].copy()
    for begin, end in ((0, 4), (8, 96), (len(head) - 12, len(head))):
        head[begin:end] = head[begin:end].view("i4").byteswap().view(np.uint8)
    title = int.from_bytes(data[92:96].tobytes(), "little")
    for begin in (96, 96 + title):
        head[begin : begin + 4] = head[begin : begin + 4][::-1]
    (tmp_path / "swapped.dcd").write_bytes(head.tobytes() + body.tobytes())
    one, other = (
        next(dcd_files.blocks(str(path), range(9), 1 << 20, np.arange(3))) for path in (dcd, tmp_path / "swapped.dcd")
    )
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])

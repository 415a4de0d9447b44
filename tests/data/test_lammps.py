"""Dumps of LAMMPS: atoms by their ids, whatever the order, the columns and the box; nothing is assumed of units."""

import numpy as np
import pytest
from written_files import write_lammps

from cgsurrogate.core import registry
from cgsurrogate.data.formats.sources import Reader, sources
from cgsurrogate.data.read import Input, read

CA = registry.builder("mappings", "ca")
KCAL = 41.84  # kJ/mol/nm in kcal/mol/A
ORIGIN, CELL = np.array([-1.0, 4.0, 0.0]), np.array([[56.0, 0, 0], [5, 44, 0], [4, -2, 40]])


def refused(*arguments, **options) -> str:
    with pytest.raises(ValueError) as caught:
        read(Input(*arguments, 300, **options), CA)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400
    return text


@pytest.mark.parametrize("columns", ["id type x y z", "id type xu yu zu", "id element x y z"])
def test_atoms_are_those_of_their_ids(columns, peptide, peptide_pdb, atoms, tmp_path):
    write_lammps(tmp_path / "t.lammpstrj", atoms * 10, columns, names="element" in columns)
    found = read(Input(peptide_pdb, [tmp_path / "t.lammpstrj"], 300, dt=2, length_unit="A"), CA)
    np.testing.assert_allclose(found.positions, CA(peptide.topology).positions(atoms), atol=1e-5)
    some = read(Input(peptide_pdb, [tmp_path / "t.lammpstrj"], 300, 2, begin=6, stride=3, length_unit="A"), CA)
    np.testing.assert_array_equal(some.positions, found.positions[3::3])


@pytest.mark.parametrize("box", ["tilted", "general"])
def test_scaled_positions_and_cells_of_a_tilted_box(box, atoms, tmp_path):
    wanted = atoms * 10 + 30
    if box == "tilted":  # bounds are those around the tilted box
        low = ORIGIN + np.array([0, min(0, CELL[2, 1]), 0])
        high = ORIGIN + np.array([CELL[0, 0] + 9, CELL[1, 1], 40])
        bounds = "".join(f"{a} {b} {t}\n" for a, b, t in zip(low, high, (5, 4, -2), strict=True))
        text, columns = f"ITEM: BOX BOUNDS xy xz yz pp pp pp\n{bounds}", "id type xs ys zs"
        given = (wanted - ORIGIN) @ np.linalg.inv(CELL)
    else:
        rows = "".join(f"{' '.join(map(str, row))} {o}\n" for row, o in zip(CELL, ORIGIN, strict=True))
        text, columns, given = f"ITEM: BOX BOUNDS abc origin pp pp pp\n{rows}", "id type x y z", wanted
    write_lammps(tmp_path / "t.dump", given, columns, box=text)
    (source,) = sources(tmp_path / "t.dump", None, "A")
    with Reader() as reader:
        ((xyz, cells),) = reader.blocks(source, np.arange(62), range(40))
    np.testing.assert_allclose(xyz, wanted / 10, atol=1e-4)
    np.testing.assert_allclose(cells[7], CELL / 10)


def test_forces_are_read_in_the_unit_that_is_given(peptide, peptide_pdb, atoms, tmp_path):
    forces = np.random.default_rng(7).normal(0, 700, atoms.shape)
    write_lammps(tmp_path / "dump.0", atoms * 10, "id type x y z fx fy fz", forces / KCAL)
    assert "--length-unit" in refused(peptide_pdb, [tmp_path / "dump.0"])
    assert "--dt" in refused(peptide_pdb, [tmp_path / "dump.0"], length_unit="A")
    assert "--force-unit" in refused(peptide_pdb, [tmp_path / "dump.0"], length_unit="A", dt=1)
    units = {"length_unit": "A", "force_unit": "kcal/mol/A", "aggregate": "basic"}
    found = read(Input(peptide_pdb, [tmp_path / "dump.0"], 300, dt=1, **units), CA)
    np.testing.assert_allclose(found.forces, CA(peptide.topology).forces(forces), atol=0.02)


def test_a_dump_that_states_its_units_and_times_needs_nothing(peptide, peptide_pdb, atoms, tmp_path):
    forces = np.random.default_rng(7).normal(0, 700, atoms.shape)
    path = tmp_path / "t.dump"
    write_lammps(
        path, atoms * 10, "id type x y z fx fy fz", forces / KCAL, more="ITEM: UNITS\nreal\nITEM: TIME\nTIME\n"
    )
    text, count = path.read_text(), iter(range(40))
    path.write_text("\n".join(str(next(count) * 2000.0) if line == "TIME" else line for line in text.split("\n")))
    found = read(Input(peptide_pdb, [path], 300, aggregate="basic"), CA)
    assert found.dt == 2.0
    np.testing.assert_allclose(found.forces, CA(peptide.topology).forces(forces), atol=0.02)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda text: text[:-1], "--recover"),
        (lambda text: text[:-2000], "--recover"),
        (lambda text: text.replace("id type", "number type"), "no column id"),
        (lambda text: text.replace("TIMESTEP\n500\n", "TIMESTEP\n0\n"), "split the file"),
        (lambda text: text.replace("\n7 1 ", "\n8 1 ", 1), "once"),
        (lambda text: text.replace("ITEM: TIMESTEP\n1000\n", "xyz\n1000\n"), "frame 2"),
        (lambda text: text.replace("\n62\n", "\n61\n", 1), "frame 1"),
        (lambda text: "hello\n" + text, "no dump"),
    ],
)
def test_a_damaged_dump_is_one_line(change, message, peptide_pdb, atoms, tmp_path):
    path = tmp_path / "t.dump"
    write_lammps(path, atoms * 10)
    path.write_text(change(path.read_text()))
    text = refused(peptide_pdb, [path], dt=1, length_unit="A")
    assert "t.dump" in text and message in text

"""Structures as users have them, written here as PDB text: what is mapped, what is left out, and what is said."""

import itertools

import mdtraj
import numpy as np
import pytest

from cgsurrogate.core import bead_types, registry
from cgsurrogate.data import contents, topology_facts
from cgsurrogate.geometry.molecule import Molecule

BACKBONE = {"N": (0.0, 0.0, 0.0), "CA": (1.2, 0.8, 0.0), "C": (2.4, 0.0, 0.0), "O": (2.4, -1.2, 0.0)}  # A
SIDE = {
    "ALA": "CB",
    "ASH": "CB CG OD1 OD2 HD2",
    "CYM": "CB SG",
    "CYX": "CB SG",
    "GLH": "CB CG CD OE1 OE2 HE2",
    "HID": "CB CG ND1 HD1 CE1 NE2 CD2",
    "HIP": "CB CG ND1 HD1 CE1 NE2 HE2 CD2",
    "LYN": "CB CG CD CE NZ HZ2 HZ3",
    "MSE": "CB CG SE CE",
    "NLE": "CB CG CD CE",
    "SEP": "CB OG P O1P O2P O3P",
}
ELEMENTS = {"SE": "Se", "P": "P", "NA": "Na", "CL": "Cl"}
KINDS = ("ca", "ca_cb", "backbone", "backbone_sidechain", "martini", "heavy")


class Writer:
    """PDB lines with CONECT records; a chain along x, a residue every 3.6 A."""

    def __init__(self):
        self.lines, self.bonds, self.serial, self.residue = [], [], 0, 0

    def atom(self, name, residue, place, chain="A", record="HETATM"):
        self.serial += 1
        symbol = ELEMENTS.get(name, name[0])
        padded = f" {name:<3}" if len(symbol) == 1 else f"{name:<4}"
        x, y, z = place
        self.lines.append(
            f"{record:<6}{self.serial:5d} {padded} {residue:>3} {chain}{self.residue:4d}    "
            f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {symbol.upper():>2}"
        )
        return self.serial

    def chain(self, sequence, letter="A", start=0.0):
        """Residues by name; without hydrogens, but those that make the protonation state."""
        before, last = None, len(sequence) - 1
        for k, name in enumerate(sequence):
            self.residue += 1
            shift = np.array([3.6 * k, start, 0])
            at = {n: self.atom(n, name, shift + place, letter) for n, place in BACKBONE.items()}
            for j, n in enumerate(SIDE[name].split()):
                at[n] = self.atom(n, name, shift + np.array([1.2, 2.2 + 1.4 * (j // 2), 1.3 * (j % 2)]), letter)
            if k == last:
                at["OXT"] = self.atom("OXT", name, shift + np.array([3.4, 0.8, 0]), letter)
            self.bonds += [(at[a], at[b]) for a, b in _bonds(at)]
            if before:
                self.bonds.append((before, at["N"]))
            before = at["C"]
            yield at
        self.lines.append("TER")

    def topology(self, folder):
        path = folder / "structure.pdb"
        conect = [f"CONECT{a:5d}{b:5d}" for a, b in self.bonds]
        path.write_text("\n".join([*self.lines, *conect, "END", ""]))
        return mdtraj.load(str(path)).topology


def _bonds(at):
    pairs = [("N", "CA"), ("CA", "C"), ("C", "O"), ("C", "OXT"), ("CA", "CB")]
    known = {"HD1": "ND1", "HD2": "OD2", "HE2": "OE2" if "OE2" in at else "NE2", "HZ2": "NZ", "HZ3": "NZ"}
    side = [n for n in at if n not in (*BACKBONE, "OXT")]
    for before, name in itertools.pairwise(side):
        pairs.append((known.get(name, before if before not in known else "CG"), name))
    return [(a, b) for a, b in pairs if a in at and b in at]


def build(folder, *sequences, more=lambda writer: None):
    writer = Writer()
    for number, sequence in enumerate(sequences):
        list(writer.chain(sequence, "ABCD"[number], 12.0 * number))
    more(writer)
    return writer.topology(folder)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in SIDE if name != "ALA"])
def test_every_residue_is_mapped_by_every_mapping(tmp_path, kind, name):
    topology = build(tmp_path, ("ALA", name, "ALA"))
    mapping = registry.build("mappings", kind, topology)
    own = [i for i, r in enumerate(mapping.beads.residues) if r == 1]
    assert own and sorted(set(mapping.beads.residues)) == [0, 1, 2]
    assert len(set(Molecule.of(mapping.beads).parts.tolist())) == 1
    usual = bead_types.canonical(name) in {residue for residue, _ in bead_types.TABLE}
    assert usual == (name not in ("NLE", "SEP"))
    said = contents.words(topology, mapping)
    assert any(f"without a type of their own: {name}" in line for line in said) == (not usual)


@pytest.mark.parametrize(
    "name, usual", [("ASH", "ASP"), ("GLH", "GLU"), ("HID", "HIS"), ("LYN", "LYS"), ("MSE", "MET")]
)
def test_all_beads_of_a_protonation_state_have_the_types_of_the_usual_residue(tmp_path, name, usual):
    beads = registry.build("mappings", "heavy", build(tmp_path, ("ALA", name, "ALA"))).beads
    own = [(n, t) for r, n, t in zip(beads.residues, beads.names, beads.types, strict=True) if r == 1]
    assert all(t == bead_types.number(usual, "SD" if n == "SE" else n) != bead_types.OTHER for n, t in own)


def test_a_bridge_between_two_chains_joins_them(tmp_path):
    def bridge(writer):
        sulfurs = [
            k for k, line in enumerate((x for x in writer.lines if x != "TER"), 1) if line[12:16].strip() == "SG"
        ]
        writer.bonds.append(tuple(sulfurs))

    topology = build(tmp_path, ("ALA", "CYX", "ALA"), ("ALA", "CYX"), more=bridge)
    mapping = registry.build("mappings", "backbone", topology)
    assert len(set(Molecule.of(mapping.beads).parts.tolist())) == 1
    assert Molecule.of(mapping.beads).links == ()
    said = contents.words(topology, mapping)
    assert "5 residues in 2 chains" in said[0]
    assert any("disulfide CYS2-CYS5: held by a bond of beads that joins two chains" in line for line in said)


def test_water_ions_and_ligands_are_counted_and_named(tmp_path):
    def more(writer):
        for name, atoms in (
            ("HOH", ["O"]),
            ("HOH", ["O"]),
            ("NA", ["NA"]),
            ("CL", ["CL"]),
            ("LIG", ["C1", "C2", "O1"]),
        ):
            writer.residue += 1
            for k, atom in enumerate(atoms):
                writer.atom(atom, name, (0.0, -8.0 - writer.residue, 1.4 * k), "X")

    topology = build(tmp_path, ("ALA", "ALA"), ("ALA", "ALA", "ALA"), more=more)
    mapping = registry.build("mappings", "backbone", topology)
    first, second = contents.words(topology, mapping)
    assert "5 residues in 2 chains" in first and second.startswith("2 parts without a bond to each other")
    assert "left out: 2 water, 2 ions (1 NA, 1 CL), 1 other residue or ligand (1 LIG)" in first
    assert "left out unless a custom mapping names it" in topology_facts.facts(topology)[-1]

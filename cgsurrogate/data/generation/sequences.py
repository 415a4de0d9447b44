"""All-atom starting structures of peptides from their sequences (PeptideBuilder; Tien et al., PeerJ 1, e80 (2013))."""

from __future__ import annotations

import dataclasses
import io
import random
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import filesystem
from cgsurrogate.data.generation.protocol import CAPS

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
PHI, PSI = -120, 130  # degrees, extended
PH = 7.0
MOST = 100  # residues


@dataclasses.dataclass(frozen=True)
class Peptide:
    """A sequence in one-letter code and its ends, one of ``CAPS``.

    >>> Peptide("GPSV", "ace-nme").name
    'ACE-GPSV-NME'
    """

    sequence: str
    caps: str = "none"

    def __post_init__(self) -> None:
        if self.caps not in CAPS:
            raise ValueError(f"expected ends out of {', '.join(CAPS)}, got {self.caps!r}")
        if not 1 <= len(self.sequence) <= MOST:
            raise ValueError(f"expected a sequence of 1 to {MOST} residues, got {len(self.sequence)}")
        for place, letter in enumerate(self.sequence, 1):
            if letter not in LETTERS:
                raise ValueError(f"{self.sequence}: residue {place} is {letter!r}; expected letters out of {LETTERS}")

    @property
    def name(self) -> str:
        return f"ACE-{self.sequence}-NME" if self.caps == "ace-nme" else self.sequence


def read(path: Path, caps: str = "none") -> list[Peptide]:
    """Peptides of a file with a sequence a line, or in FASTA format; ``ACE-GPSV-NME`` in it is capped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no sequence, a letter that is none, or a sequence twice.
    """
    lines = [line.strip() for line in filesystem.existing(path, "a file of sequences").read_text().splitlines()]
    if any(line.startswith(">") for line in lines):
        records = ("".join(f"\n{line}\n" if line.startswith(">") else line for line in lines)).splitlines()
        lines = [record for record in records if not record.startswith(">")]
    try:
        found = [parse(line.partition("#")[0], caps) for line in lines if line.partition("#")[0].strip()]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not found:
        raise ValueError(f"{path} holds no sequence; expected one in one-letter code a line, or FASTA")
    return distinct(found)


def distinct(peptides: list[Peptide]) -> list[Peptide]:
    """The same.

    Raises:
        ValueError: one stands twice.
    """
    twice = next((one for k, one in enumerate(peptides) if one in peptides[:k]), None)
    if twice is not None:
        raise ValueError(f"{twice.name} is given twice; several runs of it are made with --runs")
    return peptides


def parse(text: str, caps: str = "none") -> Peptide:
    """``GPSV``, or ``ACE-GPSV-NME``."""
    sequence = text.strip().upper()
    if sequence.startswith("ACE-") and sequence.endswith("-NME"):
        return Peptide(sequence[4:-4], "ace-nme")
    return Peptide(sequence, caps)


def heavy_atoms(peptide: Peptide) -> Any:
    """A chain of Biopython: extended, without hydrogens.

    Raises:
        RuntimeError: PeptideBuilder is not installed.
    """
    try:
        import PeptideBuilder
    except ImportError:
        raise RuntimeError(
            "structures of sequences need PeptideBuilder; install it with: pip install 'cgsurrogate[sequences]'"
        ) from None
    capped = peptide.caps == "ace-nme"
    sequence = f"G{peptide.sequence}G" if capped else peptide.sequence  # of glycines at the ends caps are made
    with np.errstate(invalid="ignore"):  # where it looks at an angle that glycine does not have
        built = PeptideBuilder.make_structure(sequence, [PHI] * len(sequence), [PSI] * len(sequence))
    chain = next(built.get_chains())
    if capped:
        _cap(chain)
    else:
        PeptideBuilder.add_terminal_OXT(built)
    return chain


def structure(peptide: Peptide, forcefield: Any) -> tuple[Any, Any]:
    """(topology, positions) of OpenMM: extended, with hydrogens for pH 7.

    Raises:
        RuntimeError: PeptideBuilder is not installed.
        ValueError: the force field has no parameters for it.
    """
    chain = heavy_atoms(peptide)
    import openmm
    from Bio import PDB
    from openmm import app

    text = io.StringIO()
    libraries: Any = PDB
    writer = libraries.PDBIO()
    writer.set_structure(chain)
    writer.save(text)
    text.seek(0)
    built = app.PDBFile(text)
    modeller = app.Modeller(built.topology, built.positions)
    before = random.getstate()
    random.seed(0)  # hydrogens begin at random places
    try:
        reference = openmm.Platform.getPlatformByName("Reference")  # the same numbers every time
        modeller.addHydrogens(forcefield, pH=PH, platform=reference)
    except ValueError as error:
        line = filesystem.first_line(error)
        raise ValueError(f"{peptide.name}: the force field has no parameters for it ({line}); choose another") from None
    finally:
        random.setstate(before)
    return modeller.topology, modeller.positions


def _cap(chain: Any) -> None:
    """Make the first glycine acetyl, whose methyl is its CA, and the last N-methylamide, whose methyl is its CA."""
    first, *_, last = chain.get_residues()
    for residue, name, methyl, kept in ((first, "ACE", "CH3", ("CA", "C", "O")), (last, "NME", "C", ("N", "CA"))):
        residue.resname = name
        for atom in [atom for atom in residue if atom.id not in kept]:
            residue.detach_child(atom.id)
        atom = residue["CA"]
        residue.detach_child("CA")
        atom.id = atom.name = methyl
        atom.fullname = f" {methyl:<3}"
        residue.add(atom)

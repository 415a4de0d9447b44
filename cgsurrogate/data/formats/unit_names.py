"""Units as files and people write them: factors to nm, ps, kJ/mol and kJ/mol/nm; and the likely unit of forces."""

from __future__ import annotations

import math
import re

ENERGY = {"kj": 1.0, "kilojoule": 1.0, "kcal": 4.184, "kilocalorie": 4.184}  # and then per mole
PARTICLE = {"ev": 96.4853321, "electronvolt": 96.4853321, "hartree": 2625.4996395, "ha": 2625.4996395}
LENGTH = {"nm": 1.0, "nanometer": 1.0, "nanometre": 1.0, "a": 0.1, "å": 0.1, "ang": 0.1, "angstrom": 0.1}
LENGTH |= {"pm": 1e-3, "picometer": 1e-3, "bohr": 0.0529177211}
TIME = {"ps": 1.0, "picosecond": 1.0, "fs": 1e-3, "femtosecond": 1e-3, "ns": 1e3, "nanosecond": 1e3}
SECOND_LAW = {"ps": 1.0, "picosecond": 1.0}  # amu nm/ps^2 is kJ/mol/nm

FORCES = ("kJ/mol/nm", "kJ/mol/A", "kcal/mol/A", "eV/A", "hartree/bohr")
TYPICAL = 700.0  # kJ/mol/nm, root mean square of one component on an atom of a protein at 300 K, bonds to H rigid
PLAUSIBLE = (150.0, 4000.0)  # kJ/mol/nm


def length(text: str) -> float:
    """nm in one unit of length.

    >>> length("Angstrom")
    0.1
    """
    return _one(text, LENGTH, "length", "nm, A, pm or bohr")


def time(text: str) -> float:
    """ps in one unit of time."""
    return _one(text, TIME, "time", "ps, fs or ns")


def energy(text: str) -> float:
    """kJ/mol in one unit of energy.

    >>> energy("kcal/mol")
    4.184
    """
    match _words(text):
        case [first, "mol" | "mole"] if first in ENERGY:
            return ENERGY[first]
        case [first] if first in PARTICLE:
            return PARTICLE[first]
    raise ValueError(f"expected a unit of energy (kJ/mol, kcal/mol, eV or hartree), got {text[:40]!r}")


def force(text: str) -> float:
    """kJ/mol/nm in one unit of force, however it is written.

    >>> force("kJ mol-1 nm-1"), force("kJ/(mol*nm)"), round(force("kilocalorie/mole/angstrom"), 6)
    (1.0, 1.0, 41.84)
    """
    words = _words(text)
    match words:
        case ["amu" | "u" | "dalton", of, time_] if of in LENGTH and time_ in SECOND_LAW and re.search(r"2\s*$", text):
            return LENGTH[of]
        case [*first, of] if of in LENGTH and first and set(re.findall(r"\d+", text)) <= {"1"}:
            try:
                return energy(" ".join(first)) / LENGTH[of]
            except ValueError:
                pass
    raise ValueError(f"expected a unit of force ({', '.join(FORCES)}), got {text[:40]!r}")


def likely_force(rms: float) -> tuple[str, bool]:
    """Which unit forces probably have, by the root mean square of their components; and whether it can be trusted.

    Bonded forces at temperature T have a mean square near kT times the stiffness of bonds (equipartition), so that
    their size hardly depends on the protein: near 700 kJ/mol/nm.
    """
    if not rms > 0:
        return FORCES[0], False
    name = min(FORCES, key=lambda unit: abs(math.log(rms * force(unit) / TYPICAL)))
    return name, plausible(rms * force(name))


def plausible(rms: float) -> bool:
    """Whether atoms of a protein can feel such forces, kJ/mol/nm."""
    return PLAUSIBLE[0] < rms < PLAUSIBLE[1]


def _one(text: str, known: dict[str, float], what: str, expected: str) -> float:
    words = _words(text)
    if len(words) == 1 and words[0] in known:
        return known[words[0]]
    raise ValueError(f"expected a unit of {what} ({expected}), got {text[:40]!r}")


def _words(text: str) -> list[str]:
    found = re.findall(r"[a-zå]+", text.lower().replace("\u212b", "å"))
    singular = [word[:-1] if word.endswith("s") and len(word) > 3 else word for word in found]
    return [word for word in singular if word != "per"]

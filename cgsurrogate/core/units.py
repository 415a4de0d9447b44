"""The one unit system: nm, ps, kJ/mol, amu, K.

amu (nm/ps)^2 equals kJ/mol, so no formula in this package carries a conversion factor.
"""

HOTTEST = 1e5  # K
BOLTZMANN = 0.008314462618  # kJ/mol/K (CODATA 2018, exact: R in kJ)


def thermal_energy(temperature: float) -> float:
    """kT in kJ/mol at a temperature in K.

    >>> round(thermal_energy(300.0), 4)
    2.4943
    """
    if not 0 < temperature <= HOTTEST:
        raise ValueError(
            f"temperature must be above 0 K and at most {HOTTEST:g} K, got {temperature}; state it in kelvin"
        )
    return BOLTZMANN * temperature

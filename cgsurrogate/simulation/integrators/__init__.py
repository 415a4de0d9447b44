"""Langevin integrators of an energy, a file each."""

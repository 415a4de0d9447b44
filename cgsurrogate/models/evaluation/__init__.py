"""Energies and forces of many replicas at once, as fast as they go."""

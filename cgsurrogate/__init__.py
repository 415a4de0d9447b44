"""Learned coarse-grained surrogates of protein dynamics, compared honestly with their all-atom reference."""

__version__ = "0.1.0"

"""Collective variables, a file each."""

from cgsurrogate.cvs._function import builder as adapt

__all__ = ["adapt"]  # what a user's file without ``build`` is taken for

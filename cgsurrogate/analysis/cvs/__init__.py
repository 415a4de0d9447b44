"""Collective variables, a file each."""

from cgsurrogate.analysis.cvs._user_function import builder as adapt

__all__ = ["adapt"]  # what a user's file without ``build`` is taken for

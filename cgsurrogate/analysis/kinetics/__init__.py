"""Markov models, timescales, macrostates and transitions of one ensemble."""

"""A molecule as a graph and in internal coordinates: measured, differentiated, rotated, rebuilt."""

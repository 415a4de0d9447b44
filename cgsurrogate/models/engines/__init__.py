"""A force field inside the programs that people already run: OpenMM, ASE, and C++."""

"""Any propagator becomes frames: integrators, Monte Carlo moves, replica exchange, checkpoints."""

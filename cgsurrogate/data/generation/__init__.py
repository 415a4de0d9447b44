"""All-atom reference trajectories made with OpenMM."""

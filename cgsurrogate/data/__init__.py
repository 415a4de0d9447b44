"""All-atom trajectories become frames of beads, and back."""

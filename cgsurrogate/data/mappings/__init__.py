"""From atoms to beads, a file each."""

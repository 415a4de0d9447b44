"""Monte Carlo moves of dihedrals and angles, and the sampler that mixes them with dynamics."""

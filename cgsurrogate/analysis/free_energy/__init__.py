"""Free-energy surfaces by histogram and kernel, and divergences between densities."""

"""Networks of the force field, a file each."""

"""What a force field is trained by, a file each."""

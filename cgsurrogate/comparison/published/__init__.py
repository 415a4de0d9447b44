"""Metrics as papers print them, a file each."""

"""Numbers with errors about one ensemble."""

"""Physical terms that are fitted to one coordinate each, a file each."""

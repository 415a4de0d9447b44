"""The nouns that all share, units, statistics of samples, and how kinds and files are found."""

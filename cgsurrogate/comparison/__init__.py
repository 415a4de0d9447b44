"""Several ensembles against a reference: distances, noise floor, verdict, published benchmarks."""

"""Whether an ensemble agrees with another: one joint permutation test of independent blocks, with its power."""

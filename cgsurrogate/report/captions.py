"""What stands below each figure."""

DISTANCES = (
    "Jensen\u2013Shannon distance (square root of the divergence, natural logarithm) between each ensemble and the "
    "reference; lines are 95 % bootstrap intervals. Grey: the noise floor, reference against itself (line: "
    "median; top: 95 % quantile). A bar that ends inside the grey cannot be told from the reference with the data"
    " at hand."
)
PROFILES = (
    "Bands: one standard error, by block bootstrap over runs. kT = {kT:.2f} kJ/mol. Bins without samples are left out."
)
SURFACES = (
    "Above: free energy on one colour scale, with contours every kT = {kT:.2f} kJ/mol up to 5 kT (drawn from the "
    "histogram smoothed by one bin; the colours are not smoothed). Below: standard error of the reference, and each "
    "ensemble minus the reference after the best common shift; red is too high (visited too rarely), blue too low"
    " (too often). Grey bins have no samples."
)
TIMESCALES = (
    "Implied timescale against lag; bands are 95 % intervals. Within the shaded region the timescale is shorter "
    "than the lag and cannot be resolved; a curve is to be trusted where it is flat above it. * Time of a "
    "simulation with a coarse-grained force field is not physical time."
)
GEOMETRY = (
    "Every bond and angle minus its mean in the reference, in standard deviations of the reference; the outermost"
    " bins hold all that lies beyond. Closest approach: the least distance in a frame of beads more than three "
    "bonds apart. Grey area: the reference."
)
TRAINING = (
    "Loss on the training runs and on runs held out from training. The model of the lowest held-out loss (ring) "
    "is kept."
)
RAMACHANDRAN = (
    "A row for each ensemble; first all residues together, then {what}. One colour scale, contours every kT up to "
    "5 kT. Angles in degrees. Grey bins have no samples."
)

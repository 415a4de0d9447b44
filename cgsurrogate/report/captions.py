"""What stands below each figure and above each table."""

from __future__ import annotations

from cgsurrogate.comparison.comparison import Comparison

DISTANCES = (
    "Jensen\u2013Shannon distance (square root of the divergence, natural logarithm) between each ensemble and the "
    "reference; lines are 95 % bootstrap intervals. Grey: the noise floor, reference against itself (line: "
    "median; top: 95 % quantile). A bar that ends inside the grey is no proof of agreement."
)
PROFILES = (
    "Free energy -kT ln p above its minimum; kT = {kT:.2f} kJ/mol. {line} Bands: one standard error, by block "
    "bootstrap over runs."
)
KERNEL = "Lines: kernel estimate; points: histogram of reference and surrogates, shifted to agree on average."
HISTOGRAM = "Lines: histogram; bins without samples are left out."
SURFACES = (
    "Above: free energy on one colour scale, with contours every kT = {kT:.2f} kJ/mol up to 5 kT (of {contours}; the "
    "colours are the histogram). Then: standard error of each, by block bootstrap over runs. Below: each ensemble "
    "minus the reference after the best common shift; red is too high (visited too rarely), blue too low (too often)."
    "{noise} Grey bins have no samples."
)
NOISE = (
    " The first of these panels is another part of the all-atom data minus the reference: differences of that size are"
    " sampling noise."
)
TIMESCALES = (
    "Implied timescale against lag; bands are 95 % intervals. Within the shaded region the timescale is shorter "
    "than the lag and cannot be resolved; a curve is to be trusted where it is flat above it. * Time of a "
    "simulation with a coarse-grained force field is not physical time."
)
GEOMETRY = (
    "Every bond and angle minus its mean in the reference, in standard deviations of the reference; the outermost"
    " bins hold all that lies beyond. Closest approach: the least distance in a frame of beads more than three "
    "bonds apart. Grey area: the reference. Extrapolation score, for a force field: how new the surroundings of the "
    "newest bead of a frame are to it; grey: runs of the training data that were set aside for this."
)
TRAINING = (
    "Loss on the training runs and on validation runs, a part of the training data that is set aside to choose the "
    "model: that of the lowest validation loss (ring) is kept. The reference is in neither."
)
RAMACHANDRAN = (
    "A row for each ensemble; first all residues together, then {what}. One colour scale, contours every kT up to "
    "5 kT. Angles in degrees. Grey bins have no samples."
)
POPULATIONS = (
    "Left: share of the frames in each state; what belongs to no state is left out. Right: free energy above the first "
    "state, -kT ln(p / p first). Lines are 95 % intervals, by block bootstrap over runs. Intervals that overlap are "
    "no proof of agreement."
)
CHECK = (
    "Probability to be in a state again after a lag, having been in it. Lines: predicted by the Markov state model at "
    "its own lag, with its 95 % band. Points: counted in the trajectories, lines 95 % intervals (moved sideways a "
    "little where several are shown). Where points leave the band, the states have memory and the model's times are "
    "not to be trusted."
)
NETWORK = (
    "Area of a circle: population. Numbers beside an arrow: mean first-passage time by any route, with its 95 % "
    "interval (where there is no Markov state model: the counted rate). Thickness falls by the same step for each "
    "factor of ten in the rate, on one scale for all ensembles of physical time. Of more than three states only the "
    "pairs of greatest flux in the reference are joined; the table holds all."
)
SURVIVAL = (
    "Share of the dwell times in a state that are longer than a given time. A straight line means that leaving has one "
    "rate; a bend, that the state is made of several."
)
CONTACTS = (
    "Share of the frames in which two residues lie within {cutoff:.2g} nm. Above the diagonal the reference, below it "
    "the ensemble named; underneath, ensemble minus reference. Neighbours along the chain (grey) are left out."
)
CHAIN = (
    "Root mean square fluctuation of each residue about the mean structure, after superposition, and the distribution "
    "of distances between residues at least three apart (grey area: the reference). Bands: 95 % intervals, by block "
    "bootstrap over runs."
)

VERDICT = (
    "How the verdict is made: the runs are cut into independent blocks, blocks of reference and ensemble are "
    "exchanged at random (a permutation test), and what is judged is tested in five families: geometry, shape, "
    "surfaces, populations, kinetics. The smallest p of all is held against the smallest p of the exchanges, so that "
    "a perfect surrogate is said to differ in {level} of cases."
)
METHODS = "docs/methods/verdict.md"
JUDGED_TABLE = (
    "The error that was found, with its 90 % interval; a factor of 1, or else an error of 0, is perfect. "
    "\u201cWould have shown\u201d: the smallest error that these data would have shown in 80 of 100 cases. Beneath the "
    "name: an error that is small enough to agree; sd is the standard deviation of the figure over the frames. "
    "\u201cKnown least\u201d names the one of many figures whose error could be largest. p is adjusted for all that is "
    "judged."
)
MARKS = {
    "agrees": "an error of any size that matters would have shown, and none did.",
    "differs": "an error was found, beyond chance.",
    "unknown": "these data would not show an error that matters; what is needed stands beside it. It is no approval.",
}
DISTANCE_TABLE = (
    "Jensen\u2013Shannon distance, 0 (same) to 0.83 (nothing in common). The floor is what an independent all-atom "
    "sample would show, with its 95 % quantile. Beneath each distance: its ratio to the floor; p, the share "
    "of independent all-atom samples that would lie as far; its 95 % interval."
)
DESCRIBED = " The verdict does not rest on these figures."
FURTHER_TABLE = (
    "The first column is the floor, what an independent all-atom sample would show, with its 95 % quantile. "
    "Beneath each value its ratio to the floor, p, the share of such samples that would lie as far, and its 95 % "
    "interval."
)
GEOMETRY_TABLE = (
    "Frames with a broken bond, a residue of the wrong chirality, beads nearer than half of the reference's closest "
    "approach, or an extrapolation score above its limit; beneath, the worst term. The cross marks broken bonds and "
    "wrong chirality, the triangle beads that are too near."
)
FIRST_PASSAGE_TABLE = (
    "Mean time from one state to the first visit of another, by any route, from the Markov state model; beneath, "
    "its 95 % interval. Time of a simulation with a coarse-grained force field is not physical time."
)
RATES_TABLE = (
    "Transitions from core to core over the time spent in the first state, with the 95 % interval of a Poisson "
    "process, and how many were seen. Rates of frames that are further apart than those of the reference are too low: "
    "they miss short visits."
)
POPULATIONS_TABLE = (
    "Population with its 95 % interval; then the free energy above the first state, -kT ln(p / p first), with its "
    "interval."
)
CONVERGENCE_TABLE = (
    "Independent frames: frames over the statistical inefficiency of the slowest coordinate. Halves of runs: "
    "Jensen\u2013Shannon distance of the first half of every run to its second half, beside the 95 % quantile of "
    "that distance between random halves; beyond it (triangle), the runs have not come to equilibrium (the worst "
    "measure is shown). Round trips: from one end of the slowest coordinate to the other and back, over all replicas."
)
REGIONS = (
    "Share of the frames in which the backbone of a residue is in a region of (\u03c6, \u03c8), with 95 % intervals. "
    "In degrees: helix, \u03c6 from \u2212160 to \u221220 and \u03c8 from \u2212120 to 50; strand, \u03c6 from "
    "\u2212180 to \u221290, and polyproline II, from \u221290 to \u221220, both with \u03c8 from 50 to 240; "
    "left-handed, \u03c6 from 0 to 160."
)
UNJUDGED = (  # what a caption says where there is no reference
    ("reference and surrogates", "each"),
    (
        "red is too high (visited too rarely), blue too low (too often)",
        "red is higher (visited more rarely), blue lower",
    ),
    (" (grey area: the reference)", ""),
    ("Grey area: the reference. ", ""),
    ("; grey: runs of the training data that were set aside for this", ""),
    (" The reference is in neither.", ""),
    ("an independent all-atom sample", "a second sample of the {name}"),
    ("independent all-atom samples", "such samples"),
    ("reference", "{name}"),
)


def worded(text: str, comparison: Comparison) -> str:
    """A caption, with the name of what the others are held against where that is no reference."""
    if comparison.reference is None:
        for there, here in UNJUDGED:
            text = text.replace(there, here.format(name=comparison.basis.name))
    return text


def profiles(comparison: Comparison) -> str:
    """Below the profiles, by whether there is a kernel estimate."""
    kernel = any(s.kernel is not None for s in comparison.basis.surfaces.values() if len(s.labels) == 1)
    return PROFILES.format(kT=comparison.basis.sample.kT, line=KERNEL if kernel else HISTOGRAM)


def surfaces(comparison: Comparison, name: str) -> str:
    """Below a surface over two variables."""
    kernel = comparison.basis.surfaces[name].kernel is not None
    contours = "the kernel estimate" if kernel else "the histogram smoothed by one bin"
    noise = any(e.role == "floor" and name in e.surfaces for e in comparison.others)
    return SURFACES.format(kT=comparison.basis.sample.kT, contours=contours, noise=NOISE if noise else "")

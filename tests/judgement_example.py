"""Made-up judgements with findings of all four marks, for tests of the report and of the terminal."""

from __future__ import annotations

from cgsurrogate.comparison.judgement import AGREES, DIFFERS, NOT_APPLICABLE, UNKNOWN, Finding, Judgement

HELD_OUT, TRAINING = "held-out runs", "training runs"
GEOMETRY = (
    Finding("bond lengths", "geometry", AGREES, "pm", 0.4, -0.2, 1.0, 1.1, 5.0, 0.41, "worst: C-N (ALA 2 to ALA 3)"),
    Finding("bond angles", "geometry", AGREES, "degrees", 0.05, -0.06, 0.16, 0.1, 1.0, 0.28, "worst: N-CA-C (ALA 3)"),
)
OMNIBUS = Finding("everything else", "shape", AGREES, p=0.31)
TOO_FEW = Finding(
    "visits to helix", "populations", UNKNOWN, "x", 1.3, 0.2, 4.1, 6.0, 2.0, 0.77, "4 visits", "about 80 ns more"
)
RATES = Finding("slow rates", "kinetics", AGREES, "x", 1.1, 0.8, 1.4, 1.4, 1.5, 0.4)
NO_TIME = Finding("slow rates", "kinetics", NOT_APPLICABLE, "x", text="its time is not physical time")
LOST = Finding(
    "visits to left-handed", "populations", DIFFERS, "x", 0.3, 0.1, 0.8, 0.5, 2.0, 0.003, "3 visits; 21 expected"
)
WARM = Finding("temperature", "shape", DIFFERS, "K", 18.0, 9.0, 27.0, 8.0, 15.0, 0.0004)
NO_BLOCKS = Finding(
    "temperature", "shape", UNKNOWN, "K", 4.0, -20.0, 28.0, 25.0, 15.0, 0.6, need="about 30 ns more of the reference"
)
COOL = Finding("temperature", "shape", AGREES, "K", 4.0, -2.0, 10.0, 8.0, 15.0, 0.5)
HEADS = {
    AGREES: "Agrees on all that was judged; an error of 8 K or a factor of 2 of a state would have shown.",
    DIFFERS: "Differs: left-handed basin 3 x too rare (p 0.003), 18 K too warm. Agrees on geometry (would have seen 0.1"
    " degree).",
    UNKNOWN: "Cannot be judged: temperature within 25 K, visits to helix within x 6; about 80 ns more are needed.",
}
FINDINGS = {
    AGREES: (*GEOMETRY, COOL, OMNIBUS, RATES),
    DIFFERS: (*GEOMETRY, WARM, OMNIBUS, LOST, TOO_FEW, NO_TIME),
    UNKNOWN: (*GEOMETRY, NO_BLOCKS, OMNIBUS, TOO_FEW, RATES),
}


def judgement(mark: str, against: str = HELD_OUT) -> Judgement:
    """One of each mark but the last, which no ensemble has as a whole; "differs" has findings of all four."""
    p = {"geometry": 0.62, "shape": 0.002 if mark == DIFFERS else 0.8, "populations": 0.012 if mark == DIFFERS else 1.0}
    notes = ("States are those of the reference.",)
    return Judgement(against, mark, HEADS[mark], FINDINGS[mark], p, 0.05, (12, 40), notes)

"""Solutions of 06-loss-and-rto."""

EXERCISES = {
    "exercise-1": {
        "right": "rto_ms = 200",
        "wrong": "rto_ms = 130",
        "says": "it is not below the least there may be",
        "secret": ["130.0", "srtt + 4"],
    },
    "exercise-2": {
        "right": "transfer(nth=(40,))",
        "wrong": "transfer(nth=(40, 41))",
        "says": "the lan loses one frame, and one only",
        "secret": ["nth=(40,)"],
    },
    "exercise-3": {
        "right": "transfer(nth=(96, 97))",
        "wrong": "transfer(nth=(41,))",
        "says": "... by a probe, not because others had arrived",
        "secret": ["97"],
    },
}

"""Solutions of 05-handshake."""

LOST = """
visit()
lan.set(loss=1.0)
lab.run({silence})
lan.set(loss=0.0)
lab.run(seconds(10))
again = "both"
"""

SILENCE = """
visit(profile="2014")
lan.set(loss=1.0)
lab.run(seconds(200))
waits = {waits}
"""

EXERCISES = {
    "exercise-1": {
        "right": LOST.format(silence="ms(1)"),
        "wrong": LOST.format(silence="seconds(2)"),
        "says": "it loses nothing else",
        "secret": ["both", "ms(1)"],
    },
    "exercise-2": {
        "right": "open_ms, page_ms = 100, 200",
        "wrong": "open_ms, page_ms = 150, 250",
        "says": "open: the number agrees with a world that was asked",
        "secret": ["100", "200"],
    },
    "exercise-3": {
        "right": SILENCE.format(waits="[3, 6, 12, 24, 48]"),
        "wrong": SILENCE.format(waits="[1, 2, 4, 8, 16, 32]"),
        "says": "the first of yours does not agree",
        "secret": ["3, 6", "48"],
    },
}

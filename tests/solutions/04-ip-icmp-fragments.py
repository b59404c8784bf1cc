"""Solutions of 04-ip-icmp-fragments."""

LOST = """
lab.reset()
boot()
tell(100)
far.set(nth={nth})
tell(6_000)
lab.run(seconds(40))
"""

EXERCISES = {
    "exercise-1": {
        "right": "near_pieces, far_pieces = 5, 13",
        "wrong": "near_pieces, far_pieces = 5, 11",
        "says": "the second lan: so many pieces cross it",
        "secret": ["13"],
    },
    "exercise-2": {
        "right": "routers = 7",
        "wrong": "routers = 57",
        "says": "with which number do packets begin here?",
        "secret": [" 7 ", "64"],
    },
    "exercise-3": {
        "right": LOST.format(nth=3),
        "wrong": LOST.format(nth=1),
        "says": "it is a piece from the middle",
        "secret": ["nth=3", "(3)"],
    },
}

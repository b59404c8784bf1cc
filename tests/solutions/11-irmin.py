"""Solutions of 11-irmin."""

EXERCISES = {
    "exercise-1": {
        "right": "contents = SET",
        "wrong": "contents = TEXT",
        "says": "it holds a set of words",
        "secret": ["SET"],
    },
    "exercise-2": {
        "right": "def highest(old, ours, theirs):\n    return max(ours, theirs)\n",
        "wrong": "def highest(old, ours, theirs):\n    return ours\n",
        "says": "it does not matter who merges whom",
        "secret": ["max("],
    },
    "exercise-3": {
        "right": "ancestors = 2",
        "wrong": "ancestors = 1",
        "says": "a store that does the same agrees",
        "secret": ["two ancestors", "is 2"],
    },
}

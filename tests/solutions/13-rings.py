"""Solutions of 13-rings."""

SLOTS = """
def slots(size):
    {body}
"""

MUST = """
def must(old, new, event):
    return {test}
"""

CONSUME = """
def consume(page, cons):
    prod = int.from_bytes(page[0:4], "little")
    {check}
    found = []
    while cons != prod:
        at = 64 + (cons & 255) * 12
        found.append(int.from_bytes(page[at : at + 4], "little"))
        cons = (cons + 1) % 2**32
    return found, cons
"""

EXERCISES = {
    "exercise-1": {
        "right": SLOTS.format(body="return 2 ** (((4096 - 64) // size).bit_length() - 1)"),
        "wrong": SLOTS.format(body="return 2 ** (4096 // size).bit_length() // 2 * 2"),
        "says": "slots(8) is 1024",
        "secret": ["bit_length", "256"],
    },
    "exercise-2": {
        "right": MUST.format(test="(new - event) % 2**32 < (new - old) % 2**32"),
        "wrong": MUST.format(test="old < event <= new or new < old"),
        "says": "and it waits for a later one",
        "secret": ["new - event", "new - old"],
    },
    "exercise-3": {
        "right": CONSUME.format(check="if (prod - cons) % 2**32 > 256: raise ValueError(prod)"),
        "wrong": CONSUME.format(check="pass"),
        "says": "came      5000 requests",
        "secret": ["prod - cons", "> 256"],
    },
}

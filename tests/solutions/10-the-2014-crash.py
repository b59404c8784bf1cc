"""Solutions of 10-the-2014-crash."""

PARSER = """
def read_options(raw):
    found, at = [], 0
    while at < len(raw) and raw[at] != 0:
        if raw[at] == 1:
            at += 1
            continue
        {guard}
        length = raw[at + 1]
        {bound}
        found.append((raw[at], bytes(raw[at + 2 : at + length])))
        at += length
    return found
"""

EXERCISES = {
    "exercise-1": {
        "right": 'shoot(b"\\x02\\x03\\x05\\x00")',
        "wrong": 'shoot(b"\\x02\\x09\\x05\\xb4")',
        "says": "it dropped something that does not reach past the header, and advances",
        "secret": ["its kind has"],
    },
    "exercise-2": {
        "right": PARSER.format(
            guard='if at + 1 == len(raw):\n            raise ValueError("cut off")',
            bound='if length < 2 or at + length > len(raw):\n            raise ValueError("bad length")',
        ),
        "wrong": PARSER.format(guard="pass", bound="pass"),
        "says": "a length of 0: it ends",
        "secret": ["length < 2", "at + length"],
    },
    "exercise-3": {"right": "most = 40", "wrong": "most = 60", "says": "there is one with so many", "secret": ["40"]},
}

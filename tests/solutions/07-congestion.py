"""Solutions of 07-congestion."""

SWEEP = """
def waits(discipline, seed):
    with transfer("cubic", seed, kib=1_000, queue=100, discipline=discipline) as lab:
        return measured(lab)

table = sweep(waits, {grid}, seeds=[1, 2])
shortest = {shortest}
"""

EXERCISES = {
    "exercise-1": {
        "right": """
def kept(lab):
    events = [event.fields for event in lab.events("tcp.cwnd", source="source")]
    n = next(n for n, fields in enumerate(events) if fields["phase"] == "recovery")
    return events[n]["ssthresh"] / events[n - 1]["flight"]

newreno_keeps, cubic_keeps = kept(reno), kept(cubic)
""",
        "wrong": "newreno_keeps, cubic_keeps = 0.3, 0.3",
        "says": "newreno: it agrees with the RFC",
        "secret": ["0.5", "0.7"],
    },
    "exercise-2": {
        "right": 'result = measured(transfer("newreno", kib=1_000, queue=20))',
        "wrong": 'result = measured(transfer("newreno", kib=1_000, queue=40))',
        "says": "one waited 49.6 ms",
        "secret": ["queue=20"],
    },
    "exercise-3": {
        "right": SWEEP.format(grid='{"discipline": ["droptail", "red", "codel"]}', shortest='"codel"'),
        "wrong": SWEEP.format(grid='{"discipline": ["droptail", "red", "codel"]}', shortest='"red"'),
        "says": "the shortest waits: it is what the table says",
        "secret": ["codel"],
    },
}

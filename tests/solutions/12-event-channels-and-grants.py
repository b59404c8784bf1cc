"""Solutions of 12-event-channels-and-grants."""

ANSWER = """
async def answer(os):
    await tasks.sleep(ms(1))
    port = os.events.bind_interdomain(1, int(await os.xs.read("/local/domain/1/data/port")))
    os.events.bind(port, lambda: os.events.notify(port))
    {unmask}
    await tasks.sleep(ms(100))
"""

LEND = """
async def lend(os):
    ref = os.gnttab.grant(2, os.pages.allocate())
    await os.xs.write("data/ref", str(ref))
    await os.xs.set_perms("data/ref", ["n1", "r2"])
    await tasks.sleep(ms(5))
    {end}
"""

EXERCISES = {
    "exercise-1": {
        "right": ANSWER.format(unmask="os.events.unmask(port)"),
        "wrong": ANSWER.format(unmask="pass"),
        "says": "0 of 3",
        "secret": ["unmask", "lambda"],
    },
    "exercise-2": {
        "right": "flags = 1 | 4 | 8",
        "wrong": "flags = 1 | 4 | 8 | 16",
        "says": "more than can be true",
        "secret": ["0xd", "13"],
    },
    "exercise-3": {
        "right": LEND.format(end="while not os.gnttab.end(ref): await tasks.sleep(ms(1))"),
        "wrong": LEND.format(end="await tasks.sleep(ms(1)); os.gnttab.end(ref)"),
        "says": "after 28 ms the entry is free again",
        "secret": ["while", "end(ref)"],
    },
}

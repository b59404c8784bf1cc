"""Solutions of 02-time-and-threads."""

EXERCISES = {
    "exercise-1": {
        "right": "together, in_turn = 3, 6",
        "wrong": "together, in_turn = 6, 6",
        "says": "side by side: the number agrees with a world that was asked",
        "secret": ["3 s", "3.0"],
    },
    "exercise-2": {
        "right": """
@unikernel
async def turns(console: Console, time: Time) -> None:
    async def say(word, first):
        await time.sleep(seconds(first))
        for _ in range(3):
            console.log(word)
            await time.sleep(seconds(2))

    async with tasks.nursery() as both:
        both.start(say("Heads", 1))
        both.start(say("Tails", 2))

lines = run(turns(devices.default_console, devices.default_time))
""",
        "wrong": """
@unikernel
async def turns(console: Console, time: Time) -> None:
    async def say(word, first):
        for _ in range(3):
            await time.sleep(seconds(first))
            console.log(word)

    async with tasks.nursery() as both:
        both.start(say("Heads", 1))
        both.start(say("Tails", 2))

lines = run(turns(devices.default_console, devices.default_time))
""",
        "says": "after Heads comes Tails",
        "secret": ["sleep(seconds(2))", "first"],
    },
    "exercise-3": {
        "right": """
async def wait_at_most(duration, job):
    try:
        async with tasks.timeout(duration):
            return await job
    except tasks.TimedOut:
        return None
""",
        "wrong": """
async def wait_at_most(duration, job):
    task = (await tasks.current()).queue.spawn(job)
    await tasks.sleep(duration)
    return task.result if task.done else None
""",
        "says": "as soon as it is there",
        "secret": ["tasks.timeout", "TimedOut"],
    },
    "exercise-4": {
        "right": """
async def deposit(account):
    for _ in range(100):
        await tasks.checkpoint()
        account.balance += 1
""",
        "wrong": """
async def deposit(account):
    for _ in range(100):
        account.balance += 1
""",
        "says": "others run between two deposits",
        "secret": ["+= 1"],
    },
}

"""Solutions of 18-find-the-bug."""

KIOSK = """
@unikernel
async def kiosk(console: Console, stack: StackV4) -> None:
    async def serve(flow):
        await flow.read()
        await flow.write(b"HTTP/1.1 200 OK\\r\\n\\r\\nnews\\n")
        await flow.close()
    {listen}
    {wait}

vm = boot(kiosk, "10.0.0.3/24")
"""

BAKERY = """
@unikernel
async def bakery(console: Console, stack: StackV4) -> None:
    async def serve(flow):
        await flow.read()
        {serve}
    stack.listen_tcpv4(80, serve)
    await stack.listen()

vm, began = boot(bakery, "10.0.0.4/24"), lab.now
ask("10.0.0.4")
"""
WRITE, CLOSE = 'await flow.write(b"HTTP/1.1 200 OK\\r\\n\\r\\nbread\\n")', "await flow.close()"

NEIGHBOURS = """
began, addresses = lab.now, {addresses}
for address, name in zip(addresses, ("anna", "bert")):
    boot(boaster, f"{{address}}/24", name=name)
ask(*addresses, ping=True)
"""

BOAST = """
carla = boot(boaster, "10.0.0.7/24", name="carla")
print(carla.console)
ask("10.0.0.7")

port = {port}
"""

EXERCISES = {
    "exercise-1": {
        "right": KIOSK.format(listen="stack.listen_tcpv4(80, serve)", wait="await stack.listen()"),
        "wrong": KIOSK.format(listen="await stack.listen_tcpv4(80, serve)", wait="stack.listen()"),
        "says": "it did not crash",
        "secret": ["await"],
    },
    "exercise-2": {
        "right": BAKERY.format(serve=f"{WRITE}; {CLOSE}"),
        "wrong": BAKERY.format(serve=f"{CLOSE}; {WRITE}"),
        "says": "the server sends its answer",
        "secret": ["close()"],
    },
    "exercise-3": {
        "right": NEIGHBOURS.format(addresses='["10.0.0.5", "10.0.0.6"]'),
        "wrong": NEIGHBOURS.format(addresses='["10.0.0.5", "10.0.1.5"]'),
        "says": "the second answers a ping",
        "secret": ["10.0.0.6"],
    },
    "exercise-4": {
        "right": BOAST.format(port=8137),
        "wrong": BOAST.format(port=80),
        "says": "it listens there",
        "secret": ["8137"],
    },
}

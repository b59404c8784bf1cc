"""router: a machine between two networks.  What forwards is the device `devices.router`; this only says that it is there."""

from __future__ import annotations

from mirage_lab.signatures import Console, StackV4, unikernel


@unikernel
async def router(console: Console, stack: StackV4) -> None:
    """Let packets pass, for ever; the stack is `devices.router(stack, another)`."""
    console.log(f"router: {stack.ipv4.get_ip()} forwards")
    await stack.listen()

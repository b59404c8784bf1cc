"""xenbus: the front end's half of connecting a device (xenbus_client.c; Mini-OS xenbus.c).

Today: wait for the back end's InitWait (2), write what it needs, Initialised (3), wait for Connected (4), Connected (4).
2014: write everything and Connected (4) at once, without looking at the back end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mirage_lab.signatures.errors import DeviceError
from mirage_lab.xen.abi.io.xenbus import XenbusState, parse
from mirage_lab.xen.guest.xenstore import Handle

if TYPE_CHECKING:
    from mirage_lab.xen.guest.minios import MiniOS

__all__ = ["connect", "disconnect", "set_state", "wait_for"]


async def set_state(os: MiniOS, path: str, state: XenbusState) -> None:
    """Write our state."""
    await os.xs.write(f"{path}/state", str(int(state)))


async def wait_for(os: MiniOS, backend: str, *states: XenbusState, closing: bool = True) -> XenbusState:
    """Wait until the back end's state is one of `states`; raises DeviceError when it closes instead.

    `closing` False: it is closed, and is expected to come back.
    """

    def wanted(text: str) -> XenbusState | None:
        state = parse(text)
        gone = closing and state in (XenbusState.CLOSING, XenbusState.CLOSED)
        return state if state in states or gone else None

    found = await os.xs.wait(f"{backend}/state", wanted)
    if found not in states:
        raise DeviceError(f"{backend}: the back end went to {found.title} while we waited for {' or '.join(state.title for state in states)}")
    return found


async def connect(os: MiniOS, path: str, backend: str, keys: Mapping[str, str]) -> None:
    """Connect the device at `path`, handing `keys` to its back end."""
    early = os.profile == "2014"

    async def hand_over(tx: Handle) -> None:
        for name, value in keys.items():
            await tx.write(f"{path}/{name}", value)
        await tx.write(f"{path}/state", str(int(XenbusState.CONNECTED if early else XenbusState.INITIALISED)))

    if not early:
        await wait_for(os, backend, XenbusState.INIT_WAIT, XenbusState.INITIALISED, XenbusState.CONNECTED)
    await os.xs.transaction(hand_over)
    if not early:
        await wait_for(os, backend, XenbusState.CONNECTED)
        await set_state(os, path, XenbusState.CONNECTED)


async def disconnect(os: MiniOS, path: str, backend: str) -> None:
    """Close the device: Closing (5), wait for the back end, Closed (6)."""
    await set_state(os, path, XenbusState.CLOSING)
    await os.xs.wait(f"{backend}/state", lambda text: True if parse(text) in (XenbusState.CLOSING, XenbusState.CLOSED) else None)
    await set_state(os, path, XenbusState.CLOSED)

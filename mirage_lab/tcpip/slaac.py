"""slaac: the addresses of an interface: how they are made, tried and given up (RFC 4862), and which of them is chosen (RFC 6724).

    assign --> TENTATIVE --nobody answers for 1 s--> PREFERRED --preferred lifetime--> DEPRECATED --valid lifetime--> gone
                   |----- somebody has it ---------> DUPLICATE  (of a made-up identifier another is tried, three in all)

The identifier is the EUI-64 of the MAC address or, `stable`, a keyed hash of prefix and interface (RFC 7217), with a key from
the world's chance.  At most 16 addresses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mirage_lab.runtime import RunQueue, Timer, tasks
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.drops import Drops
from mirage_lab.tcpip.wire.address6 import LINK_LOCAL, common_bits, eui64, ip6_text, is_link_local, solicited_node
from mirage_lab.tcpip.wire.nd import FOR_EVER, Prefix

__all__ = ["Address", "Addresses", "State"]

RETRANS: Final = seconds(1)
MOST: Final = 16
TRIES: Final = 3
TWO_HOURS: Final = 7_200
SECOND: Final = seconds(1)


class State(Enum):
    """How an address may be used."""

    TENTATIVE = "being tried: not used yet"
    PREFERRED = "used"
    DEPRECATED = "used only by what used it before"
    DUPLICATE = "somebody else has it: not used"


@dataclass(slots=True)
class Address:
    """An address of ours: where it comes from (link-local, static, router), until when it is preferred and valid (None: for ever)."""

    address: int
    prefix: int
    origin: str
    state: State = State.TENTATIVE
    preferred_until: Ns | None = None
    valid_until: Ns | None = None
    tries: int = 0
    timer: Timer | None = None

    def __repr__(self) -> str:
        return f"<{ip6_text(self.address)}/{self.prefix} {self.origin} {self.state.name}>"


class Addresses:
    """The addresses of one interface; `solicit(target)` sends the probe that tries one."""

    def __init__(self, queue: RunQueue, mac: bytes, solicit: Callable[[int], None], *, stable: bool = False) -> None:
        self.queue = queue
        self.known: dict[int, Address] = {}
        self.usable: dict[int, Address] = {}
        self.groups: dict[int, int] = {}
        self.drops = Drops(queue, "ip6.drop")
        self._mac = mac
        self._solicit = solicit
        self._key = queue.rng("slaac.key").randbytes(16) if stable else None
        self._rng = queue.rng("slaac.delay")
        self._settled = tasks.Condition()
        self._k_address = queue.kind("ip6.address")

    # making ------------------------------------------------------------------------------------------------------

    def made(self, prefix: int, tries: int = 0) -> int:
        """Return the address of ours with the first 64 bits of `prefix`."""
        return prefix >> 64 << 64 | self._identifier(prefix, tries)

    def _identifier(self, prefix: int, tries: int) -> int:
        if self._key is None:
            return eui64(self._mac)
        text = (prefix >> 64).to_bytes(8, "big") + self._mac + bytes((tries,))
        return int.from_bytes(hashlib.blake2s(text, key=self._key, person=b"slaac", digest_size=8).digest(), "big")

    def link_local(self) -> None:
        """Take the address that every interface has."""
        self.assign(self.made(LINK_LOCAL), 64, "link-local", delay=True)

    def learn(self, prefix: Prefix) -> None:
        """Make an address of a prefix that a router announced, or give the one there is new lifetimes (RFC 4862 section 5.5.3)."""
        if prefix.length != 64 or prefix.preferred > prefix.valid or is_link_local(prefix.address) or prefix.address >> 120 == 0xFF:
            self.drops("prefix not usable", prefix=f"{ip6_text(prefix.address)}/{prefix.length}")
            return
        for known in self.known.values():
            if known.origin == "router" and known.address >> 64 == prefix.address >> 64:
                self._renew(known, prefix)
                return
        if prefix.valid:
            made = self.assign(self.made(prefix.address), 64, "router", delay=True)
            if made is not None:
                made.preferred_until, made.valid_until = self._until(prefix.preferred), self._until(prefix.valid)

    def _until(self, lifetime: int) -> Ns | None:
        return None if lifetime == FOR_EVER else Ns(self.queue.now + seconds(lifetime))

    def _renew(self, known: Address, prefix: Prefix) -> None:
        """Set lifetimes; a stranger cannot shorten what is valid to less than two hours."""
        left = None if known.valid_until is None else (known.valid_until - self.queue.now) // SECOND
        known.preferred_until = self._until(prefix.preferred)
        if prefix.valid > TWO_HOURS or (left is not None and prefix.valid > left):
            known.valid_until = self._until(prefix.valid)
        elif left is None or left > TWO_HOURS:
            known.valid_until = self._until(TWO_HOURS)
        if known.state in (State.PREFERRED, State.DEPRECATED):
            self._settle(known)

    def assign(self, address: int, prefix: int, origin: str, *, delay: bool = False, tries: int = 0) -> Address | None:
        """Try an address, and use it if nobody answers; None if there are too many, or it is ours already.

        With `delay` the probe waits up to a second, so that machines started together do not speak at once.
        """
        if address in self.known:
            return None
        if len(self.known) >= MOST:
            self.drops("too many addresses")
            return None
        found = self.known[address] = Address(address, prefix, origin, tries=tries)
        group = solicited_node(address)
        self.groups[group] = self.groups.get(group, 0) + 1
        wait = Ns(self._rng.randrange(SECOND)) if delay else Ns(0)
        found.timer = self.queue.call_later(wait, self._try, found)
        return found

    def remove(self, address: int) -> None:
        """Use an address no longer."""
        found = self.known.pop(address, None)
        if found is None:
            return
        self.usable.pop(address, None)
        if found.timer is not None:
            found.timer.cancel()
        group = solicited_node(address)
        self.groups[group] -= 1
        if not self.groups[group]:
            del self.groups[group]
        self._say(found, "gone")

    # trying ------------------------------------------------------------------------------------------------------

    def _try(self, found: Address) -> None:
        self._solicit(found.address)
        found.timer = self.queue.call_later(RETRANS, self._unclaimed, found)

    def _unclaimed(self, found: Address) -> None:
        """Nobody answered: it is ours."""
        if found.state is State.TENTATIVE:
            self.usable[found.address] = found
            self._settle(found)
            self._settled.notify_all()

    def tentative(self, address: int) -> bool:
        """True if an address is being tried."""
        found = self.known.get(address)
        return found is not None and found.state is State.TENTATIVE

    def claimed(self, address: int, mac: str) -> None:
        """Somebody else has, or tries, the address that is being tried."""
        found = self.known.get(address)
        if found is None or found.state is not State.TENTATIVE:
            return
        found.state = State.DUPLICATE
        if found.timer is not None:
            found.timer.cancel()
        self.drops("address conflict", ip=ip6_text(address), mac=mac)
        self._say(found, "DUPLICATE")
        if self._key is not None and found.origin != "static" and found.tries + 1 < TRIES:
            self.remove(address)
            again = self.assign(self.made(address, found.tries + 1), found.prefix, found.origin, tries=found.tries + 1)
            if again is not None:
                again.preferred_until, again.valid_until = found.preferred_until, found.valid_until
        self._settled.notify_all()

    def _settle(self, found: Address) -> None:
        """Set the state that the lifetimes give, and the timer for the next one."""
        now = self.queue.now
        if found.timer is not None:
            found.timer.cancel()
            found.timer = None
        if found.valid_until is not None and found.valid_until <= now:
            self.remove(found.address)
            return
        old = found.state
        fresh = found.preferred_until is None or found.preferred_until > now
        found.state = State.PREFERRED if fresh else State.DEPRECATED
        if found.state is not old:
            self._say(found, found.state.name)
        at = found.preferred_until if fresh and found.preferred_until is not None else found.valid_until
        if at is not None:
            found.timer = self.queue.call_at(at, self._settle, found)

    def _say(self, found: Address, state: str) -> None:
        if self._k_address.on:
            world = self.queue.world
            fields = {"ip": f"{ip6_text(found.address)}/{found.prefix}", "origin": found.origin, "state": state}
            self._k_address.emit(world.now, self.queue.name, world.cause, fields)

    async def ready(self) -> None:
        """Wait until no address is being tried."""
        while any(found.state is State.TENTATIVE for found in self.known.values()):
            await self._settled.wait()

    # choosing ----------------------------------------------------------------------------------------------------

    def source(self, dst: int) -> int:
        """Return the address that packets to `dst` come from, 0 if none can: scope, then state, then the longest common prefix."""
        if dst in self.usable:
            return dst
        local = is_link_local(dst)
        best, chosen = (-1, -1, -1), 0
        for found in self.usable.values():
            if is_link_local(found.address) != local and not (local and dst >> 120 == 0xFF):
                continue
            rank = (int(is_link_local(found.address) == local), int(found.state is State.PREFERRED), min(common_bits(found.address, dst), found.prefix))
            if rank > best:
                best, chosen = rank, found.address
        return chosen

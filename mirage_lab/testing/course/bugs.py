"""Exercises of 18-find-the-bug, and the unikernel of its last one."""

from __future__ import annotations

from typing import Protocol

from mirage_lab.signatures import Console, StackV4, unikernel
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import story
from mirage_lab.testing.exercises import Claims, Traced
from mirage_lab.testing.story import Story

__all__ = ["boaster", "check_both_answer", "check_goodbye", "check_port", "check_stays_open"]


class Listening(Protocol):
    """What has ports: a record of the event tcp.listen."""

    @property
    def fields(self) -> dict[str, object]:
        """Its fields: port."""


class Machine(Protocol):
    """A handle of a domain, as `lab.create` returns it."""

    name: str

    @property
    def state(self) -> str:
        """Paused, running, blocked, crashed, shutdown or gone."""

    def events(self, pattern: str = "*") -> list[Listening]:
        """Its events."""


@unikernel
async def boaster(console: Console, stack: StackV4) -> None:
    """A unikernel that says one thing and does another."""

    async def serve(flow: TcpFlow) -> None:
        await flow.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nyou found me\n")
        await flow.close()

    stack.listen_tcpv4(8_137, serve)
    console.log("listening on port 80")
    await stack.listen()


def _ports(vm: Machine) -> list[object]:
    return [event.fields["port"] for event in vm.events("tcp.listen")]


@exercise
def check_stays_open(vm: Machine) -> Story:
    """A unikernel that listens, and is still there afterwards."""
    told = story(f"{vm.name} stays open")
    told.true("it did not crash", vm.state != "crashed", "vm.why() names the line")
    told.true("it listens on port 80", 80 in _ports(vm), f"ports it listened on: {_ports(vm) or 'none'}")
    told.true("two seconds later the machine is still there", vm.state in ("running", "blocked"), f"its state is {vm.state!r}; vm.why() tells why")
    return told


@exercise
def check_goodbye(trace: Traced, since: int, server: str) -> Story:
    """A server that answers and then says that this was all."""
    claims = Claims(trace, f"{server} answers and says goodbye", since=since)
    claims.at_least(1, claims.handshakes().where(dst=server, port=80), say="a connection to port 80 is made")
    words = claims.data().where(src=server, port=80)
    claims.at_least(1, words, say="the server sends its answer")
    claims.that("it ends its side within a second of the answer", any(0 <= fin.t - words[0].t < 10**9 for fin in claims.fins().where(src=server)), words)
    claims.none(claims.resets(), say="nobody had to break the connection off")
    return claims.story


@exercise
def check_both_answer(trace: Traced, since: int, addresses: object) -> Story:
    """Two machines on one lan, each with an address of its own that answers a ping."""
    claims = Claims(trace, "two neighbours", since=since)
    told = claims.story
    given = isinstance(addresses, list | tuple) and len(addresses) == 2 and all(isinstance(address, str) for address in addresses)
    told.true("there are two addresses", given, f"there is {addresses!r}")
    assert isinstance(addresses, list | tuple)
    replies = claims.echo_replies()
    for number, address in enumerate(addresses, 1):
        claims.at_least(1, replies.where(src=address), say=f"the {('first', 'second')[number - 1]} answers a ping")
    said = [seen.packet.info.partition(" is at ") for seen in claims.arp_replies()]
    cards = {address: {card for what, _, card in said if what == address} for address in addresses}
    claims.that("for each of two addresses one card says that it is there", [len(card) for card in cards.values()] == [1, 1], claims.arp_replies())
    claims.that("... and they are the cards of two machines", len(set.union(*cards.values())) == 2, claims.arp_replies())
    return told


@exercise
def check_port(vm: Machine, port: object) -> Story:
    """The port a unikernel really listens on."""
    told = story(f"the port of {vm.name}")
    told.true("it runs", vm.state in ("running", "blocked"), f"its state is {vm.state!r}")
    nothing = "nothing is there yet: replace the dots" if port is ... else f"{port!r} is no number"
    told.true("a port is given", isinstance(port, int) and not isinstance(port, bool), nothing)
    told.true("it listens there", port in _ports(vm), f"a connection to port {port} would be refused; who listens says so in an event")
    return told

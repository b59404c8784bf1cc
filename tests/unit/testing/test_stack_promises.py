"""UDPV4, TCPV4, STACKV4, HTTP, CONDUIT, RESOLVER: each promise, and a device that breaks it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mirage_lab.runtime import tasks
from mirage_lab.signatures import Flow
from mirage_lab.signatures.errors import ConnectionRefused, ConnectionTimedOut, DeviceError
from mirage_lab.signatures.units import ms
from mirage_lab.testing import Pair, Story, check_conduit, check_http, check_resolver, check_stackv4, check_tcpv4, check_udpv4
from mirage_lab.testing.changed import changed
from mirage_lab.testing.pipe import End, pipe

Prove = Callable[..., None]
Change = Callable[[Any], Any]


def udpv4(change: Change) -> Story:
    pair = Pair(latency=ms(1))
    return check_udpv4(change(pair.one.udpv4), change(pair.other.udpv4), "10.0.0.2", pair.frames)


def even_port(udp: Any, dst: str, dst_port: int, data: bytes, src_port: int = 0) -> None:
    udp.write(dst, dst_port, data, src_port=(src_port or 50_001) + 1)


def only_given(udp: Any, dst: str, dst_port: int, data: bytes, src_port: int = 0) -> None:
    if src_port:
        udp.write(dst, dst_port, data, src_port=src_port)


def no_empty(udp: Any, dst: str, dst_port: int, data: bytes, src_port: int = 0) -> None:
    if data:
        udp.write(dst, dst_port, data, src_port=src_port)


def first_come() -> Any:
    """Return a listen that keeps the first listener of a port."""
    taken: list[Any] = []

    def listen(udp: Any, port: int, receive: Any) -> None:
        if (udp, port) not in taken:
            taken.append((udp, port))
            udp.listen(port, receive)

    return listen


def hears_all(udp: Any, port: int, receive: Any) -> None:
    udp.listen(port, receive)
    udp.listen(9, lambda src, src_port, data: None)


def test_each_promise_of_an_udpv4(prove: Prove) -> None:
    prove(
        udpv4,
        [
            ("a datagram arrives whole, with its source, and can be answered", {"write": even_port}),
            ("without src_port a port is chosen", {"write": only_given}),
            ("boundaries and order are kept", {"write": no_empty}),
            ("listening again replaces", {"listen": first_come()}),
            ("a port nobody listens on is answered with ICMP port unreachable", {"listen": hears_all}),
        ],
    )


def tcpv4(change: Change) -> Story:
    pair = Pair(latency=ms(1))
    return check_tcpv4(change(pair.one.tcpv4), change(pair.other.tcpv4), "10.0.0.2", nobody="10.0.0.9")


async def lost_its_way(tcp: Any, address: Any) -> Any:
    return changed(await tcp.create_connection(address), dst=("10.0.0.3", 80))


async def always(tcp: Any, address: Any) -> Any:
    try:
        return await tcp.create_connection(address)
    except ConnectionRefused:
        return pipe()[0]


async def hopeful(tcp: Any, address: Any) -> Any:
    try:
        return await tcp.create_connection(address)
    except ConnectionTimedOut:
        return pipe()[0]


def test_each_promise_of_a_tcpv4(prove: Prove) -> None:
    prove(
        tcpv4,
        [
            ("a connection is accepted, and both ends know who they are", {"create_connection": lost_its_way}),
            ("a port nobody listens on refuses", {"create_connection": always}),
            ("listening again replaces", {"listen": first_come()}),
            ("an address nobody has does not connect", {"create_connection": hopeful}),
        ],
        flow=True,
    )


def stackv4(change: Change) -> Story:
    pair = Pair(latency=ms(1))
    return check_stackv4(change(pair.one), change(pair.other), "10.0.0.2")


async def returns(stack: Any) -> None:
    await tasks.sleep(ms(10))


def to_nobody(stack: Any, port: int, receive: Any) -> None:
    stack.listen_udpv4(port + 1, receive)


def test_each_promise_of_a_stackv4(prove: Prove) -> None:
    prove(
        stackv4,
        [
            ("its parts are there, and agree", {"udpv4": property(lambda stack: stack.arp)}),
            (
                "a connection is accepted, and both ends know who they are",
                {"tcpv4": property(lambda stack: changed(stack.tcpv4, create_connection=lost_its_way))},
            ),
            ("a port nobody listens on refuses", {"tcpv4": property(lambda stack: changed(stack.tcpv4, create_connection=always))}),
            ("a datagram to a port that is listened on arrives, sent again if the lan loses it", {"listen_udpv4": to_nobody}),
            ("listen serves for ever", {"listen": returns}),
        ],
        flow=True,
    )


class Tiny:
    """HTTP over pipes, a request a paragraph: the reference double."""

    def __init__(self) -> None:
        self.arriving: tasks.Mailbox[End] = tasks.Mailbox(8)
        self.at_once = False

    async def connect(self) -> Flow:
        ours, theirs = pipe()
        await self.arriving.put(theirs)
        return ours

    def respond(self, status: int = 200, body: bytes = b"", **more: Any) -> bytes:
        return body

    async def listen(self, handler: Callable[[Any], Awaitable[Any]]) -> None:
        async with tasks.nursery() as serving:
            while True:
                serving.start(self.serve(await self.arriving.get(), handler))

    async def serve(self, flow: End, handler: Callable[[Any], Awaitable[Any]]) -> None:
        got = b""
        while data := await flow.read():
            got += data
            async with tasks.nursery() as answering:
                while b"\r\n\r\n" in got:
                    head, _, got = got.partition(b"\r\n\r\n")
                    if not head.startswith(b"GET /"):
                        await flow.write(self.refusal(handler))
                        await flow.close()
                        return
                    if self.at_once:
                        answering.start(self.answer(flow, handler, head))
                    else:
                        await self.answer(flow, handler, head)

    async def answer(self, flow: End, handler: Callable[[Any], Awaitable[Any]], head: bytes) -> None:
        await flow.write(self.shown(await handler(head)))

    def shown(self, response: Any) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(response), response)

    def refusal(self, handler: Any) -> bytes:
        return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


def http(change: Change) -> Story:
    server = Tiny()
    return check_http(change(server), server.connect, b"hello")


def at_once(server: Any, handler: Any) -> Any:
    server.at_once = True
    return server.listen(handler)


def teapot(server: Any, handler: Any) -> Any:
    server.shown = lambda response: b"HTTP/1.1 418 I'm a teapot\r\n\r\n"
    return server.listen(handler)


def forgiving(server: Any, handler: Any) -> Any:
    server.refusal = lambda handler: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    return server.listen(handler)


def test_each_promise_of_a_http(prove: Prove) -> None:
    prove(
        http,
        [
            ("one call of the handler per request, one after the other on a connection", {"listen": at_once}),
            ("what the handler returns is the response", {"listen": teapot}),
            ("a malformed request is answered 400, its connection closed, and the handler never sees it", {"listen": forgiving}),
        ],
    )


class Tubes:
    """CONDUIT whose endpoints are the names of pipes: the reference double."""

    def __init__(self) -> None:
        self.arriving: dict[str, tasks.Mailbox[End]] = {"tube": tasks.Mailbox(8)}

    async def connect(self, endpoint: Any) -> Flow:
        if endpoint not in self.arriving:
            raise DeviceError(f"no endpoint is of the kind {endpoint!r}: {', '.join(self.arriving)}")
        ours, theirs = pipe()
        await self.arriving[endpoint].put(theirs)
        return ours

    async def serve(self, endpoint: Any, serve: Callable[[Flow], Awaitable[None]]) -> None:
        async with tasks.nursery() as serving:
            while True:
                serving.start(self._one(serve, await self.arriving[endpoint].get()))

    async def _one(self, serve: Callable[[Flow], Awaitable[None]], flow: Flow) -> None:
        await serve(flow)


async def deaf(tubes: Any, endpoint: Any, serve: Any) -> None:
    await tasks.Condition().wait()


async def anything(tubes: Any, endpoint: Any) -> Any:
    return await tubes.connect("tube")


def test_each_promise_of_a_conduit(prove: Prove) -> None:
    prove(
        lambda change: check_conduit(change(Tubes()), "tube", "string"),
        [
            ("connect reaches what serves the endpoint", {"serve": deaf}),
            ("an endpoint of a kind that is not registered is a DeviceError", {"connect": anything}),
        ],
        flow=True,
    )


class Book:
    """RESOLVER with one page: the reference double."""

    async def resolve(self, uri: str) -> Any:
        if uri != "http://web.lab/":
            raise DeviceError(f"nobody knows {uri}")
        return ("10.0.0.2", 80)


async def guesses(book: Any, uri: str) -> Any:
    return ("10.0.0.2", 80)


async def other_port(book: Any, uri: str) -> Any:
    return ("10.0.0.2", 8080)


def test_each_promise_of_a_resolver(prove: Prove) -> None:
    prove(
        lambda change: check_resolver(change(Book()), {"http://web.lab/": ("10.0.0.2", 80)}),
        [
            ("a known name gives its endpoint", {"resolve": other_port}),
            ("a name nobody knows is a DeviceError, not an endpoint", {"resolve": guesses}),
        ],
    )

"""HTTP over a FLOW: what a server owes a client, and what no client gets away with."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from mirage_lab.cohttp import Client, HttpServer, Request, Response, get
from mirage_lab.cohttp.server import BODY
from mirage_lab.runtime import tasks
from mirage_lab.signatures import Http
from mirage_lab.signatures.errors import LocalProtocolError, RemoteProtocolError
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import seconds
from mirage_lab.testing import Pair, check_http


async def echo(request: Request) -> Response:
    if request.path == "/broken":
        raise ValueError("a mistake of the handler")
    if request.path == "/none":
        return None  # type: ignore[return-value]
    return Response(200, f"{request.method} {request.path} {request.query} {request.header('x-say')} {len(request.body)}".encode(), content_type="text/plain")


class Site:
    """A server at 10.0.0.2 and somebody who talks to it."""

    def __init__(self, handler: Callable[[Request], Any] = echo) -> None:
        self.pair = Pair(1)
        self.server = HttpServer(self.pair.other, 80)
        self.pair.queues[1].spawn(self.server.listen(handler), "listen")
        self.pair.world.advance(seconds(0.01))

    async def connect(self) -> TcpFlow:
        return await self.pair.one.tcpv4.create_connection(("10.0.0.2", 80))

    def say(self, *pieces: bytes, wait: float = 0) -> bytes:
        """Return all that comes back until the server closes, or for 200 s."""

        async def talk() -> bytes:
            flow, got = await self.connect(), b""
            for piece in pieces:
                await flow.write(piece)
                await tasks.sleep(seconds(wait))
            try:
                async with tasks.timeout(seconds(200)):
                    while data := await flow.read():
                        got += data
            except tasks.TimedOut:
                got += b" ... still open"
            await flow.close()
            return got

        return self.pair.run(talk())


def statuses(answer: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d+)", answer)


def test_the_server_keeps_the_promises_of_http() -> None:
    pair = Pair(1)
    server = HttpServer(pair.other, 80)
    assert isinstance(server, Http)
    check_http(server, lambda: pair.one.tcpv4.create_connection(("10.0.0.2", 80)), server.respond(200, b"hello"))
    pair.close()


def test_requests_follow_one_another_on_a_connection_also_when_sent_at_once() -> None:
    site = Site()

    async def talk() -> list[bytes]:
        client = Client(await site.connect(), "10.0.0.2")
        first = await client.request(Request("GET", "/one?a=1", (("X-Say", "hi"),)))
        return [first.body, (await client.request(Request("POST", "/two", (), b"12345"))).body]

    assert site.pair.run(talk()) == [b"GET /one a=1 hi 0", b"POST /two  None 5"]
    both = site.say(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert statuses(both) == [b"200", b"200"] and both.index(b"GET /a") < both.index(b"GET /b")
    assert site.pair.run(get(site.pair.one, "http://10.0.0.2/c?d")).body == b"GET /c d None 0"


def test_head_has_the_length_and_no_body() -> None:
    answer = Site().say(b"HEAD /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"content-length: 15" in answer and answer.endswith(b"\r\n\r\n")


def test_a_body_in_chunks_and_one_that_waits_for_its_continue() -> None:
    site = Site()
    chunks = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n"
    assert site.say(chunks).endswith(b"POST /c  None 7")
    waits = site.say(b"PUT /w HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", b"hello", wait=1)
    assert waits.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK") and waits.endswith(b"PUT /w  None 5")


def test_http_1_0_ends_with_its_response() -> None:
    assert Site().say(b"GET /old HTTP/1.0\r\n\r\n").endswith(b"GET /old  None 0")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"this is no request\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # no Host: RFC 9112 section 3.2
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost : y\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n" + bytes(BODY + 1), b"413"),
    ],
    ids=lambda value: str(value[:40]),
)
def test_what_is_no_request_is_refused_once_and_the_connection_closed(said: bytes, status: bytes) -> None:
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return Response()

    answer = Site(handler).say(said)
    assert statuses(answer) == [status] and b"still open" not in answer and seen == []
    assert b"connection: close" in answer.lower()


def test_a_peer_that_dribbles_is_not_waited_for() -> None:
    """A slow loris: a byte every ten seconds is no request within thirty."""
    answer = Site().say(*[bytes([byte]) for byte in b"GET / HT"], wait=10)
    assert statuses(answer) == [b"408"] and b"still open" not in answer


def test_a_connection_nobody_uses_is_closed_without_a_word() -> None:
    assert Site().say() == b""


def test_a_mistake_of_the_handler_is_500_and_told() -> None:
    site = Site()
    for path in (b"/broken", b"/none"):
        assert statuses(site.say(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")) == [b"500"]
    told = [event.fields["text"] for event in site.pair.world.recorder.events("task.crashed")]
    assert "a mistake of the handler" in told[0] and "a Response is needed" in told[1]
    assert statuses(site.say(b"GET /fine HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == [b"200"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("X", "a\r\nSet-Cookie: b"), ("X", "a\nb"), ("X\r\nY", "a"), ("", "a"), ("X Y", "a"), ("X", "a\0"), ("X", "\u4f60")],
)
def test_nobody_puts_a_second_header_into_one(name: str, value: str) -> None:
    with pytest.raises(LocalProtocolError, match="is no header"):
        Response(200, b"", {name: value})


@pytest.mark.parametrize("what", [{"status": 99}, {"status": 600}, {"status": "200"}, {"body": "text"}], ids=str)
def test_a_response_that_is_none_says_why(what: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        Response(**what)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", b"no http\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + bytes(70_000)],
    ids=lambda value: str(value[:30]),
)
def test_a_client_says_what_was_wrong_with_an_answer(answer: bytes) -> None:
    pair = Pair(1)

    async def serve(flow: TcpFlow) -> None:
        await flow.read()
        await flow.write(answer)
        await flow.close()

    pair.other.listen_tcpv4(80, serve)
    with pytest.raises(RemoteProtocolError, match="10.0.0.2"):
        pair.run(get(pair.one, "http://10.0.0.2/"))
    with pytest.raises(LocalProtocolError, match="looks like"):
        pair.run(get(pair.one, "ftp://10.0.0.2/"))


def test_a_client_may_not_use_a_connection_again_that_was_closed() -> None:
    site = Site()

    async def talk() -> None:
        client = Client(await site.connect(), "10.0.0.2")
        await client.request(Request("GET", "/", (("Connection", "close"),)))
        await client.request(Request("GET", "/"))

    with pytest.raises(LocalProtocolError, match="open another"):
        site.pair.run(talk())

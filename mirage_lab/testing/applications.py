"""applications: HTTP, CONDUIT, RESOLVER: the promises of what is built on connections."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mirage_lab.runtime import tasks
from mirage_lab.signatures import Conduit, Flow, Http, Resolver
from mirage_lab.signatures.errors import DeviceError, LocalProtocolError
from mirage_lab.signatures.units import seconds
from mirage_lab.testing.flows import flow_promises
from mirage_lab.testing.suite import Promise, Tell, suite

__all__ = ["check_conduit", "check_http", "check_resolver"]

LONGEST = 65_536


async def _replies(promise: Promise, flow: Flow, count: int) -> list[bytes]:
    """Return `count` responses with their bodies (Content-Length), or those that came before the end of file."""
    got, found = b"", []
    while len(got) < LONGEST:
        head, end, body = got.partition(b"\r\n\r\n")
        told = next((line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0").strip()
        length = int(told) if told.isdigit() else 0
        if end and len(body) >= length:
            found.append(head + end + body[:length])
            got = body[length:]
        elif data := await flow.read():
            got += data
        else:
            return found
        if len(found) == count:
            return found
    promise.fail(f"expected  a response of less than {LONGEST:,} bytes", f"came      {got[:60]!r} ...")


@suite
async def check_http(tell: Tell, http: Http, connect: Callable[[], Awaitable[Flow]], response: Any) -> None:
    """HTTP: `connect()` gives a flow to the server, `response` is what the handler returns, a success with or without body."""
    await tell.shape(Http, http)
    seen: list[Any] = []
    done: list[Any] = []
    overlaps: list[Any] = []

    async def handler(request: Any) -> Any:
        if len(done) < len(seen):
            overlaps.append(request)
        seen.append(request)
        await tasks.sleep(seconds(1))
        done.append(request)
        return response

    async with tasks.nursery() as serving:
        serving.start(http.listen(handler), "listen")
        await tasks.checkpoint()
        async with tell("one call of the handler per request, one after the other on a connection") as promise:
            flow = await connect()
            await flow.write(b"".join(f"GET /{path} HTTP/1.1\r\nHost: lab\r\n\r\n".encode() for path in ("one", "two")))
            got = await _replies(promise, flow, 2)
            promise.equal("responses to two requests", len(got), 2)
            promise.equal("calls of the handler", len(seen), 2)
            promise.equal("calls of the handler before the last was done", len(overlaps), 0)
        async with tell("what the handler returns is the response") as promise:
            for reply in got:
                promise.true("the status line", reply.startswith(b"HTTP/1.") and reply[9:10] == b"2", reply[:40], "HTTP/1.x and a status 2xx")
        async with tell("a malformed request is answered 400, its connection closed, and the handler never sees it") as promise:
            flow = await connect()
            await flow.write(b"this is no request\r\n\r\n")
            bad = await _replies(promise, flow, 1)
            promise.equal("the status", bad[0][9:12] if bad else None, b"400")
            promise.equal("read(), after it", await flow.read(), b"")
            promise.equal("calls of the handler", len(seen), 2)
        serving.cancel()


@suite
async def check_conduit(tell: Tell, conduit: Conduit, endpoint: Any, unknown: Any) -> None:
    """CONDUIT: a flow to and from `endpoint` (checked as a FLOW); `unknown` is an endpoint of a kind that is not registered."""
    await tell.shape(Conduit, conduit)
    accepted: tasks.Mailbox[Flow] = tasks.Mailbox(8)

    async def serve(flow: Flow) -> None:
        await accepted.put(flow)
        await tasks.sleep(seconds(3_600))

    async with tasks.nursery() as serving:
        serving.start(conduit.serve(endpoint, serve), "serve")
        await tasks.checkpoint()
        async with tell("connect reaches what serves the endpoint"):
            flow = await conduit.connect(endpoint)
            other = await accepted.get()
        await flow_promises(tell, flow, other)
        async with tell("an endpoint of a kind that is not registered is a DeviceError") as promise:
            with promise.refuses(f"connect({unknown!r})", DeviceError):
                await conduit.connect(unknown)
        serving.cancel()


@suite
async def check_resolver(tell: Tell, resolver: Resolver, known: Mapping[str, Any], unknown: str = "http://nobody.invalid/") -> None:
    """RESOLVER: `known` URIs and their endpoints; a name nobody knows."""
    if not known:
        raise LocalProtocolError("check_resolver needs a URI that the resolver knows, and its endpoint")
    await tell.shape(Resolver, resolver)
    async with tell("a known name gives its endpoint") as promise:
        for uri, endpoint in known.items():
            promise.equal(f"resolve({uri!r})", await resolver.resolve(uri), endpoint)
    async with tell("a name nobody knows is a DeviceError, not an endpoint") as promise:
        with promise.refuses(f"resolve({unknown!r})", DeviceError):
            await resolver.resolve(unknown)

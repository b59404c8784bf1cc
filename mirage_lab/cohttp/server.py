"""server: requests from a FLOW to a handler, one after the other, and its responses back.

What a peer may cost is bounded: a head of 16 KiB, a body of 1 MiB, 30 s for a whole request and 60 s between two.  A message
with both Content-Length and Transfer-Encoding is refused: two readers could see two requests (RFC 9112 section 6.3).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from mirage_lab.cohttp.messages import REASONS, Headers, Request, Response
from mirage_lab.runtime import tasks
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.flow import Flow
from mirage_lab.signatures.units import Ns, seconds

if TYPE_CHECKING:
    import h11

__all__ = ["Handler", "HttpServer", "serve"]

HEAD: Final = 16_384
BODY: Final = 1 << 20
WHOLE: Final = seconds(30)
IDLE: Final = seconds(60)
LINGER: Final = 256
"""Pieces that are read and thrown away after a refusal, so that the peer gets to read it."""

Handler = Callable[[Request], Awaitable[Response]]
"""`async def handler(request)` returns the response."""


class _Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


async def serve(flow: Flow, handler: Handler, *, idle: Ns = IDLE, whole: Ns = WHOLE, body: int = BODY) -> None:
    """Serve a connection until either end is done with it; what the handler raises is answered 500 and raised again."""
    import h11

    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD)
    while True:
        try:
            request = await _request(flow, connection, idle, whole, body)
        except h11.RemoteProtocolError as error:
            return await _refuse(flow, connection, _Refused(error.error_status_hint, str(error)))
        except _Refused as refused:
            return await _refuse(flow, connection, refused)
        if request is None:
            return await flow.close()
        try:
            response = await handler(request)
            if not isinstance(response, Response):
                raise LocalProtocolError(f"the handler returned {type(response).__name__}: a Response is needed, such as Response(200, b'hello')")
        except Exception:
            await _answer(flow, connection, request.method, Response(500, b"the server made a mistake\n", content_type="text/plain"), close=True)
            await flow.close()
            raise
        await _answer(flow, connection, request.method, response)
        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            return await flow.close()
        connection.start_next_cycle()


async def _request(flow: Flow, connection: h11.Connection, idle: Ns, whole: Ns, limit: int) -> Request | None:
    """Return the next request with its body; None at the end of file between two."""
    import h11

    if not connection.trailing_data[0]:
        try:
            async with tasks.timeout(idle):
                data = await flow.read()
        except tasks.TimedOut:
            return None
        if not data:
            return None
        connection.receive_data(data)
    head: h11.Request | None = None
    pieces, size = [], 0
    try:
        async with tasks.timeout(whole):
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    if connection.they_are_waiting_for_100_continue:
                        await flow.write(connection.send(h11.InformationalResponse(status_code=100, headers=[], reason="Continue")) or b"")
                    connection.receive_data(await flow.read())
                elif isinstance(event, h11.Request):
                    head = event
                    names = {name for name, _ in head.headers}
                    if {b"content-length", b"transfer-encoding"} <= names:
                        raise _Refused(400, "a length and a transfer encoding in one message")
                elif isinstance(event, h11.Data):
                    size += len(event.data)
                    if size > limit:
                        raise _Refused(413, f"a body of more than {limit:,} bytes")
                    pieces.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage) and head is not None:
                    break
                else:
                    return None
    except tasks.TimedOut:
        raise _Refused(408, f"the request was not whole within {whole / 1e9:g} s") from None
    headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
    return Request(head.method.decode("ascii"), head.target.decode("ascii"), headers, b"".join(pieces))


async def _answer(flow: Flow, connection: h11.Connection, method: str, response: Response, *, close: bool = False) -> None:
    import h11

    kept = [(name, value) for name, value in cast(Headers, response.headers) if name not in ("content-length", "transfer-encoding")]
    headers = [(name.encode(), value.encode("latin-1")) for name, value in kept]
    bodiless = response.status in (204, 304)
    if not bodiless:
        headers.append((b"content-length", str(len(response.body)).encode()))
    if close:
        headers.append((b"connection", b"close"))
    reason = REASONS.get(response.status, "").encode()
    said = connection.send(h11.Response(status_code=response.status, headers=headers, reason=reason)) or b""
    if response.body and not bodiless and method != "HEAD":
        said += connection.send(h11.Data(data=response.body)) or b""
    await flow.write(said + (connection.send(h11.EndOfMessage()) or b""))


async def _refuse(flow: Flow, connection: h11.Connection, refused: _Refused) -> None:
    """Answer what is no request, and close: whatever follows it on this connection is not to be trusted."""
    import h11

    if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
        text = f"{refused.status} {REASONS.get(refused.status, 'refused')}: {refused}\n".encode("ascii", "replace")
        await _answer(flow, connection, "", Response(refused.status, text, content_type="text/plain; charset=us-ascii"), close=True)
    await flow.close()
    try:
        async with tasks.timeout(seconds(1)):
            for _ in range(LINGER):
                if not await flow.read():
                    break
    except tasks.TimedOut:
        pass


class HttpServer:
    """HTTP on a port of a STACKV4."""

    module_type: ClassVar[str] = "HTTP"

    def __init__(self, stack: Any, port: int = 80) -> None:
        self.stack = stack
        self.port = port

    def __repr__(self) -> str:
        return f"<HttpServer port {self.port} of {self.stack!r}>"

    @property
    def id(self) -> str:
        """The port."""
        return f"http {self.port}"

    async def listen(self, handler: Handler) -> None:
        """Serve for ever: `handler(request)` returns the response."""
        self.stack.listen_tcpv4(self.port, partial(_connection, handler))
        await tasks.Condition().wait()

    def respond(self, status: int = 200, body: bytes = b"", *, headers: Mapping[str, str] | None = None, content_type: str | None = None) -> Response:
        """Return a response; raises LocalProtocolError for a header that would be two."""
        return Response(status, body, headers or {}, content_type)

    async def disconnect(self) -> None:
        """Nothing is held: connections end with their stack."""


async def _connection(handler: Handler, flow: Flow) -> None:
    await serve(flow, handler)

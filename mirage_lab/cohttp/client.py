"""client: requests over a FLOW, one after the other, and their responses."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from mirage_lab.cohttp.messages import Request, Response, checked
from mirage_lab.signatures.errors import LocalProtocolError, RemoteProtocolError
from mirage_lab.signatures.flow import Flow

__all__ = ["Client", "get"]

HEAD: Final = 65_536
BODY: Final = 16 << 20


class Client:
    """The client's end of a connection to `host`, which may be used for one request after the other."""

    def __init__(self, flow: Flow, host: str, *, body: int = BODY) -> None:
        import h11

        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD)
        self._flow = flow
        self._host = host
        self._limit = body

    async def request(self, request: Request) -> Response:
        """Send a request and return its response with its whole body.

        Raises LocalProtocolError for what cannot be sent, RemoteProtocolError for what is no response, or too long.
        """
        import h11

        connection = self._connection
        if connection.our_state is not h11.IDLE:
            try:
                connection.start_next_cycle()
            except h11.LocalProtocolError:
                raise LocalProtocolError(f"the connection to {self._host} was used up by its last response: open another") from None
        headers = [checked(name, value) for name, value in request.headers]
        headers = [("host", self._host), *headers] if all(name != "host" for name, _ in headers) else headers
        if request.body:
            headers.append(("content-length", str(len(request.body))))
        try:
            said = connection.send(h11.Request(method=request.method, target=request.target, headers=headers)) or b""
            said += (connection.send(h11.Data(data=request.body)) or b"") if request.body else b""
            said += connection.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError as error:
            raise LocalProtocolError(f"{request.method} {request.target!r}: {error}") from None
        await self._flow.write(said)
        return await self._response()

    async def _response(self) -> Response:
        import h11

        head: h11.Response | None = None
        pieces, size = [], 0
        try:
            while True:
                event = self._connection.next_event()
                if event is h11.NEED_DATA:
                    self._connection.receive_data(await self._flow.read())
                elif isinstance(event, h11.Response):
                    head = event
                elif isinstance(event, h11.Data):
                    size += len(event.data)
                    if size > self._limit:
                        raise RemoteProtocolError(f"{self._host} sends a body of more than {self._limit:,} bytes")
                    pieces.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    break
                elif not isinstance(event, h11.InformationalResponse):
                    raise RemoteProtocolError(f"{self._host} closed the connection before its response was whole")
        except h11.RemoteProtocolError as error:
            raise RemoteProtocolError(f"{self._host} sends what is no HTTP: {error}") from None
        if head is None or not 200 <= head.status_code < 600:
            raise RemoteProtocolError(f"{self._host} sends what is no response")
        headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
        return Response(head.status_code, b"".join(pieces), headers)


async def get(stack: Any, url: str) -> Response:
    """Return the response to a GET of "http://10.0.0.2/path" over a STACKV4; the host is an address.  One connection, then closed."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise LocalProtocolError(f"{url!r}: a URL here looks like http://10.0.0.2/path")
    flow = await stack.tcpv4.create_connection((parts.hostname, parts.port or 80))
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return await Client(flow, parts.netloc).request(Request("GET", target, (("connection", "close"),)))
    finally:
        await flow.close()

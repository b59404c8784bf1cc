"""HTTP, CONDUIT, RESOLVER: what is built on connections (mirage 2.0.0, conduit 0.6.0)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from mirage_lab.signatures.flow import Flow

__all__ = ["Conduit", "Http", "Resolver"]


@runtime_checkable
class Http(Protocol):
    """HTTP: a server over whatever gives flows.

    Promises: one call of the handler per request, in order per connection.  Refusals: a malformed request is answered 400
    and its connection closed; the handler never sees it.
    """

    module_type: ClassVar[str] = "HTTP"

    async def listen(self, handler: Callable[[Any], Awaitable[Any]]) -> None:
        """Serve for ever: `handler(request)` returns the response; a request has `method`, `target`, `path`, `query`, `headers`, `body`."""

    def respond(self, status: int = 200, body: bytes = b"", *, headers: Mapping[str, str] | None = None, content_type: str | None = None) -> Any:
        """Return a response for a handler to return; raises LocalProtocolError for a header that would be two."""


@runtime_checkable
class Conduit(Protocol):
    """CONDUIT: flows to and from endpoints (`tcp`, `vchan`, `tls` of another), whatever carries them.

    Refusals: an endpoint of a kind that is not registered is a DeviceError naming the kinds there are.
    """

    module_type: ClassVar[str] = "CONDUIT"

    async def connect(self, endpoint: Any) -> Flow:
        """Return a flow to `endpoint`."""

    async def serve(self, endpoint: Any, serve: Callable[[Flow], Awaitable[None]]) -> None:
        """Run `serve(flow)` for each peer that connects to `endpoint`."""


@runtime_checkable
class Resolver(Protocol):
    """RESOLVER: from a URI to an endpoint.

    Refusals: a name nobody knows is a DeviceError, not an endpoint.
    """

    module_type: ClassVar[str] = "RESOLVER"

    async def resolve(self, uri: str) -> Any:
        """Return the endpoint of `uri`."""

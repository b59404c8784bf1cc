"""cohttp: HTTP/1.1 over a FLOW, server and client (RFC 9110, RFC 9112).

    FLOW ──bytes──▶ h11 (events, limits, framing) ──Request──▶ handler ──Response──▶ h11 ──bytes──▶ FLOW

Whatever gives flows can serve: a TCP connection on a lan, a forward from this computer, later a vchan or TLS.  The grammar
is h11's; ours is what a server owes: limits on head, body and time, one request after the other on a connection, 100 Continue,
HEAD without a body, 400 for what is no request, and nothing that a handler or a peer says becomes a header of its own.
The original: mirage-http on cohttp, whose server is a callback from a request to a response.

Reading order: messages, server, client.
"""

from mirage_lab.cohttp.client import Client, get
from mirage_lab.cohttp.messages import Request, Response
from mirage_lab.cohttp.server import HttpServer, serve

__all__ = ["Client", "HttpServer", "Request", "Response", "get", "serve"]

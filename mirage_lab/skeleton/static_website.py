"""static_website: files out of a KV_RO, over HTTP/1.0, one request a connection."""

from __future__ import annotations

from types import MappingProxyType

from mirage_lab.signatures import Console, KvRo, StackV4, unikernel
from mirage_lab.signatures.errors import UnknownKey
from mirage_lab.signatures.network import TcpFlow

LONGEST = 8_192
TYPES = MappingProxyType(
    {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "png": "image/png", "txt": "text/plain"}
)


@unikernel
async def static_website(console: Console, files: KvRo, stack: StackV4, *, port: int = 80) -> None:
    """Serve the files; "/" is index.html."""

    async def serve(flow: TcpFlow) -> None:
        request = b""
        while b"\r\n\r\n" not in request and len(request) < LONGEST:
            data = await flow.read()
            if not data:
                break
            request += data
        words = request.split(b"\r\n")[0].decode("latin-1").split(" ")
        path = words[1].split("?")[0].lstrip("/") or "index.html" if len(words) > 1 else ""
        try:
            body = await files.read(path)
            status, kind = "200 OK", TYPES.get(path.rpartition(".")[2], "application/octet-stream")
        except UnknownKey:
            status, kind, body = "404 Not Found", "text/plain", b"no such page\n"
        console.log(f"{words[0]} /{path} {status[:3]} {len(body)}")
        head = f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        await flow.writev([head.encode(), body])
        await flow.close()

    stack.listen_tcpv4(port, serve)
    console.log(f"serving on port {port}")
    await stack.listen()

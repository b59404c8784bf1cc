"""web: a web server in nine lines."""

from __future__ import annotations

from mirage_lab.signatures import Console, StackV4, unikernel
from mirage_lab.signatures.network import TcpFlow


@unikernel
async def web(console: Console, stack: StackV4) -> None:
    """Answer every connection to port 80 with "hello"."""

    async def serve(flow: TcpFlow) -> None:
        await flow.read()
        await flow.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")
        await flow.close()

    stack.listen_tcpv4(80, serve)
    console.log("listening on port 80")
    await stack.listen()

"""network: the example of mirage-skeleton: greets who connects to port 8080 and prints what they send."""

from __future__ import annotations

from mirage_lab.signatures import Console, StackV4, unikernel
from mirage_lab.signatures.network import TcpFlow


@unikernel
async def network(console: Console, stack: StackV4) -> None:
    """Print and echo what arrives on port 8080."""

    async def serve(flow: TcpFlow) -> None:
        ip, port = flow.dst
        console.log(f"new tcp connection from {ip} {port}")
        while data := await flow.read():
            console.log(f"read: {len(data)} {data[:60]!r}")
            await flow.write(data)
        console.log("eof, closing connection")
        await flow.close()

    stack.listen_tcpv4(8080, serve)
    console.log("echo on port 8080")
    await stack.listen()

"""Real sockets of 127.0.0.1 on one side, a virtual lan on the other."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from mirage_lab.runtime import World
from mirage_lab.signatures.errors import LocalProtocolError, MirageError
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.stack import Stack
from mirage_lab.usernet import Gateway
from mirage_lab.vnetif import Netif, Segment


class Site:
    """A gateway and a machine on a lan, driven by hand."""

    def __init__(self, serve: Callable[[TcpFlow], object] | None = None) -> None:
        self.world = World(1)
        self.lan = Segment(self.world, "br0", latency=ms(1))
        self.gateway = Gateway(self.world, self.lan)
        self.queue = self.world.queue("web")
        self.stack = Stack(self.queue, Netif(self.queue, self.lan, "02:00:00:00:00:02", "web"), address="10.0.0.2/24", gateway="10.0.0.1")
        if serve is not None:
            self.stack.listen_tcpv4(80, serve)  # type: ignore[arg-type]

    def until(self, done: Callable[[], bool], rounds: int = 5_000) -> None:
        """Poll the host and run the world in turn until `done()`."""
        for _ in range(rounds):
            if done():
                return
            self.world.host.select(Ns(200_000))
            self.world.host.poll()
            self.world.advance(Ns(self.world.now + ms(1)))
        pytest.fail("it never came to that")

    def close(self) -> None:
        self.gateway.close()
        self.world.close()


@contextlib.contextmanager
def site(serve: Callable[[TcpFlow], object] | None = None) -> Iterator[Site]:
    made = Site(serve)
    try:
        yield made
    finally:
        made.close()


async def echo(flow: TcpFlow) -> None:
    while data := await flow.read():
        await flow.write(data)
    await flow.close()


def talk(port: int, data: bytes) -> tuple[threading.Thread, bytearray]:
    """Send `data` and collect the answer, in a thread as a program of its own would."""
    answer = bytearray()

    def run() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
            sender.start()
            while chunk := sock.recv(65_536):
                answer.extend(chunk)
            sender.join()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, answer


def test_a_host_program_talks_to_a_machine_on_the_lan() -> None:
    with site(echo) as here:
        forward = here.gateway.forward("10.0.0.2", 80, name="web")
        data = bytes(range(256)) * 4_000
        thread, answer = talk(forward.host_port, data)
        here.until(lambda: not thread.is_alive())
        assert bytes(answer) == data
        here.until(lambda: not forward.links)
        seen = forward.statistics()
        assert (seen.connections, seen.open, seen.to_guest, seen.to_host) == (1, 0, len(data), len(data))
        assert here.world.host_connections == 0


def test_a_port_nobody_serves_resets_the_host_connection() -> None:
    with site() as here:
        forward = here.gateway.forward("10.0.0.2", 80, name="web")
        sock = socket.create_connection(("127.0.0.1", forward.host_port), timeout=20)
        here.until(lambda: forward.statistics().connections == 1 and not forward.links)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        sock.close()


def test_a_host_program_that_reads_nothing_fills_bounded_buffers() -> None:
    async def pour(flow: TcpFlow) -> None:
        try:
            for _ in range(1_000):
                await flow.write(bytes(65_536))
        except MirageError:
            return

    with site(pour) as here:
        forward = here.gateway.forward("10.0.0.2", 80, name="web")
        sock = socket.create_connection(("127.0.0.1", forward.host_port), timeout=20)
        for _ in range(400):
            here.world.host.poll()
            here.world.advance(Ns(here.world.now + ms(5)))
        assert forward.statistics().to_host < 30_000_000
        assert all(len(host._out) <= 600_000 for host in here.gateway.sockets.values())
        sock.close()
        here.until(lambda: not forward.links)


def test_a_chosen_port_that_is_taken_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, site() as here, pytest.raises(LocalProtocolError, match="choose another host_port"):
        here.gateway.forward("10.0.0.2", 80, host_port=taken.getsockname()[1], name="web")


def test_a_guest_reaches_only_what_was_allowed() -> None:
    answers: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server, site() as here:
        port = server.getsockname()[1]
        here.gateway.allow_outbound(f"127.0.0.1:{port}")

        async def client() -> None:
            flow = await here.stack.tcpv4.create_connection(("10.0.0.1", port))
            await flow.write(b"select 1")
            await flow.close()
            answers.append(await flow.read())
            try:
                await here.stack.tcpv4.create_connection(("10.0.0.1", port + 1))
            except MirageError as error:
                answers.append(type(error).__name__)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                answers.append(connection.recv(100))
                connection.sendall(b"1 row")

        thread = threading.Thread(target=serve)
        thread.start()
        here.queue.spawn(client())
        here.until(lambda: len(answers) == 3)
        thread.join(5)
    assert answers == [b"select 1", b"1 row", "ConnectionRefused"]


def test_an_address_to_allow_is_checked() -> None:
    with site() as here:
        for bad in ("5432", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", "x:y"):
            with pytest.raises(LocalProtocolError):
                here.gateway.allow_outbound(bad)


def test_a_replay_gives_the_same_frames_without_a_socket() -> None:
    from mirage_lab.tracing.capture import Capture

    def watched(live: bool) -> tuple[Site, Capture]:
        here = Site(echo)
        here.world.live = live
        capture = Capture("br0")
        here.lan.captures.append(capture)
        here.world.on_command("forward", lambda host_port: here.gateway.forward("10.0.0.2", 80, host_port=host_port, name="web"))
        return here, capture

    first, seen = watched(True)
    forward = first.world.command("forward", host_port=None)
    thread, _ = talk(forward.host_port, b"hello" * 10_000)
    first.until(lambda: not thread.is_alive() and not forward.links)
    first.world.advance(Ns(first.world.now + seconds(1)))
    first.close()
    second, again = watched(False)
    second.world.replay(first.world.journal.entries)
    second.world.advance(first.world.now)
    assert [(frame.t, frame.data) for frame in again.frames] == [(frame.t, frame.data) for frame in seen.frames]
    assert len(second.world.host) == 0
    second.close()

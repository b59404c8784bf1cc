"""iperf3: measures what a connection carries, with the programs of that name: `iperf3 -c 10.0.0.2`, also `-R` and `-P 4`.

One TCP port for everything.  Each connection begins with a cookie of 37 bytes; the first one is the control connection, the
others of the same cookie carry data.  The server leads, in states of one byte (esnet/iperf, src/iperf_api.h):

    client                              server
    cookie              ───────▶
                        ◀───────        PARAM_EXCHANGE
    parameters (JSON)   ───────▶
                        ◀───────        CREATE_STREAMS
    cookies (data)      ═══════▶
                        ◀───────        TEST_START, TEST_RUNNING
    bytes (data)        ◀══════▶
    TEST_END            ───────▶
                        ◀───────        EXCHANGE_RESULTS
    results (JSON)      ───────▶
                        ◀───────        results (JSON), DISPLAY_RESULTS
    IPERF_DONE          ───────▶

TCP only, one test at a time; others are told ACCESS_DENIED, tests of another kind SERVER_ERROR.
"""

from __future__ import annotations

import json
from typing import Any, Final

from mirage_lab.runtime.tasks import Condition, timeout
from mirage_lab.signatures import Clock, Console, StackV4, unikernel
from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import seconds

__all__ = ["Reader", "iperf3", "iperf3_client", "message"]

PORT: Final = 5_201
COOKIE: Final = 37
ALPHABET: Final = b"abcdefghijklmnopqrstuvwxyz234567"
TEST_START, TEST_RUNNING, TEST_END = 1, 2, 4
PARAM_EXCHANGE, CREATE_STREAMS = 9, 10
SERVER_TERMINATE, CLIENT_TERMINATE, EXCHANGE_RESULTS, DISPLAY_RESULTS = 11, 12, 13, 14
IPERF_DONE, ACCESS_DENIED, SERVER_ERROR = 16, 255, 254
UNIMPLEMENTED: Final = 13
"""IEUNIMP of iperf_api.h."""
LONGEST: Final = 64 << 10
"""Bytes of JSON that are believed."""
STREAMS: Final = 128
BLOCK: Final = bytes(128 << 10)
PATIENCE: Final = seconds(30)
"""What a peer may take for a turn of the conversation."""


class Reader:
    """What arrives on a flow, by counts of bytes."""

    def __init__(self, flow: TcpFlow) -> None:
        self.flow = flow
        self._left = b""

    async def exactly(self, count: int) -> bytes:
        """Return `count` bytes; raises EOFError when the flow ends before."""
        while len(self._left) < count:
            data = await self.flow.read()
            if not data:
                raise EOFError
            self._left += data
        data, self._left = self._left[:count], self._left[count:]
        return data

    async def some(self) -> bytes:
        """Return what is there, or arrives next; b"" at the end."""
        data, self._left = self._left, b""
        return data or await self.flow.read()

    async def state(self) -> int:
        """Return a state."""
        return (await self.exactly(1))[0]

    async def json(self) -> dict[str, Any]:
        """Return an object: four bytes of length, then JSON.  Raises ValueError for anything else."""
        length = int.from_bytes(await self.exactly(4), "big")
        if length > LONGEST:
            raise ValueError(f"{length} bytes of JSON")
        try:
            found = json.loads(await self.exactly(length))
        except RecursionError:
            raise ValueError("JSON too deep") from None
        if not isinstance(found, dict):
            raise ValueError("JSON that is no object")  # noqa: TRY004 - what the peer sent is wrong, not a caller's type
        return found


def message(value: dict[str, Any]) -> bytes:
    """Return `value` as it travels."""
    text = json.dumps(value).encode()
    return len(text).to_bytes(4, "big") + text


class _Test:
    """One test: its streams, and how many bytes each carried."""

    def __init__(self, clock: Clock, cookie: bytes) -> None:
        self.cookie = cookie
        self.streams: list[Reader] = []
        self.counts: list[int] = []
        self.wanted = 0
        self.reverse = self.over = False
        self.arrived = Condition()
        self.go = Condition()
        self.running = False
        self.began = 0.0
        self.took = 0.0
        self._clock = clock

    def start(self) -> None:
        """Let the bytes flow."""
        self.running = True
        self.began = self._clock.time()
        self.go.notify_all()

    def stop(self) -> None:
        """No more bytes count."""
        if not self.over:
            self.over = True
            self.took = self._clock.time() - self.began

    async def stream(self, reader: Reader) -> None:
        """Carry the bytes of one data connection until it ends."""
        number = len(self.streams)
        self.streams.append(reader)
        self.counts.append(0)
        self.arrived.notify_all()
        if not self.reverse:
            while data := await reader.some():
                self.counts[number] += len(data)
            return
        while not self.running and not self.over:
            await self.go.wait()
        while not self.over:
            await reader.flow.write(BLOCK)
            self.counts[number] += len(BLOCK)

    def results(self) -> dict[str, Any]:
        """Return our side of the results; streams are numbered 1, 3, 4, 5 as iperf3 does."""
        return {
            "cpu_util_total": 0, "cpu_util_user": 0, "cpu_util_system": 0, "sender_has_retransmits": 0,
            "streams": [
                {
                    "id": 1 if not number else number + 2, "bytes": count, "retransmits": -1, "jitter": 0, "errors": 0, "packets": 0,
                    "start_time": 0, "end_time": self.took,
                }
                for number, count in enumerate(self.counts)
            ],
        }  # fmt: skip

    def told(self) -> str:
        """Return the outcome in a line."""
        size = sum(self.counts)
        speed = f", {size * 8 / self.took / 1e6:.1f} Mbit/s" if self.took > 0 else ""
        return f"iperf3: {size:,} bytes {'sent' if self.reverse else 'received'} over {len(self.counts)} in {self.took:.3f} s{speed}"


@unikernel
async def iperf3(console: Console, clock: Clock, stack: StackV4, *, port: int = PORT) -> None:
    """Be the server of `iperf3 -c`."""
    tests: dict[bytes, _Test] = {}

    async def serve(flow: TcpFlow) -> None:
        reader = Reader(flow)
        try:
            cookie = await reader.exactly(COOKIE)
            test = tests.get(cookie)
            if test is not None:
                if len(test.streams) < test.wanted:
                    await test.stream(reader)
                else:
                    await flow.close()
                return
            if tests:
                await flow.write(bytes([ACCESS_DENIED]))
                await flow.close()
                return
            test = tests[cookie] = _Test(clock, cookie)
            try:
                await _control(reader, test)
                console.log(test.told())
            finally:
                test.stop()
                test.go.notify_all()
                tests.pop(cookie, None)
                for stream in test.streams:
                    await stream.flow.close()
        except (EOFError, ValueError) as error:
            console.log(f"iperf3: {flow.dst[0]} ended the test early ({error or 'the connection was closed'})")
            await flow.close()
        except MirageError:
            await flow.close()

    stack.listen_tcpv4(port, serve)
    console.log(f"iperf3: listening on port {port}")
    await stack.listen()


async def _control(reader: Reader, test: _Test) -> None:
    flow = reader.flow
    await flow.write(bytes([PARAM_EXCHANGE]))
    async with timeout(PATIENCE):
        wanted = await reader.json()
    parallel = wanted.get("parallel", 1)
    if not wanted.get("tcp") or wanted.get("bidirectional") or not isinstance(parallel, int) or not 0 < parallel <= STREAMS:
        await flow.write(bytes([SERVER_ERROR]) + UNIMPLEMENTED.to_bytes(4, "big") + bytes(4))
        raise ValueError("only TCP in one direction is offered")
    test.wanted, test.reverse = parallel, bool(wanted.get("reverse"))
    await flow.write(bytes([CREATE_STREAMS]))
    async with timeout(PATIENCE):
        while len(test.streams) < parallel:
            await test.arrived.wait()
    await flow.write(bytes([TEST_START]))
    test.start()
    await flow.write(bytes([TEST_RUNNING]))
    if (state := await reader.state()) != TEST_END:
        raise ValueError("the client gave up" if state == CLIENT_TERMINATE else f"state {state} in the midst of a test")
    test.stop()
    for stream in test.streams:  # now: a client that receives reads to the end of a block, or of the stream
        await stream.flow.close()
    await flow.write(bytes([EXCHANGE_RESULTS]))
    async with timeout(PATIENCE):
        await reader.json()
        await flow.write(message(test.results()) + bytes([DISPLAY_RESULTS]))
        await reader.state()
    await flow.close()


@unikernel
async def iperf3_client(
    console: Console, clock: Clock, stack: StackV4, *, server: str = "10.0.0.9", port: int = PORT, mib: int = 10, reverse: bool = False
) -> None:
    """Send `mib` MiB to an `iperf3 -s`, or (`reverse`) have them sent, and print how fast it was."""
    cookie = bytes(ALPHABET[(index * 7 + int(clock.time() * 1e6)) % len(ALPHABET)] for index in range(COOKIE - 1)) + b"\0"
    try:
        control = Reader(await stack.tcpv4.create_connection((server, port)))
        await control.flow.write(cookie)
        told = await _measure(control, cookie, clock, stack, (server, port), mib << 20, reverse)
    except (EOFError, ValueError, MirageError) as error:
        told = f"{server}:{port} broke the test off ({error or 'the connection was closed'})"
    console.log(f"iperf3: {told}")


async def _measure(control: Reader, cookie: bytes, clock: Clock, stack: StackV4, address: tuple[str, int], size: int, reverse: bool) -> str:
    data, test = control, _Test(clock, cookie)
    while True:
        state = await control.state()
        if state == PARAM_EXCHANGE:
            asked = {"tcp": True, "omit": 0, "time": 0, "num": size, "blockcount": 0, "parallel": 1, "len": len(BLOCK), "client_version": "3.12"}
            await control.flow.write(message({**asked, **({"reverse": True} if reverse else {})}))
        elif state == CREATE_STREAMS:
            data = Reader(await stack.tcpv4.create_connection(address))
            await data.flow.write(cookie)
        elif state == TEST_RUNNING and data is not control:
            test.start()
            test.counts = [await _carry(data, size, reverse)]
            test.stop()
            await control.flow.write(bytes([TEST_END]))
        elif state == EXCHANGE_RESULTS:
            await control.flow.write(message(test.results()))
            theirs = await control.json()
        elif state == DISPLAY_RESULTS:
            await control.flow.write(bytes([IPERF_DONE]))
            await control.flow.close()
            if data is not control:
                await data.flow.close()
            while await control.some():  # the server's end: what is sent now would be lost when this domain is gone
                pass
            counted = sum(stream.get("bytes", 0) for stream in theirs.get("streams", ()))
            speed = f"{test.counts[0] * 8 / test.took / 1e6:.1f} Mbit/s" if test.took > 0 else "at once"
            return f"{test.counts[0]:,} bytes {'received' if reverse else 'sent'}, the server counted {counted:,}, {speed}"
        elif state in (ACCESS_DENIED, SERVER_ERROR, SERVER_TERMINATE):
            raise ValueError("it is busy with another test" if state == ACCESS_DENIED else "it refused")
        elif state != TEST_START:
            raise ValueError(f"state {state}")


async def _carry(data: Reader, size: int, reverse: bool) -> int:
    """Send, or receive, `size` bytes over the data connection; return how many there were."""
    done = 0
    while done < size:
        if reverse:
            piece = await data.some()
            if not piece:
                break
        else:
            piece = BLOCK[: size - done]
            await data.flow.write(piece)
        done += len(piece)
    return done

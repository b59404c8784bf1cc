"""gdb: a stub for a real gdb, on 127.0.0.1: `gdb kernel.elf -ex "target remote 127.0.0.1:1234"` (gdb manual, appendix E).

    gdb ─▶ packet ─▶ one thread ─▶ the lab's debugger, as `vm.cpu` uses it ─▶ reply
    c, s: it drives the world until the guest stops, a few milliseconds at a time, or ^C comes; then the lab is the person's again

Breakpoints (Z0, Z1), registers, memory, steps, and back (bs, bc).  What gdb writes is a journalled command ("poke").
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mirage_lab.lab.gdbpackets import BREAK, LARGEST, Packets, encode, escaped
from mirage_lab.lab.gdbregisters import Layout, Row, layout_of
from mirage_lab.lab.said import LabError, Said
from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.units import ms

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["GdbServer", "Stub", "serve"]

STRETCH: Final = ms(50)
"""Virtual time the world is driven for before gdb is listened to; host time is bounded by `Driver`."""
FEATURES: Final = f"PacketSize={LARGEST:x};QStartNoAckMode+;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+;ReverseStep+;ReverseContinue+"
_RESUME: Final = re.compile(r"([cs]|[CS][0-9a-fA-F]{2});?([0-9a-fA-F]*)")
STOPPED, ENDED, BEGINNING, INTERRUPTED, CRASHED = b"T05thread:1;", b"W00", b"T05replaylog:begin;thread:1;", b"T02thread:1;", b"T0bthread:1;"
WRONG: Final = b"E01"


class Stub:
    """What gdb may ask of one domain.  `interrupted()` tells of a ^C while the world is driven."""

    def __init__(self, lab: Lab, name: str, interrupted: Callable[[], bool]) -> None:
        self._lab = lab
        self._name = name
        self._interrupted = interrupted
        self._debugger = lab.debugger
        self._mine: set[str] = set()
        self.layout: Layout = layout_of(lab.debugger.vcpu(name).cpu, int(lab.machine.images[name].manifest.get("bits", 64)))
        self.no_acks = False
        self.gone = False
        self._debugger.vcpu(name).cuts.stand()

    def answer(self, packet: bytes) -> bytes | None:
        """Return the reply to a packet; None for none.  Whatever is wrong is an error of the protocol, never one of ours."""
        text = packet.decode("latin-1")
        try:
            found = _COMMANDS.get(text[:1])
            return b"" if found is None else found(self, text[1:])
        except (MirageError, ValueError, KeyError, OverflowError, IndexError):
            return WRONG

    def leave(self) -> None:
        """gdb has gone: its breakpoints go with it."""
        for text in sorted(self._mine):
            try:
                self._debugger.remove(self._name, text)
            except LabError:
                continue  # somebody else took it away
        self._mine.clear()

    # what it is --------------------------------------------------------------------------------------------------

    def _state(self) -> bytes:
        machine = self._lab.machine
        state = machine.toolstack.domain(machine.domid(self._name)).state if machine.exists(self._name) else "gone"
        return ENDED if state in ("shutdown", "gone") else CRASHED if state == "crashed" else STOPPED

    def _why(self, rest: str) -> bytes:
        return self._state()

    def _query(self, rest: str) -> bytes:
        name, _, more = rest.partition(":")
        match name:
            case "Supported":
                return FEATURES.encode()
            case "Xfer" if more.startswith("features:read:target.xml:"):
                offset, _, length = more.removeprefix("features:read:target.xml:").partition(",")
                xml = self.layout.xml.encode()
                piece = xml[int(offset, 16) : int(offset, 16) + min(int(length, 16), LARGEST // 2)]
                return (b"m" if int(offset, 16) + len(piece) < len(xml) else b"l") + escaped(piece)
            case "Attached":
                return b"1"
            case "C":
                return b"QC1"
            case "fThreadInfo":
                return b"m1"
            case "sThreadInfo":
                return b"l"
            case "Symbol":
                return b"OK"
            case _:
                return b""

    def _set(self, rest: str) -> bytes:
        if rest != "StartNoAckMode":
            return b""
        self.no_acks = True
        return b"OK"

    def _thread(self, rest: str) -> bytes:
        return b"OK"

    # registers and memory ----------------------------------------------------------------------------------------

    def _read(self, row: Row) -> str:
        size = row.bits // 8
        if not row.ours:
            return "xx" * size
        return (self._debugger.vcpu(self._name).cpu.read(row.ours) & ((1 << row.bits) - 1)).to_bytes(size, "little").hex()

    def _write(self, row: Row, data: bytes) -> None:
        if len(data) != row.bits // 8:
            raise ValueError("a register of another size")
        if row.ours and self._read(row) != data.hex() and not self._lab.command("poke", name=self._name, register=row.ours, address=0, data=data):
            raise ValueError("there is no memory to go on at")

    def _registers(self, rest: str) -> bytes:
        with self._lab.lock:
            return "".join(map(self._read, self.layout.rows)).encode()

    def _set_registers(self, rest: str) -> bytes:
        at = 0
        for row in self.layout.rows:
            piece = rest[at : at + row.bits // 4]
            at += row.bits // 4
            if piece and "x" not in piece:
                self._write(row, bytes.fromhex(piece))
        return b"OK"

    def _register(self, rest: str) -> bytes:
        with self._lab.lock:
            return self._read(self.layout.rows[_hex(rest)]).encode()

    def _set_register(self, rest: str) -> bytes:
        number, _, value = rest.partition("=")
        self._write(self.layout.rows[_hex(number)], bytes.fromhex(value))
        return b"OK"

    def _memory(self, rest: str) -> bytes:
        address, _, length = rest.partition(",")
        at, left, found = _hex(address), min(_hex(length), LARGEST // 2 - 8), b""
        with self._lab.lock:
            cpu = self._debugger.vcpu(self._name).cpu
            while left:
                step = min(left, 4096 - (at & 4095))
                piece = cpu.load(at, step)
                if piece is None:
                    break
                found, at, left = found + piece, at + step, left - step
        return found.hex().encode() if found or not _hex(length) else WRONG

    def _set_memory(self, rest: str) -> bytes:
        where, _, data = rest.partition(":")
        address, _, length = where.partition(",")
        return self._patch(_hex(address), _hex(length), bytes.fromhex(data))

    def _set_binary(self, rest: str) -> bytes:
        where, _, data = rest.partition(":")
        address, _, length = where.partition(",")
        return self._patch(_hex(address), _hex(length), data.encode("latin-1"))

    def _patch(self, address: int, length: int, data: bytes) -> bytes:
        if length != len(data):
            return WRONG
        if not data:
            return b"OK"
        return b"OK" if self._lab.command("poke", name=self._name, register="", address=address, data=data) else WRONG

    # breakpoints -------------------------------------------------------------------------------------------------

    def _insert(self, rest: str) -> bytes:
        kind, address, *_ = rest.split(",")
        if kind not in ("0", "1"):
            return b""
        self._debugger.add(self._name, _hex(address))
        self._mine.add(hex(_hex(address)))
        return b"OK"

    def _remove(self, rest: str) -> bytes:
        kind, address, *_ = rest.split(",")
        if kind not in ("0", "1"):
            return b""
        text = hex(_hex(address))
        if text in self._mine:
            self._mine.discard(text)
            self._debugger.remove(self._name, text)
        return b"OK"

    # moving ------------------------------------------------------------------------------------------------------

    def _verbose(self, rest: str) -> bytes | None:
        if rest == "Cont?":
            return b"vCont;c;C;s;S"
        if rest.startswith("Cont;"):
            return self._resume(rest.removeprefix("Cont;").split(";")[0].split(":")[0])
        if rest.startswith("Kill"):
            self.gone = True
            return b"OK"
        return b""

    def _continue(self, rest: str) -> bytes:
        return self._resume("c" + rest)

    def _step(self, rest: str) -> bytes:
        return self._resume("s" + rest)

    def _with_signal(self, rest: str) -> bytes:
        return self._resume("C" + rest)

    def _step_with_signal(self, rest: str) -> bytes:
        return self._resume("S" + rest)

    def _resume(self, told: str) -> bytes:
        match = _RESUME.fullmatch(told)
        if match is None:
            return WRONG
        if match[2]:
            pc = self._debugger.vcpu(self._name).cpu.program_counter
            self._write(next(row for row in self.layout.rows if row.ours == pc), _hex(match[2]).to_bytes(self.layout.pointer, "little"))
        if self._state() is not STOPPED:
            return self._state()
        if self._lab.vm(self._name).state == "paused":
            self._lab.unpause(self._name)
        return self._go(step=match[1][0] in "sS")

    def _go(self, *, step: bool) -> bytes:
        """Drive until the guest has taken a step, or stops, or ends, or ^C comes."""
        debugger, lab = self._debugger, self._lab
        lab.pause()
        vcpu = debugger.vcpu(self._name)
        broken = False

        def interrupted() -> bool:
            nonlocal broken
            broken = broken or self._interrupted()
            return broken

        if step:
            vcpu.cuts.steps, vcpu.cuts.keep = 1, True
        try:
            while not interrupted():
                if debugger.stretch(STRETCH, interrupted):
                    vcpu.cuts.stand()
                    at = debugger.vcpu(self._name).cpu.pc
                    return b"T05swbreak:;thread:1;" if hex(at) in self._mine and not step else STOPPED
                if self._state() is not STOPPED:
                    return self._state()
        finally:
            vcpu.cuts.steps, vcpu.cuts.keep = None, False
        vcpu.cuts.stand()
        return INTERRUPTED

    def _back(self, rest: str) -> bytes:
        if rest == "s":
            try:
                self._debugger.step_back(self._name, 1, "instruction")
            except LabError:
                return BEGINNING
            return STOPPED
        return (b"T05swbreak:;thread:1;" if self._debugger.continue_back(self._name) else BEGINNING) if rest == "c" else b""

    def _detach(self, rest: str) -> bytes:
        self.gone = True
        return b"OK"

    def _kill(self, rest: str) -> None:
        self.gone = True


_COMMANDS: Final[dict[str, Callable[[Stub, str], bytes | None]]] = {
    "?": Stub._why,
    "q": Stub._query,
    "Q": Stub._set,
    "H": Stub._thread,
    "T": Stub._thread,
    "g": Stub._registers,
    "G": Stub._set_registers,
    "p": Stub._register,
    "P": Stub._set_register,
    "m": Stub._memory,
    "M": Stub._set_memory,
    "X": Stub._set_binary,
    "Z": Stub._insert,
    "z": Stub._remove,
    "v": Stub._verbose,
    "c": Stub._continue,
    "s": Stub._step,
    "C": Stub._with_signal,
    "S": Stub._step_with_signal,
    "b": Stub._back,
    "D": Stub._detach,
    "k": Stub._kill,
}


def _hex(text: str) -> int:
    if not 1 <= len(text) <= 16:
        raise ValueError(f"{text[:20]!r} is no number of up to 64 bits")
    return int(text, 16)


class GdbServer:
    """Listens on a port of 127.0.0.1 for one gdb at a time."""

    def __init__(self, lab: Lab, name: str, port: int) -> None:
        self._lab = lab
        self.name = name
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1)
        self._listener.settimeout(0.2)
        self.port = int(self._listener.getsockname()[1])
        self.connected = False
        self._closing = threading.Event()
        self._waiting: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, name="mirage_lab-gdb", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """True when nobody can connect any more."""
        return self._closing.is_set()

    def close(self) -> Said:
        """Hang up, and listen no more."""
        self._closing.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=5)
        return Said(f"{self.name}: gdb is let in no more")

    def __repr__(self) -> str:
        if self.closed:
            return f"{self.name}: closed; vm.gdb() lets gdb in again"
        state = "gdb is connected" if self.connected else "nobody is connected"
        return f'gdb -ex "target remote 127.0.0.1:{self.port}" · {self.name} · {state}'

    def _serve(self) -> None:
        with self._listener:
            while not self._closing.is_set():
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    continue  # nobody came
                with connection:
                    self.connected = True
                    try:
                        self._talk(connection)
                    except (OSError, MirageError):
                        pass  # it hung up in the middle, or the domain is gone
                    self.connected = False

    def _talk(self, connection: socket.socket) -> None:
        packets = Packets()
        self._waiting = []
        stub = Stub(self._lab, self.name, lambda: self._broken_into(connection, packets))
        last = b""
        try:
            while not self._closing.is_set() and not packets.broken and not stub.gone:
                if not self._waiting and not self._receive(connection, packets, wait=True):
                    return
                while self._waiting and not stub.gone:
                    packet = self._waiting.pop(0)
                    if packet == b"-":
                        connection.sendall(last)
                    elif packet != BREAK:
                        reply = stub.answer(packet)
                        if reply is not None:
                            last = encode(reply)
                            connection.sendall(last)
                        packets.acks = not stub.no_acks
        finally:
            stub.leave()

    def _receive(self, connection: socket.socket, packets: Packets, *, wait: bool) -> bool:
        """Take in what has come, or with `wait` what comes; False when gdb has gone, or shall go."""
        while not self._closing.is_set():
            connection.settimeout(0.2 if wait else 0)
            try:
                data = connection.recv(4096)
            except TimeoutError:
                continue
            except BlockingIOError:
                return True
            if not data:
                return False
            found, answer = packets.feed(data)
            self._waiting += found
            connection.settimeout(5)
            if answer:
                connection.sendall(answer)
            return len(self._waiting) < 64
        return False

    def _broken_into(self, connection: socket.socket, packets: Packets) -> bool:
        """While the world is driven: True for ^C; raises ConnectionResetError for a gdb that has gone, or a lab that closes."""
        if not self._receive(connection, packets, wait=False):
            raise ConnectionResetError
        connection.settimeout(5)
        if BREAK in self._waiting:
            self._waiting.remove(BREAK)
            return True
        return False


def serve(lab: Lab, name: str, port: int) -> GdbServer:
    """Return the server for a domain, made now if there is none; raises LabError for a port that is taken."""
    lab.debugger.vcpu(name)
    servers = lab.debugger.servers
    for server in servers:
        if isinstance(server, GdbServer) and server.name == name and not server.closed and port in (0, server.port):
            return server
    try:
        made = GdbServer(lab, name, port)
    except OSError as error:
        raise LabError(f"port {port} of 127.0.0.1: {error.strerror or error}; vm.gdb() takes one that is free") from None
    servers.append(made)
    return made

"""The stub that a gdb talks to: its packets, its answers, and peers that lie, stop in the middle or never end."""

from __future__ import annotations

import socket
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

import pytest

pytest.importorskip("unicorn")

from mirage_lab import Lab, ms
from mirage_lab.lab import LabError, Vm
from mirage_lab.lab.gdbpackets import BREAK, LARGEST, Packets, encode, escaped
from mirage_lab.lab.gdbregisters import AARCH64, ARM, X86_32, X86_64
from tests.machinecode import BASE, imm
from tests.unit.lab.test_debugging import COUNT, COUNTER, counter, image, rounds


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=1, name="gdb") as made:
        yield made


@pytest.fixture
def vm(lab: Lab) -> Vm:
    made = lab.create(image(rounds()))
    made.unpause()
    return made


class Client:
    """A gdb that says what a test wants it to."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.packets = Packets()
        self.packets.acks = False

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def reply(self) -> bytes:
        while True:
            data = self.socket.recv(4096)
            if not data:
                raise EOFError
            found, _ = self.packets.feed(data)
            for packet in found:
                if packet != b"-":
                    return packet

    def ask(self, payload: bytes) -> bytes:
        self.socket.sendall(encode(payload))
        return self.reply()


# packets ----------------------------------------------------------------------------------------------------------


def test_a_packet_comes_in_any_pieces_and_is_acknowledged() -> None:
    packets = Packets()
    wire = b"+" + encode(b"qSupported") + b"\x03" + encode(escaped(b"}#$*"))
    found, acks = [], b""
    for at in range(len(wire)):
        more, answer = packets.feed(wire[at : at + 1])
        found, acks = found + more, acks + answer
    assert found == [b"qSupported", BREAK, b"}#$*"] and acks == b"++"


def test_a_wrong_checksum_asks_again_and_what_lies_between_packets_is_ignored() -> None:
    packets = Packets()
    assert packets.feed(b"noise$g#00$g#zz" + encode(b"g")) == ([b"g"], b"--+")
    packets.acks = False
    assert packets.feed(b"$g#00" + encode(b"g")) == ([b"g"], b"")


def test_a_packet_without_an_end_breaks_the_line_and_keeps_nothing() -> None:
    packets = Packets()
    for _ in range(20):
        packets.feed(b"$" + b"a" * 4_096)
    assert packets.broken and not packets._buffer


# registers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layout", "names"), [(X86_32, "eip"), (X86_64, "rip"), (AARCH64, "pc"), (ARM, "pc")])
def test_a_target_description_is_xml_with_each_register_once(layout, names: str) -> None:  # type: ignore[no-untyped-def]
    tree = ElementTree.fromstring(layout.xml)  # noqa: S314 - our own
    told = [reg.get("name") for reg in tree.iter("reg")]
    assert told == [row.name for row in layout.rows] and len(set(told)) == len(told) and names in told


def test_registers_are_in_the_order_of_gdb(vm: Vm) -> None:
    with Client(vm.gdb().port) as gdb:
        told = bytes.fromhex(gdb.ask(b"g").replace(b"x", b"0").decode())
        assert told[8 * 4 : 9 * 4] == imm(BASE)  # eip is the ninth
        assert gdb.ask(b"p8") == imm(BASE).hex().encode() and gdb.ask(b"P1=07000000") == b"OK"
        assert vm.cpu.read("rcx") == 7 and gdb.ask(b"p10") == b"x" * 20 and gdb.ask(b"pff") == b"E01"
        written = gdb.ask(b"g")
        assert gdb.ask(b"G" + written) == b"OK" and [entry.name for entry in vm._lab.journal].count("poke") == 1


# moves ------------------------------------------------------------------------------------------------------------


def test_step_continue_and_back(vm: Vm) -> None:
    with Client(vm.gdb().port) as gdb:
        assert gdb.ask(b"?") == b"T05thread:1;"
        assert gdb.ask(b"Z0,%x,1" % COUNT) == b"OK" and gdb.ask(b"Z2,0,1") == b""
        assert gdb.ask(b"vCont;c") == b"T05swbreak:;thread:1;" and vm.cpu.pc == COUNT
        assert gdb.ask(b"s") == b"T05thread:1;" and counter(vm) == 1
        assert gdb.ask(b"bs") == b"T05thread:1;" and (counter(vm), vm.cpu.pc) == (0, COUNT)
        assert gdb.ask(b"c") == b"T05swbreak:;thread:1;" and counter(vm) == 1
        assert gdb.ask(b"bc") == b"T05swbreak:;thread:1;" and counter(vm) == 0
        assert gdb.ask(b"bc") == gdb.ask(b"bs") == b"T05replaylog:begin;thread:1;"
        assert gdb.ask(b"z0,%x,1" % COUNT) == b"OK" and gdb.ask(b"c") == b"W00" and gdb.ask(b"s") == b"W00"
    assert vm.state == "shutdown"


def test_memory_is_read_as_far_as_it_is_there_and_written_as_a_command(lab: Lab, vm: Vm) -> None:
    with Client(vm.gdb().port) as gdb:
        assert gdb.ask(b"m%x,4" % COUNTER) == b"00000000" and gdb.ask(b"M%x,2:abcd" % COUNTER) == b"OK"
        assert gdb.ask(b"X%x,3:" % COUNTER + escaped(b"}#\xff")) == b"OK" and gdb.ask(b"m%x,4" % COUNTER) == b"7d23ff00"
        assert len(gdb.ask(b"m%x,8" % ((8 << 20) - 4))) == 8 and gdb.ask(b"mf0000000,4") == b"E01"
        assert gdb.ask(b"M%x,9:abcd" % COUNTER) == b"E01"
    assert [entry.name for entry in lab.journal][2:] == ["poke", "poke"]


def test_a_domain_that_was_only_created_begins_when_gdb_goes_on(lab: Lab) -> None:
    vm = lab.create(image(rounds()))
    with Client(vm.gdb().port) as gdb:
        assert gdb.ask(b"?") == b"T05thread:1;" and vm.state == "paused"
        assert gdb.ask(b"s") == b"T05thread:1;" and (vm.state, vm.cpu.instructions) == ("running", 1)
        assert gdb.ask(b"c") == b"W00"
    assert [entry.name for entry in lab.journal] == ["create", "unpause"]


def test_ctrl_c_stops_a_guest_that_spins_and_gives_the_lab_back(lab: Lab) -> None:
    vm = lab.create(image(b"\xeb\xfe", name="spins"))
    vm.unpause()
    with Client(vm.gdb().port) as gdb:
        gdb.socket.sendall(encode(b"c"))
        while lab.now < ms(1):
            lab.run(ms(1))  # the person may drive meanwhile
        gdb.socket.sendall(BREAK)
        assert gdb.reply() == b"T02thread:1;" and gdb.ask(b"s") == b"T05thread:1;" and vm.cpu.pc == BASE
        assert "t = " in str(lab.run(ms(1)))


def test_breakpoints_of_gdb_leave_with_it_and_those_of_the_person_stay(lab: Lab, vm: Vm) -> None:
    vm.cpu.break_at("count")
    with Client(vm.gdb().port) as gdb:
        assert gdb.ask(b"Z0,%x,1" % COUNT) == b"OK" and gdb.ask(b"Z1,%x,1" % (COUNT + 6)) == b"OK" and len(vm.cpu.breakpoints) == 3
        assert gdb.ask(b"D") == b"OK"
        with pytest.raises(EOFError):
            gdb.reply()
    assert [each.text for each in vm.cpu.breakpoints] == ["count"]
    lab.run(ms(1))
    assert vm.cpu.pc == COUNT


def test_the_server_is_one_for_a_domain_and_ends_with_the_lab(lab: Lab, vm: Vm) -> None:
    server = vm.gdb()
    assert vm.gdb() is server and f"target remote 127.0.0.1:{server.port}" in repr(server)
    with pytest.raises(LabError, match=f"port {server.port}"):
        lab.create(image(rounds(), name="other")).gdb(server.port)
    with Client(server.port) as gdb:
        assert gdb.ask(b"?") == b"T05thread:1;"
        lab.close()
        with pytest.raises((EOFError, ConnectionError)):
            gdb.reply()
    assert server.closed and not server._thread.is_alive()
    with pytest.raises(ConnectionError):
        Client(server.port)


# peers that harm nobody -------------------------------------------------------------------------------------------

LIES = [
    b"m,", b"m0", b"mzz,4", b"m0,-1", b"mffffffffffffffffff,1", b"m0,ffffffffffff", b"M0,2", b"M0,2:zz", b"M0,ffff:00", b"X0,1", b"p", b"p-1",
    b"P0=zz", b"P0=1", b"G00", b"Gzz", b"Z0", b"Z0,,", b"Zx,1,1", b"z0,0,1", b"z1", b"v", b"vCont", b"vCont;", b"vCont;q", b"vCont;c;;;:::", b"vMustReplyEmpty",
    b"qXfer:features:read:target.xml:", b"qXfer:features:read:target.xml:-1,-1", b"qXfer:memory:read::0,4", b"q", b"Q", b"", b"\xff\xfe", b"b", b"bz",
    b"sffffffffffffffffff", b"H", b"T", b"C", b"cxyz", b"!", b"R00",
]  # fmt: skip


def test_whatever_is_said_has_an_answer_and_the_guest_stands(lab: Lab, vm: Vm) -> None:
    with Client(vm.gdb().port) as gdb:
        for lie in LIES:
            if lie.startswith((b"vCont;c", b"Q")):
                continue
            reply = gdb.ask(lie)
            assert len(reply) <= LARGEST and (reply in (b"", b"OK", b"E01", b"E01l") or reply[:1] in b"lm0"), (lie, reply)
        assert gdb.ask(b"?") == b"T05thread:1;" and vm.cpu.pc == BASE and vm.cpu.instructions == 0


def test_peers_that_never_end_or_hang_up_in_the_middle_leave_the_next_one_its_turn(lab: Lab, vm: Vm) -> None:
    server = vm.gdb()
    stopped = encode(b"Z0,%x,1" % COUNT) + encode(b"vCont;c") + b"$"
    for said in (b"$" + b"m" * 100_000, b"$m10", encode(b"c"), b"\x00" * 50_000, b"$g#00" * 500, stopped, BREAK * 500):
        with Client(server.port) as gdb:
            try:
                gdb.socket.sendall(said)
            except ConnectionError:
                continue  # it was hung up on
    with Client(server.port) as gdb:
        assert gdb.ask(b"?") in (b"T05thread:1;", b"W00")
    assert vm.cpu.breakpoints == [] and lab.machine is not None

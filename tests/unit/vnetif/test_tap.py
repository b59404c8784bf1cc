"""A port that is an interface of the host: what enters when, what is lost, and what a replay does not touch.

A pair of datagram sockets stands for /dev/net/tun: one read or write is one frame there too.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from mirage_lab import Lab, ms, seconds
from mirage_lab.lab.machine import Machine
from mirage_lab.runtime import World
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns
from mirage_lab.vnetif import Segment, Tap
from mirage_lab.vnetif import tap as tap_module

LINUX, GUEST, ALL = b"\x02\0\0\0\0\x09", b"\x02\0\0\0\0\x02", b"\xff" * 6

pytestmark = pytest.mark.skipif(os.name != "posix", reason="TAP interfaces are Linux's")


def frame(dst: bytes, src: bytes, body: bytes = b"x") -> bytes:
    return dst + src + b"\x88\xb5" + body


hidden = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="hidden, as where there is no Linux")


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """Stand for the kernel: each opened interface adds its other end here."""
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("hidden, as where there is no Linux")
    ends: list[socket.socket] = []

    def opened(name: str) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        theirs.setblocking(False)
        ends.append(theirs)
        return ours.detach()

    monkeypatch.setattr(tap_module, "opened", opened)
    yield ends
    for end in ends:
        end.close()


class Party:
    """A guest's port and Linux's on a lan."""

    def __init__(self) -> None:
        self.world = World(1)
        self.lan = Segment(self.world, "br0")
        self.heard: list[tuple[Ns, bytes]] = []
        self.guest = self.lan.attach("guest", lambda data: self.heard.append((self.world.now, data)))
        self.tap = Tap(self.world, self.lan, "tap0")
        self.tap.open()

    def __enter__(self) -> Party:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.tap.close()
        self.world.close()


def test_frames_of_linux_enter_at_the_next_tick_in_their_order_and_are_journalled_together(linux: list[socket.socket]) -> None:
    with Party() as party:
        world = party.world
        world.advance(Ns(300_000))
        sent = [frame(GUEST, LINUX, bytes([n])) for n in range(3)]
        for each in sent:
            linux[0].send(each)
        assert world.host.poll() and party.heard == []
        world.advance(ms(2))
        assert party.heard == [(ms(1), each) for each in sent]
        assert [(entry.name, entry.t, entry.outside) for entry in world.journal.entries] == [("tap.frames@tap0", ms(1), True)]
        assert party.tap.statistics().from_host == 3


def test_a_frame_for_linux_is_written_as_it_is(linux: list[socket.socket]) -> None:
    with Party() as party:
        party.guest.send(frame(ALL, GUEST, b"hello"))
        party.world.advance(ms(1))
        assert linux[0].recv(2_000) == frame(ALL, GUEST, b"hello") and party.tap.statistics().to_host == 1


def test_what_linux_does_not_take_is_lost_and_counted_and_the_world_goes_on(linux: list[socket.socket]) -> None:
    with Party() as party:
        for number in range(5_000):
            party.guest.send(frame(ALL, GUEST, number.to_bytes(2, "big")))
        party.world.advance(ms(1))
        seen = party.tap.statistics()
        assert seen.to_host > 0 and seen.lost == {"not taken": 5_000 - seen.to_host}


def test_a_flood_waits_outside_and_a_turn_is_bounded(linux: list[socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_module, "WAITING", 4)
    monkeypatch.setattr(tap_module, "TURN", 3)
    with Party() as party:
        for number in range(8):
            linux[0].send(frame(GUEST, LINUX, bytes([number])))
        assert [party.world.host.poll() for _ in range(4)] == [True, True, False, False]
        party.world.advance(ms(1))
        assert len(party.heard) == 4
        while party.world.host.poll():
            pass
        party.world.advance(ms(2))
        assert [data[-1] for _, data in party.heard] == [*range(8)]


def test_a_world_with_an_open_interface_is_paced_and_a_closed_one_is_not(linux: list[socket.socket]) -> None:
    with Party() as party:
        assert party.world.host_connections == 1
        party.tap.shut()
        party.tap.shut()
        assert party.world.host_connections == 0 and len(party.world.host) == 0
        party.tap.open()
        assert party.world.host_connections == 1 and party.tap.state == "open"


def test_an_interface_that_is_deleted_is_told_once(linux: list[socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(file: int, size: int) -> bytes:
        raise OSError(errno.EBADFD if hasattr(errno, "EBADFD") else errno.EIO, "File descriptor in bad state")

    with Party() as party:
        linux[0].send(frame(GUEST, LINUX))
        monkeypatch.setattr(os, "read", gone)
        party.world.host.poll()
        party.world.advance(ms(1))
        assert party.tap.state == "closed"
        assert [str(report.text) for report in party.world.take_reports()] == [
            "tap0: the interface is gone (File descriptor in bad state): somebody deleted it; lab.tap(lan, name='tap0') makes it again"
        ]
        party.guest.send(frame(ALL, GUEST))
        party.world.advance(ms(2))


@pytest.mark.parametrize("name", ["", "sixteen-letters!", "a/b", "a b", "tap%d", "täp", "."])
def test_a_name_that_linux_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(LocalProtocolError, match="cannot be the name of an interface"):
        Tap(World(1), Segment(World(1), "br0"), name)


@hidden
@pytest.mark.parametrize(
    ("opening", "setting", "said"),
    [
        (errno.ENOENT, 0, "there is no /dev/net/tun here: `sudo modprobe tun`"),
        (errno.EACCES, 0, "you may not open this interface .*`sudo ip tuntap add dev tap0 mode tap user \\$USER`"),
        (0, errno.EPERM, "you may not open this interface .*`sudo ip tuntap add dev tap0 mode tap user \\$USER`"),
        (0, errno.EBUSY, "another program holds this interface"),
        (0, errno.EINVAL, ".*that is no TAP"),
        (errno.ENFILE, 0, "/dev/net/tun: .*"),
    ],
)
def test_what_keeps_an_interface_from_opening_is_said_with_the_way_out(opening: int, setting: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def open_(path: str, *words: int) -> int:
        if opening:
            raise OSError(opening, os.strerror(opening))
        return real(os.devnull, os.O_RDWR)

    def ioctl(*ignored: object) -> None:
        raise OSError(setting, os.strerror(setting))

    fcntl = ModuleType("fcntl")
    fcntl.ioctl = ioctl  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fcntl", fcntl)
    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(tap_module.os, "O_NONBLOCK", 0, raising=False)
    with pytest.raises(LocalProtocolError, match=f"^tap0: {said}"):
        tap_module.opened("tap0")


def test_a_system_without_tap_says_what_works_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(LocalProtocolError, match="only Linux has; lab.forward"):
        tap_module.opened("tap0")


# in a lab ---------------------------------------------------------------------------------------------------------


def seen(machine: Machine) -> list[bytes]:
    return [each.data for each in machine.captures["br0"].since(1)]


def test_a_replay_opens_nothing_and_has_the_same_frames(linux: list[socket.socket]) -> None:
    with Lab(seed=1, name="tap") as lab:
        lan = lab.lan("br0")
        lab.capture(lan)
        lab.tap(lan)
        linux[0].send(frame(ALL, LINUX, b"once"))
        lab.run(ms(5))
        before = seen(lab.machine)
        assert any(data.endswith(b"once") for data in before)
        again = type(lab.machine).replayed(1, lab.journal, lab.places)
        assert len(linux) == 1 and again.taps["tap0"].state == "closed"
        assert seen(again) == before
        lab.rewind(ms(2))
        assert len(linux) == 2 and lab.machine.taps["tap0"].state == "open"


def test_the_same_cell_again_changes_nothing_and_a_closed_interface_opens_again(linux: list[socket.socket]) -> None:
    with Lab(seed=1, name="tap") as lab:
        lan = lab.lan("br0")
        tap = lab.tap(lan)
        assert "ip address add 10.0.0.9/24 dev tap0; ip link set tap0 up" in repr(tap)
        assert repr(lab.tap("br0")) == repr(tap) and len(linux) == 1
        assert "lab.tap('br0', name='tap0')" in str(lab.script())
        assert "tap0" in repr(lan) and "no latency, this computer at tap0" in repr(lab)
        tap.close()
        assert "closed; lab.tap(lan, name='tap0')" in repr(tap) and "tap0" not in repr(lan)
        lab.tap(lan)
        assert len(linux) == 2 and lab.machine.taps["tap0"].state == "open"
        lab.tap(lab.lan("br1", subnet="10.0.1.0/24"))
        assert len(linux) == 3 and lab.machine.taps["tap0"].segment.name == "br1"
    assert lab.closed


def test_an_interface_that_cannot_be_opened_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str) -> int:
        raise LocalProtocolError("no")

    monkeypatch.setattr(tap_module, "opened", refused)
    with Lab(seed=1, name="tap") as lab:
        lan = lab.lan("br0")
        with pytest.raises(LocalProtocolError, match="no"):
            lab.tap(lan)
        assert [entry.name for entry in lab.journal] == ["lan"] and "tap0" not in repr(lan)
        lab.run(seconds(10))

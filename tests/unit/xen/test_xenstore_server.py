"""What the tests of the server of 2014 ask (mirage/ocaml-xenstore-server, server_test.ml), in our words, on the ring and on a socket of dom0."""

from __future__ import annotations

import pytest

from mirage_lab.runtime import World
from mirage_lab.xen.abi.io import xs_wire as wire
from mirage_lab.xen.abi.xen import Domid
from mirage_lab.xen.xenstore.connection import WATCHES, Connection
from mirage_lab.xen.xenstore.daemon import Daemon
from mirage_lab.xen.xenstore.transaction import ENGINES, Engine


class Party:
    """A client that speaks the protocol: domain `domid`, or a program of dom0."""

    def __init__(self, daemon: Daemon, domid: int) -> None:
        self.daemon = daemon
        self.connection = Connection(daemon, Domid(domid), f"d{domid}", None, lambda: None)
        if domid:
            daemon._connections[domid] = self.connection

    def taken(self) -> list[tuple[int, bytes]]:
        """Everything it was sent: (kind, payload)."""
        data, found = bytes(self.connection._out), []
        self.connection._out.clear()
        while data:
            kind, _, _, length = wire.HEADER.unpack_from(data)
            found.append((kind, data[16 : 16 + length]))
            data = data[16 + length :]
        return found

    def __call__(self, op: int, payload: bytes, tid: int = 0) -> bytes:
        """Ask, and return the answer; events that came before it are dropped."""
        self.connection.feed(wire.message(op, 1, tid, payload))
        [answer] = [data for kind, data in self.taken() if kind != wire.WATCH_EVENT]
        return answer

    def start(self) -> int:
        return int(self(wire.TRANSACTION_START, b"\0")[:-1])

    def events(self) -> list[bytes]:
        return [data for kind, data in self.taken() if kind == wire.WATCH_EVENT]


class Server:
    """A daemon, dom0 and two domains."""

    def __init__(self, engine: Engine = "irmin") -> None:
        world = World(1)
        self.daemon = Daemon(world, world.queue("dom0"), engine=engine)
        self.dom0, self.one, self.two = (Party(self.daemon, domid) for domid in (0, 1, 2))


def test_writing_makes_the_directories_above_with_the_permissions_of_the_nearest_one() -> None:
    server = Server()
    assert server.dom0(wire.WRITE, b"/a/b/c\0v") == b"OK\0"
    assert [server.dom0(wire.READ, path) for path in (b"/a\0", b"/a/b\0", b"/a/b/c\0")] == [b"", b"", b"v"]
    server.dom0(wire.SET_PERMS, b"/a\0" b"w1\0" b"r2\0")
    assert server.two(wire.WRITE, b"/a/x/y\0v") == b"EACCES\0"
    server.dom0(wire.SET_PERMS, b"/a\0" b"n1\0" b"b2\0")
    assert server.two(wire.WRITE, b"/a/x/y\0v") == b"OK\0"
    assert server.two(wire.GET_PERMS, b"/a/x\0") == b"n2\0b2\0" and server.dom0(wire.GET_PERMS, b"/a/x/y\0") == b"n2\0b2\0"


def test_permissions_come_back_as_they_were_set_and_only_the_owner_sets_them() -> None:
    server = Server()
    server.dom0(wire.MKDIR, b"/a\0")
    for perms in (b"n0\0", b"r1\0w2\0", b"b1\0n2\0r3\0"):
        assert server.dom0(wire.SET_PERMS, b"/a\0" + perms) == b"OK\0" and server.dom0(wire.GET_PERMS, b"/a\0") == perms
    assert server.one(wire.SET_PERMS, b"/a\0" b"r1\0b2\0") == b"OK\0"
    assert server.two(wire.SET_PERMS, b"/a\0" b"r1\0") == b"EACCES\0"
    assert server.one(wire.SET_PERMS, b"/a\0" b"r2\0") == b"EPERM\0"


def test_making_a_directory_twice_keeps_its_value_and_removing_needs_a_parent() -> None:
    server = Server()
    server.dom0(wire.WRITE, b"/a\0v")
    assert server.dom0(wire.MKDIR, b"/a\0") == b"OK\0" and server.dom0(wire.READ, b"/a\0") == b"v"
    assert server.dom0(wire.RM, b"/a/b\0") == b"OK\0" and server.dom0(wire.RM, b"/x/y\0") == b"ENOENT\0"
    assert server.dom0(wire.RM, b"/a\0") == b"OK\0" and server.dom0(wire.READ, b"/a\0") == b"ENOENT\0"
    assert server.dom0(wire.RM, b"/\0") == b"EINVAL\0"


@pytest.mark.parametrize("payload", [b"\0", b"", b"/\0\0", b"a/\0", b"//\0", b"/a//b\0"])
def test_a_path_that_is_none_is_refused(payload: bytes) -> None:
    assert Server().dom0(wire.READ, payload) == b"EINVAL\0"


def test_children_are_listed_in_the_order_in_which_they_were_made() -> None:
    server = Server()
    for name in (b"c", b"a", b"b"):
        server.dom0(wire.WRITE, b"/d/" + name + b"\0")
    assert server.dom0(wire.DIRECTORY, b"/d\0") == b"c\0a\0b\0"


def test_restrict_is_no_operation_any_more() -> None:
    assert Server().dom0(wire.RESTRICT, b"1\0") == b"ENOSYS\0"


def test_a_stub_domain_may_do_what_its_target_may() -> None:
    server = Server()
    server.dom0(wire.WRITE, b"/a\0v")
    server.dom0(wire.SET_PERMS, b"/a\0" b"n2\0")
    assert server.one(wire.READ, b"/a\0") == b"EACCES\0"
    assert server.one(wire.SET_TARGET, b"1\0" b"2\0") == b"EACCES\0"
    assert server.dom0(wire.SET_TARGET, b"1\0" b"9\0") == b"ENOENT\0" and server.dom0(wire.SET_TARGET, b"1\0") == b"EINVAL\0"
    assert server.dom0(wire.SET_TARGET, b"1\0" b"0\0") == b"EINVAL\0"
    assert server.dom0(wire.SET_TARGET, b"1\0" b"2\0") == b"OK\0"
    assert server.one(wire.READ, b"/a\0") == b"v" and server.one(wire.WRITE, b"/a\0w") == b"OK\0" and server.one(wire.SET_PERMS, b"/a\0" b"r2\0") == b"OK\0"
    tid = server.one.start()
    assert server.one(wire.WRITE, b"/a/b\0x", tid) == b"OK\0" and server.one(wire.TRANSACTION_END, b"T\0", tid) == b"OK\0"
    server.dom0(wire.SET_PERMS, b"/a\0" b"n2\0")
    server.daemon.release(Domid(1))
    assert Party(server.daemon, 1)(wire.READ, b"/a\0") == b"EACCES\0"


def test_dom0_introduces_resumes_and_releases_domains_and_nobody_else_does() -> None:
    server = Server()
    server.dom0(wire.WATCH, b"@introduceDomain\0in\0")
    server.dom0(wire.WATCH, b"@releaseDomain\0out\0")
    server.dom0.events()
    assert server.dom0(wire.IS_DOMAIN_INTRODUCED, b"7\0") == b"F\0"
    for op, payload in ((wire.INTRODUCE, b"7\0" b"100\0" b"3\0"), (wire.RESUME, b"1\0"), (wire.RELEASE, b"1\0")):
        assert server.one(op, payload) == b"EACCES\0"
    for bad in (b"7\0" b"100\0", b"7\0" b"100\0x\0", b"0\0" b"1\0" b"1\0", b"40000\0" b"1\0" b"1\0"):
        assert server.dom0(wire.INTRODUCE, bad) == b"EINVAL\0"
    assert server.dom0(wire.RESUME, b"7\0") == b"ENOENT\0" and server.dom0(wire.RELEASE, b"7\0") == b"ENOENT\0"
    server.dom0.connection.feed(wire.message(wire.INTRODUCE, 1, 0, b"7\0" b"100\0" b"3\0"))
    assert sorted(server.dom0.taken()) == [(wire.INTRODUCE, b"OK\0"), (wire.WATCH_EVENT, b"@introduceDomain\0in\0")]
    assert server.dom0(wire.INTRODUCE, b"7\0" b"100\0" b"3\0") == b"OK\0" and server.dom0.events() == []
    assert server.dom0(wire.IS_DOMAIN_INTRODUCED, b"7\0") == b"T\0" and server.dom0(wire.RESUME, b"7\0") == b"OK\0"
    server.dom0.connection.feed(wire.message(wire.RELEASE, 1, 0, b"7\0"))
    assert sorted(server.dom0.taken()) == [(wire.RELEASE, b"OK\0"), (wire.WATCH_EVENT, b"@releaseDomain\0out\0")]
    assert server.dom0(wire.IS_DOMAIN_INTRODUCED, b"7\0") == b"F\0"
    assert server.dom0(wire.GET_DOMAIN_PATH, b"7\0") == b"/local/domain/7\0"


def test_a_domain_that_is_not_there_cannot_be_introduced() -> None:
    server = Server()
    server.daemon.exists = lambda domid: domid < 3
    assert server.dom0(wire.INTRODUCE, b"7\0" b"100\0" b"3\0") == b"EINVAL\0"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_transaction_is_not_seen_before_its_end_nor_after_it_was_dropped(engine: Engine) -> None:
    server = Server(engine)
    for word, after in ((b"F\0", b"ENOENT\0"), (b"T\0", b"v")):
        tid = server.dom0.start()
        server.dom0(wire.WRITE, b"/a\0v", tid)
        assert server.dom0(wire.READ, b"/a\0", tid) == b"v" and server.dom0(wire.READ, b"/a\0") == b"ENOENT\0"
        assert server.dom0(wire.TRANSACTION_END, word, tid) == b"OK\0" and server.dom0(wire.READ, b"/a\0") == after


def test_transactions_that_have_nothing_to_do_with_one_another_both_end_well() -> None:
    server = Server()
    one, two = server.dom0.start(), server.dom0.start()
    server.dom0(wire.WRITE, b"/a/b\0" b"1", one)
    server.dom0(wire.WRITE, b"/c/d\0" b"2", two)
    assert [server.dom0(wire.TRANSACTION_END, b"T\0", tid) for tid in (one, two)] == [b"OK\0", b"OK\0"]
    assert (server.dom0(wire.READ, b"/a/b\0"), server.dom0(wire.READ, b"/c/d\0")) == (b"1", b"2")


def test_devices_of_two_domains_are_made_in_two_transactions_at_once() -> None:
    """The case for which the C xenstored is slow: both make their home below the same directories."""
    server = Server()
    tids = server.dom0.start(), server.dom0.start()
    for domid, tid in zip((b"1", b"2"), tids, strict=True):
        for path in (b"/local/domain/" + domid + b"/device/vif/0", b"/local/domain/0/backend/vif/" + domid + b"/0"):
            assert server.dom0(wire.MKDIR, path + b"\0", tid) == b"OK\0"
            assert server.dom0(wire.SET_PERMS, path + b"\0n" + domid + b"\0", tid) == b"OK\0"
            assert server.dom0(wire.WRITE, path + b"/state\0" b"1", tid) == b"OK\0"
    assert [server.dom0(wire.TRANSACTION_END, b"T\0", tid) for tid in tids] == [b"OK\0", b"OK\0"]
    assert server.dom0(wire.DIRECTORY, b"/local/domain/0/backend/vif\0") == b"1\0" b"2\0"
    assert server.daemon.store.owned[1] == server.daemon.store.owned[2] == 4


def test_transactions_that_met_do_conflict() -> None:
    server = Server()
    server.dom0(wire.WRITE, b"/n\0" b"1")
    one, two = server.dom0.start(), server.dom0.start()
    for tid in (one, two):
        assert server.dom0(wire.READ, b"/n\0", tid) == b"1"
        server.dom0(wire.WRITE, b"/n\0" b"2", tid)
    assert [server.dom0(wire.TRANSACTION_END, b"T\0", tid) for tid in (one, two)] == [b"OK\0", b"EAGAIN\0"]


def test_a_watch_is_told_relative_to_its_domain_when_it_was_set_so() -> None:
    server = Server()
    server.dom0(wire.MKDIR, b"/local/domain/1\0")
    server.dom0(wire.SET_PERMS, b"/local/domain/1\0n1\0")
    server.one(wire.WATCH, b"device\0t\0")
    server.one(wire.WATCH, b"/local/domain/1/device\0u\0")
    server.one.taken()
    server.one.connection.feed(wire.message(wire.WRITE, 1, 0, b"device/a\0v"))
    assert sorted(server.one.events()) == [b"/local/domain/1/device/a\0u\0", b"device/a\0t\0"]


def test_a_domain_is_not_told_of_what_it_may_not_read() -> None:
    server = Server()
    server.one(wire.WATCH, b"/a\0t\0")
    server.one.taken()
    server.dom0(wire.WRITE, b"/a\0v")
    assert server.one.events() == []
    server.dom0(wire.SET_PERMS, b"/a\0r0\0")
    server.one.taken()
    server.dom0(wire.WRITE, b"/a\0w")
    assert server.one.events() == [b"/a\0t\0"]


def test_resetting_watches_drops_the_transactions_too() -> None:
    server = Server()
    tid = server.one.start()
    server.one(wire.WATCH, b"/a\0t\0")
    assert server.one(wire.RESET_WATCHES, b"\0") == b"OK\0"
    assert server.one(wire.TRANSACTION_END, b"T\0", tid) == b"ENOENT\0" and server.one(wire.UNWATCH, b"/a\0t\0") == b"ENOENT\0"


def test_watches_of_a_domain_are_counted_and_those_of_dom0_are_not() -> None:
    server = Server()
    for number in range(WATCHES):
        assert server.one(wire.WATCH, b"/a\0%d\0" % number) == b"OK\0"
    assert server.one(wire.WATCH, b"/a\0more\0") == b"E2BIG\0" and server.one(wire.WATCH, b"/a\0" b"0\0") == b"EEXIST\0"
    for number in range(WATCHES + 1):
        assert server.dom0(wire.WATCH, b"/a\0%d\0" % number) == b"OK\0"

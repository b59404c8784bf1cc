"""xenstored is killed in the middle of a boot, started again, and nobody notices; the past can be read, tried on, and gone back to."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab import Lab, devices, ms, us
from mirage_lab.irmin.errors import ObjectError, StoreError
from mirage_lab.lab.said import LabError
from mirage_lab.lab.store import XenStore
from mirage_lab.runtime import World
from mirage_lab.signatures.units import Ns
from mirage_lab.skeleton import web
from mirage_lab.xen.abi.io import xs_wire as wire
from mirage_lab.xen.abi.xen import PAGE_SIZE, Domid
from mirage_lab.xen.xenstore import Daemon
from mirage_lab.xen.xenstore.history import History, of_world
from mirage_lab.xen.xenstore.sessions import BRANCH, Sessions, decode_session, encode_session
from mirage_lab.xen.xenstore.transaction import ENGINES, Engine

BOOT = us(2_000)
"""By then two domains have booted."""


def two() -> Lab:
    """A lab with two unikernels, about to boot."""
    lab = Lab(seed=3)
    lan = lab.lan("br0", latency=us(100))
    for number, name in enumerate(("one", "two"), 2):
        stack = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address=f"10.0.0.{number}/24", gateway="10.0.0.1")
        lab.create(web(devices.default_console, stack), vif=[lan], name=name).unpause()
    return lab


def tree(lab: Lab) -> dict[str, str]:
    """Everything in the store, and who may do what."""
    return {path: f"{value} {perms}" for path, value, _, perms in lab.machine.toolstack.xenstore.walk(10_000)}


def test_a_boot_in_which_xenstored_is_killed_again_and_again_ends_as_any() -> None:
    """Once after every 20 us of the boot of two domains; then each serves its page."""
    plain = two()
    plain.run(BOOT)
    wanted = tree(plain)
    assert wanted["/local/domain/1/device/vif/0/state"].startswith("4 ")
    lab = two()
    for _ in range(BOOT // us(20)):
        lab.run(us(20))
        lab.xenstore.restart()
    lab.run(ms(5))
    assert tree(lab) == wanted
    for number in (2, 3):
        assert "200" in str(lab.fetch(f"10.0.0.{number}"))


@pytest.mark.parametrize("at", range(0, 1_200, 75))
def test_a_boot_in_which_xenstored_is_killed_once_ends_as_any(at: int) -> None:
    plain = two()
    plain.run(BOOT)
    wanted = tree(plain)
    lab = two()
    lab.run(us(at))
    lab.xenstore.restart()
    lab.run(ms(5))
    assert tree(lab) == wanted


def test_a_rewind_goes_through_the_restart_again() -> None:
    lab = two()
    lab.run(us(300))
    lab.xenstore.restart()
    lab.run(ms(3))
    before = tree(lab), lab.xenstore.log(5)[0].name
    lab.rewind(lab.machine.world.now)
    assert (tree(lab), lab.xenstore.log(5)[0].name) == before


# a domain on its ring ---------------------------------------------------------------------------------------------


class Guest:
    """A domain that talks to a daemon over a ring page."""

    def __init__(self, engine: Engine = "irmin") -> None:
        self.world = World(1)
        self.queue = self.world.queue("dom0")
        self.page = memoryview(bytearray(PAGE_SIZE))
        history = of_world(self.world)
        self.daemon = Daemon(self.world, self.queue, engine=engine, history=history, sessions=Sessions(history.repo))
        self.dom0 = self.daemon.connect()
        self.dom0.mkdir("/local/domain/7")
        self.dom0.set_perms("/local/domain/7", ["n7"])
        self.daemon.introduce(Domid(7), self.page, lambda: None, "guest")

    def restart(self) -> None:
        """Kill the daemon and start another."""
        before, repo = self.daemon, self.daemon.history.repo
        before.stop()
        self.daemon = Daemon(self.world, self.queue, engine=before.engine, history=History(repo), sessions=Sessions(repo))
        self.daemon.readopt(self.dom0)
        self.daemon.resume(Domid(7), self.page, lambda: None, "guest")

    def put(self, data: bytes) -> None:
        """Write into the ring."""
        wire.write(self.page, data, request=True)

    def ask(self, op: int, *strings: str, tid: int = 0, end: bool = True) -> tuple[int, bytes]:
        """Make a request and return what was answered, watch events apart."""
        payload = "\0".join(strings).encode() + (b"\0" if end else b"")
        self.put(wire.message(op, 1, tid, payload))
        self.daemon.kick(Domid(7))
        answers = [(kind, data) for kind, data in self.taken() if kind != wire.WATCH_EVENT]
        assert len(answers) == 1
        return answers[0]

    def rest(self) -> None:
        """Let everything happen that is about to."""
        self.world.advance(Ns(self.world.now + ms(1)))

    def taken(self) -> list[tuple[int, bytes]]:
        """Take what is in the ring: (kind, payload) of each message."""
        self.rest()
        data, found = wire.read(self.page, request=False), []
        while data:
            kind, _, _, length = wire.HEADER.unpack_from(data)
            found.append((kind, data[wire.HEADER.size : wire.HEADER.size + length]))
            data = data[wire.HEADER.size + length :]
        return found


def test_a_watch_is_still_there_and_tells_nothing_twice() -> None:
    guest = Guest()
    assert guest.ask(wire.WATCH, "device", "token")[0] == wire.WATCH
    guest.taken()
    guest.restart()
    assert guest.taken() == []
    guest.dom0.write("/local/domain/7/device/x", "1")
    assert guest.taken() == [(wire.WATCH_EVENT, b"device/x\0token\0")]


def test_an_event_that_was_not_taken_comes_later() -> None:
    """The ring was full of events when xenstored was killed."""
    guest = Guest()
    guest.ask(wire.WATCH, "device", "token")
    for n in range(60):
        guest.dom0.write(f"/local/domain/7/device/{n:03}", "x")
    guest.rest()
    guest.restart()
    found: list[tuple[int, bytes]] = []
    data = b""
    for _ in range(200):
        data += wire.read(guest.page, request=False)
        guest.daemon.kick(Domid(7))
        guest.rest()
    while data:
        kind, _, _, length = wire.HEADER.unpack_from(data)
        found.append((kind, data[wire.HEADER.size : wire.HEADER.size + length]))
        data = data[wire.HEADER.size + length :]
    assert [payload for _, payload in found] == [f"device/{n:03}\0token\0".encode() for n in range(60)]


def test_half_a_request_is_finished_later() -> None:
    guest = Guest()
    request = wire.message(wire.WRITE, 5, 0, b"name\0guest")
    guest.put(request[:20])
    guest.daemon.kick(Domid(7))
    guest.restart()
    guest.put(request[20:])
    guest.daemon.kick(Domid(7))
    assert guest.taken() == [(wire.WRITE, b"OK\0")] and guest.dom0.read("/local/domain/7/name") == "guest"


@pytest.mark.parametrize("engine", ENGINES)
def test_an_open_transaction_keeps_its_number_and_what_was_done_in_it(engine: Engine) -> None:
    """Where the engine can tell that nothing it saw has changed, it commits; the others answer EAGAIN, as they may."""
    guest = Guest(engine)
    tid = int(guest.ask(wire.TRANSACTION_START, "")[1].rstrip(b"\0"))
    assert guest.ask(wire.WRITE, "a", "1", tid=tid, end=False) == (wire.WRITE, b"OK\0")
    assert guest.ask(wire.READ, "b", tid=tid) == (wire.ERROR, b"ENOENT\0")
    guest.restart()
    assert guest.ask(wire.READ, "a", tid=tid) == (wire.READ, b"1")
    assert guest.ask(wire.READ, "a") == (wire.ERROR, b"ENOENT\0")
    ended = guest.ask(wire.TRANSACTION_END, "T", tid=tid)
    assert ended == ((wire.TRANSACTION_END, b"OK\0") if engine == "irmin" else (wire.ERROR, b"EAGAIN\0"))
    assert guest.daemon.next_tid() > tid


def test_a_transaction_whose_answers_no_longer_hold_is_refused_after_a_restart_too() -> None:
    guest = Guest()
    guest.dom0.write("/local/domain/7/b", "1")
    guest.dom0.set_perms("/local/domain/7/b", ["n7"])
    tid = int(guest.ask(wire.TRANSACTION_START, "")[1].rstrip(b"\0"))
    assert guest.ask(wire.READ, "b", tid=tid) == (wire.READ, b"1")
    guest.restart()
    guest.dom0.write("/local/domain/7/b", "2")
    assert guest.ask(wire.TRANSACTION_END, "T", tid=tid) == (wire.ERROR, b"EAGAIN\0")


def test_what_dom0_watches_is_told_after_a_restart() -> None:
    guest = Guest()
    seen: list[str] = []
    guest.dom0.watch("/local/domain/7/x", seen.append)
    guest.rest()
    guest.restart()
    guest.ask(wire.WRITE, "x", "1", end=False)
    guest.rest()
    assert seen == ["/local/domain/7/x", "/local/domain/7/x"]


def test_who_may_be_told_of_domains_that_go_is_told_after_a_restart_too() -> None:
    guest = Guest()
    guest.ask(wire.WATCH, "@releaseDomain", "token")
    guest.taken()
    guest.dom0.set_perms("@releaseDomain", ["n0", "r7"])
    guest.restart()
    guest.daemon.introduce(Domid(8), memoryview(bytearray(4096)), lambda: None, "other")
    guest.daemon.release(Domid(8))
    assert guest.taken() == [(wire.WATCH_EVENT, b"@releaseDomain\0token\0")]


def test_owners_are_counted_again() -> None:
    guest = Guest()
    for n in range(5):
        guest.ask(wire.WRITE, f"n{n}", "1", end=False)
    owned = guest.daemon.store.owned[7]
    guest.restart()
    assert guest.daemon.store.owned[7] == owned == 6


def test_a_domain_that_is_gone_leaves_no_session() -> None:
    guest = Guest()
    guest.ask(wire.WATCH, "device", "token")
    guest.daemon.release(Domid(7))
    assert Sessions(guest.daemon.history.repo).get("7") is None


VALUES = st.recursive(st.none() | st.booleans() | st.integers(0, 1 << 40) | st.text(max_size=8) | st.binary(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple), max_leaves=8)  # fmt: skip  # noqa: E501


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_a_record_comes_back_as_it_was(session: dict[str, object]) -> None:
    assert decode_session(encode_session(session)) == session


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_an_object_error(data: bytes) -> None:
    for candidate in (data, json.dumps({"watches": data.hex()}).encode()[: len(data)]):
        try:
            decode_session(candidate)
        except ObjectError:
            continue


# the past ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def lab() -> Lab:
    """A lab with a domain that has booted."""
    made = two()
    made.run(BOOT)
    return made


def test_the_log_has_a_line_for_each_change(lab: Lab) -> None:
    lab.xenstore.write("/tool/note", "hello")
    log = lab.xenstore.log(3)
    assert len(log) == 3 and repr(log).splitlines()[0].endswith("Domain 0: write /tool/note = hello")


def test_the_store_can_be_read_as_it_was(lab: Lab) -> None:
    lab.xenstore.write("/tool/note", "one")
    then = lab.xenstore.log(1)[0].name.hex()
    lab.xenstore.write("/tool/note", "two")
    past = lab.xenstore.at(then[:8])
    assert past.read("/tool/note") == "one" and lab.xenstore.read("/tool/note") == "two"
    assert past.list("/tool") == ["note"] and "note" in repr(past)
    with pytest.raises(LabError, match="a commit never changes"):
        past.write("/tool/note", "three")


def test_going_back_puts_everything_back_and_tells_who_watches(lab: Lab) -> None:
    before = tree(lab)
    then = lab.xenstore.log(1)[0].name.hex()
    lab.xenstore.write("/local/domain/1/name", "changed")
    lab.xenstore.write("/tool/a/b/c", "1")
    lab.xenstore.rm("/vm")
    lab.xenstore.chmod("/local/domain/2/name", "n0", "b1")
    seen: list[str] = []
    lab.machine.toolstack.xenstore.watch("/local/domain/1", seen.append)
    lab.run(us(100))
    said = lab.xenstore.restore(then)
    lab.run(us(100))
    assert tree(lab) == before and "/local/domain/1/name" in seen and str(said).startswith("xenstore: ")
    assert repr(lab.xenstore.log(1)).split("Domain 0: ")[1].startswith("transaction")


def test_what_was_tried_on_a_branch_is_seen_by_nobody_until_it_is_merged(lab: Lab) -> None:
    branch = lab.xenstore.branch("what-if")
    branch.write("/local/domain/1/memory/target", "65536")
    branch.write("/tool/new", "here")
    branch.rm("/libxl")
    lab.xenstore.write("/tool/other", "meanwhile")
    assert branch.read("/tool/new") == "here" and lab.xenstore.read("/local/domain/1/memory/target") == "32768"
    assert str(branch.merge()) == "xenstore: what-if is merged"
    store: XenStore = lab.xenstore
    assert (store.read("/tool/new"), store.read("/tool/other"), store.read("/local/domain/1/memory/target")) == ("here", "meanwhile", "65536")
    assert "libxl" not in store.list("/") and len(store.log(1)[0].parents) == 2


def test_a_node_that_both_changed_is_a_conflict_and_nothing_is_done(lab: Lab) -> None:
    branch = lab.xenstore.branch("what-if")
    branch.write("/local/domain/1/name", "mine")
    branch.write("/tool/new", "here")
    lab.xenstore.write("/local/domain/1/name", "yours")
    conflicts = branch.merge()
    assert isinstance(conflicts, list) and [str(conflict).split(":")[0] for conflict in conflicts] == ["/local/domain/1/name"]
    assert lab.xenstore.read("/local/domain/1/name") == "yours" and "new" not in lab.xenstore.list("/tool")


def test_the_branches_of_xenstored_itself_are_not_for_trying(lab: Lab) -> None:
    for name in ("main", BRANCH):
        with pytest.raises(StoreError, match="xenstored's own"):
            lab.xenstore.branch(name)
    with pytest.raises(StoreError, match="no commit and no branch"):
        lab.xenstore.at("ffffffff")


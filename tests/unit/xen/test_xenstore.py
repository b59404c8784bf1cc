"""xenstore: permissions, transactions, watches, quotas, and the protocol on its ring."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage_lab.runtime import World
from mirage_lab.signatures.units import ms
from mirage_lab.xen.abi.io import xs_wire as wire
from mirage_lab.xen.abi.xen import Domid
from mirage_lab.xen.xenstore import Daemon, Store, StoreError
from mirage_lab.xen.xenstore.store import View, parse_perms
from mirage_lab.xen.xenstore.transaction import ENGINES, Engine, Transaction

GUEST = 3
HOME = f"/local/domain/{GUEST}"


class Ring:
    """A domain that speaks the protocol by hand."""

    def __init__(self) -> None:
        self.world = World(1)
        self.daemon = Daemon(self.world, self.world.queue("dom0"))
        self.page = memoryview(bytearray(4096))
        self.notified = 0
        self.daemon.store.mkdir(HOME)
        self.daemon.store.set_perms(HOME, ((0, "n"), (GUEST, "r")))
        self.daemon.store.mkdir(f"{HOME}/data")
        self.daemon.store.set_perms(f"{HOME}/data", ((GUEST, "n"),))
        self.daemon.introduce(Domid(GUEST), self.page, self._notify, "guest")
        self._buffer = bytearray()

    def _notify(self) -> None:
        self.notified += 1

    def send(self, op: int, payload: bytes, rid: int = 1, tid: int = 0) -> None:
        rest = wire.message(op, rid, tid, payload)
        while rest:
            rest = rest[wire.write(self.page, rest, request=True) :]
            self.daemon.kick(Domid(GUEST))

    def replies(self) -> list[tuple[int, int, bytes]]:
        self.world.advance(ms(self.world.now // 1_000_000 + 1))
        self._buffer += wire.read(self.page, request=False)
        self.daemon.kick(Domid(GUEST))
        found = []
        while len(self._buffer) >= 16:
            op, rid, _, length = wire.HEADER.unpack_from(self._buffer)
            found.append((op, rid, bytes(self._buffer[16 : 16 + length])))
            del self._buffer[: 16 + length]
        return found

    def ask(self, op: int, payload: bytes, tid: int = 0) -> bytes:
        self.send(op, payload, 7, tid)
        [(_, rid, answer)] = self.replies()
        assert rid == 7
        return answer


def test_a_domain_reads_its_own_and_not_what_it_may_not() -> None:
    ring = Ring()
    ring.daemon.store.write("/secret", b"x")
    ring.daemon.store.set_perms("/secret", ((0, "n"),))
    ring.daemon.store.write(f"{HOME}/name", b"guest")
    assert ring.ask(wire.READ, b"name\0") == b"guest"
    assert ring.ask(wire.READ, f"{HOME}/name\0".encode()) == b"guest"
    assert ring.ask(wire.READ, b"/secret\0") == b"EACCES\0"
    assert ring.ask(wire.READ, b"nothing\0") == b"ENOENT\0"
    assert ring.ask(wire.WRITE, b"name\0other") == b"EACCES\0"
    assert ring.ask(wire.WRITE, b"data/mine\0value") == b"OK\0"
    assert ring.ask(wire.READ, b"data/mine\0") == b"value"
    assert ring.ask(wire.GET_PERMS, b"data/mine\0") == b"n3\0"
    assert ring.ask(wire.DIRECTORY, b"data\0") == b"mine\0"


@pytest.mark.parametrize(
    ("op", "payload", "answer"),
    [
        (wire.READ, b"no zero", b"EINVAL\0"),
        (wire.READ, b"a//b\0", b"EINVAL\0"),
        (wire.READ, b"a b\0", b"EINVAL\0"),
        (wire.READ, b"\xff\0", b"EINVAL\0"),
        (wire.READ, b"x" * 2_100 + b"\0", b"EINVAL\0"),
        (wire.SET_PERMS, b"data\0q9\0", b"EINVAL\0"),
        (wire.SET_PERMS, b"data\0n0\0", b"EPERM\0"),
        (wire.TRANSACTION_END, b"T\0", b"ENOENT\0"),
        (wire.INTRODUCE, b"1\0" b"2\0" b"3\0", b"EACCES\0"),
        (wire.UNWATCH, b"data\0token\0", b"ENOENT\0"),
        (wire.RM, b"/\0", b"EINVAL\0"),
        (77, b"", b"ENOSYS\0"),
    ],
)
def test_what_is_wrong_is_refused_by_name(op: int, payload: bytes, answer: bytes) -> None:
    assert Ring().ask(op, payload) == answer


def test_values_and_children_live_together_and_are_removed_together() -> None:
    store = Store()
    store.write("/a", b"value")
    store.write("/a/b/c", b"deep")
    assert store.read("/a") == b"value" and store.directory("/a") == ["b"]
    store.rm("/a")
    assert not store.exists("/a/b/c")
    with pytest.raises(StoreError, match="ENOENT"):
        store.read("/a")


def test_a_transaction_is_seen_only_when_it_commits() -> None:
    store = Store()
    tx = Transaction(store, 1, 0)
    tx.write("/a", b"1")
    assert tx.read("/a") == b"1" and not store.exists("/a")
    tx.commit()
    assert store.read("/a") == b"1"


def test_two_transactions_over_one_node_conflict_and_over_two_do_not() -> None:
    store = Store()
    store.write("/a", b"0")
    first, second, third = (Transaction(store, tid, 0) for tid in (1, 2, 3))
    first.write("/a", first.read("/a") + b"1")
    second.write("/a", second.read("/a") + b"2")
    third.write("/b", b"3")
    first.commit()
    with pytest.raises(StoreError, match="EAGAIN"):
        second.commit()
    third.commit()
    assert store.read("/a") == b"01" and store.read("/b") == b"3"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_transaction_sees_the_store_as_it_was_when_it_began(engine: Engine) -> None:
    store = Store()
    store.write("/a", b"old")
    store.write("/d/gone", b"1")
    tx = Transaction(store, 1, 0, engine)
    assert tx.read("/a") == b"old"
    store.write("/a", b"new")
    store.rm("/d/gone")
    store.write("/d/come", b"2")
    assert tx.read("/a") == b"old" and tx.directory("/d") == ["gone"] and tx.read("/d/gone") == b"1" and not tx.exists("/d/come")
    with pytest.raises(StoreError, match="EAGAIN"):
        tx.commit()
    assert store.read("/a") == b"new" and store.directory("/d") == ["come"]


def test_a_list_of_children_that_was_taken_must_not_change() -> None:
    store = Store()
    store.mkdir("/d")
    tx = Transaction(store, 1, 0)
    assert tx.directory("/d") == []
    tx.write("/seen", b"none")
    store.write("/d/new", b"")
    with pytest.raises(StoreError, match="EAGAIN"):
        tx.commit()


def test_a_watch_fires_at_once_and_once_for_each_change_below() -> None:
    ring = Ring()
    ring.send(wire.WATCH, b"data\0mine\0")
    events = [payload for op, _, payload in ring.replies() if op == wire.WATCH_EVENT]
    assert events == [b"data\0mine\0"]
    ring.daemon.store.write(f"{HOME}/data/x/y", b"1")
    ring.daemon.store.write(f"{HOME}/other", b"1")
    assert [payload for _, _, payload in ring.replies()] == [b"data/x/y\0mine\0"]
    ring.daemon.store.rm(f"{HOME}/data")
    assert [payload for _, _, payload in ring.replies()] == [b"data\0mine\0"]


def test_changes_of_a_transaction_fire_when_it_commits_and_not_when_it_is_dropped() -> None:
    ring = Ring()
    ring.send(wire.WATCH, b"data\0t\0")
    ring.replies()
    for word, count in ((b"F\0", 0), (b"T\0", 2)):
        tid = int(ring.ask(wire.TRANSACTION_START, b"\0")[:-1])
        ring.ask(wire.WRITE, b"data/a\0" + b"1", tid)
        ring.ask(wire.WRITE, b"data/b\0" + b"2", tid)
        ring.send(wire.TRANSACTION_END, word, 9, tid)
        assert len([op for op, _, _ in ring.replies() if op == wire.WATCH_EVENT]) == count


def test_quotas_hold() -> None:
    ring = Ring()
    for number in range(1_100):
        try:
            ring.daemon.store.write(f"{HOME}/data/{number}", b"", GUEST)
        except StoreError as error:
            assert error.name == "ENOSPC"
    assert ring.daemon.store.owned[GUEST] <= 1_000
    assert ring.ask(wire.WRITE, b"data\0" + bytes(2_049)) == b"ENOSPC\0"
    answers = [ring.ask(wire.TRANSACTION_START, b"\0") for _ in range(11)]
    assert answers[-1] == b"ENOSPC\0"


def test_a_ring_whose_index_lies_ends_that_connection_only() -> None:
    ring = Ring()
    ring.page[wire.REQ_CONS + 4 : wire.REQ_CONS + 8] = (5_000).to_bytes(4, "little")
    ring.daemon.kick(Domid(GUEST))
    assert ring.daemon._connections[GUEST].error
    ring.daemon.store.write("/still", b"alive")


def test_a_request_longer_than_a_message_ends_the_connection() -> None:
    ring = Ring()
    wire.write(ring.page, wire.HEADER.pack(wire.READ, 1, 0, 1 << 20), request=True)
    ring.daemon.kick(Domid(GUEST))
    assert "4096" in ring.daemon._connections[GUEST].error


def test_a_guest_that_takes_no_replies_is_bounded() -> None:
    ring = Ring()
    ring.daemon.store.write(f"{HOME}/big", bytes(2_000))
    request = wire.message(wire.READ, 1, 0, b"big\0")
    taken = 0
    for _ in range(500):
        taken += wire.write(ring.page, request, request=True) // len(request)
        ring.daemon.kick(Domid(GUEST))
    assert taken < 100 and len(ring.daemon._connections[GUEST]._out) < 200_000


@given(st.binary(max_size=200), st.integers(0, 30))
def test_no_payload_of_any_operation_breaks_the_daemon(payload: bytes, op: int) -> None:
    ring = Ring()
    ring.send(op, payload)
    for kind, rid, _ in ring.replies():
        assert kind == wire.WATCH_EVENT or rid == 1


names = st.sampled_from(["/a", "/a/b", "/a/b/c", "/d", "/d/e"])
steps = st.lists(st.tuples(st.sampled_from(["write", "rm", "mkdir"]), names, st.binary(max_size=3)), max_size=30)


@given(steps, st.booleans())
def test_the_store_agrees_with_a_dictionary(done: list[tuple[str, str, bytes]], in_transaction: bool) -> None:
    store, model = Store(), {}
    view = Transaction(store, 1, 0) if in_transaction else store

    def parents(path: str) -> list[str]:
        parts = path.split("/")[1:]
        return ["/" + "/".join(parts[:count]) for count in range(1, len(parts))]

    for op, path, value in done:
        if op == "rm":
            above = path.rpartition("/")[0]
            if above and above not in model:
                with pytest.raises(StoreError, match="ENOENT"):
                    view.rm(path)
            else:
                view.rm(path)
            model = {name: kept for name, kept in model.items() if name != path and not name.startswith(path + "/")}
            continue
        for above in parents(path):
            model.setdefault(above, b"")
        if op == "write":
            view.write(path, value)
            model[path] = value
        else:
            view.mkdir(path)
            model.setdefault(path, b"")
    if isinstance(view, Transaction):
        view.commit()
    assert {name: store.read(name) for name in model} == model
    assert [name for name in ("/a", "/a/b", "/a/b/c", "/d", "/d/e") if store.exists(name)] == sorted(model)


def test_permissions_are_read_as_xenstore_chmod_writes_them() -> None:
    assert parse_perms(["n0", "r1", "b2"]) == ((0, "n"), (1, "r"), (2, "b"))
    for bad in (["x0"], ["n"], [], ["n-1"], ["n0"] * 40):
        with pytest.raises(StoreError):
            parse_perms(bad)


def test_watches_are_found_by_path_and_forgotten_with_their_domain() -> None:
    ring = Ring()
    ring.send(wire.WATCH, b"data\0one\0")
    ring.send(wire.WATCH, b"/\0all\0")
    ring.send(wire.WATCH, b"data/a/b\0deep\0")
    ring.replies()
    ring.daemon.store.write(f"{HOME}/data/a", b"")
    told = sorted(payload for _, _, payload in ring.replies())
    assert told == [b"/local/domain/3/data/a\0all\0", b"data/a\0one\0"]
    ring.ask(wire.UNWATCH, b"data\0one\0")
    ring.daemon.store.rm(f"{HOME}/data/a")
    told = sorted(payload for _, _, payload in ring.replies())
    assert told == [b"/local/domain/3/data/a\0all\0", b"data/a/b\0deep\0"]
    ring.daemon.release(Domid(GUEST))
    assert ring.daemon._watched == {}


def test_removing_what_is_not_there_is_fine_below_a_node_that_is() -> None:
    ring = Ring()
    assert ring.ask(wire.RM, b"data/nothing\0") == b"OK\0"
    assert ring.ask(wire.RM, b"data/nothing/below\0") == b"ENOENT\0"


def test_names_that_begin_with_an_at_sign_are_reserved_for_what_happens_to_domains() -> None:
    ring = Ring()
    for op, rest in ((wire.WRITE, b"value"), (wire.READ, b""), (wire.MKDIR, b""), (wire.RM, b"")):
        assert ring.ask(op, b"@releaseDomain\0" + rest) == b"EINVAL\0"
    assert ring.ask(wire.WATCH, b"@anything\0token\0") == b"EINVAL\0"
    with pytest.raises(StoreError, match="@anything: EINVAL"):
        ring.daemon.set_special("@anything", ((0, "n"),), 0)


def test_a_path_is_what_the_daemons_of_xen_take_for_one() -> None:
    """Read off xenstored and oxenstored 4.17, character by character."""
    ring = Ring()
    taken = "".join(chr(code) for code in range(1, 256) if ring.ask(wire.MKDIR, b"data/c" + bytes([code]) + b"x\0") == b"OK\0")
    assert taken == "-/0123456789@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
    for path in (b"/@x", b"data/a", b"a" * 2_048, b"/" + b"a" * 3_070):
        assert ring.ask(wire.READ, path + b"\0") in (b"ENOENT\0", b"EACCES\0")
    for path in (b"", b"/a//b", b"/a/", b"@x", b"a" * 2_049, b"/" + b"a" * 3_071):
        assert ring.ask(wire.READ, path + b"\0") == b"EINVAL\0"


def test_domains_that_come_and_go_are_told_to_who_watches_for_them() -> None:
    ring = Ring()
    seen: list[str] = []
    client = ring.daemon.connect()
    client.watch("@introduceDomain", seen.append)
    client.watch("@releaseDomain", seen.append)
    ring.send(wire.WATCH, b"@releaseDomain\0gone\0")
    ring.replies()
    assert sorted(seen) == ["@introduceDomain", "@releaseDomain"]
    ring.daemon.introduce(Domid(4), memoryview(bytearray(4096)), lambda: None, "other")
    ring.replies()
    assert seen[2:] == ["@introduceDomain"] and client.list("/") == ["local", "tool", "vm", "libxl"]
    ring.daemon.release(Domid(4))
    assert not ring.replies(), "a domain is told when dom0 lets it read that"
    assert seen[3:] == ["@releaseDomain"]
    assert ring.ask(wire.SET_PERMS, b"@releaseDomain\0n3\0") == b"EACCES\0"
    client.set_perms("@releaseDomain", ["n0", f"r{GUEST}"])
    ring.daemon.introduce(Domid(4), memoryview(bytearray(4096)), lambda: None, "other")
    ring.daemon.release(Domid(4))
    assert [payload for _, _, payload in ring.replies()] == [b"@releaseDomain\0gone\0"]


def test_a_transaction_that_met_another_is_told_eagain_over_the_ring_and_changed_nothing() -> None:
    ring = Ring()
    ring.ask(wire.WRITE, b"data/counter\0" + b"1")
    tid = int(ring.ask(wire.TRANSACTION_START, b"\0")[:-1])
    assert ring.ask(wire.READ, b"data/counter\0", tid) == b"1"
    ring.ask(wire.WRITE, b"data/counter\0" + b"2", tid)
    ring.ask(wire.WRITE, b"data/other\0" + b"3", tid)
    ring.daemon.store.write(f"{HOME}/data/counter", b"10")
    assert ring.ask(wire.TRANSACTION_END, b"T\0", tid) == b"EAGAIN\0"
    assert ring.ask(wire.READ, b"data/counter\0") == b"10"
    assert ring.ask(wire.READ, b"data/other\0") == b"ENOENT\0"
    assert ring.ask(wire.TRANSACTION_END, b"T\0", tid) == b"ENOENT\0"


def test_a_watch_fires_once_for_a_node_however_often_a_transaction_wrote_it() -> None:
    ring = Ring()
    ring.send(wire.WATCH, b"data\0t\0")
    ring.replies()
    tid = int(ring.ask(wire.TRANSACTION_START, b"\0")[:-1])
    for value in (b"1", b"2", b"3"):
        ring.ask(wire.WRITE, b"data/a\0" + value, tid)
    ring.ask(wire.WRITE, b"data/b\0", tid)
    ring.ask(wire.RM, b"data/b\0", tid)
    ring.send(wire.TRANSACTION_END, b"T\0", 9, tid)
    assert [payload for op, _, payload in ring.replies() if op == wire.WATCH_EVENT] == [b"data/a\0t\0", b"data/b\0t\0"]


def test_a_transaction_over_the_quota_changes_nothing_at_all() -> None:
    ring = Ring()
    store = ring.daemon.store
    tx = Transaction(store, 1, GUEST)
    for number in range(10):
        tx.write(f"{HOME}/data/late{number}", b"", GUEST)
    for number in range(995):
        store.write(f"{HOME}/data/{number}", b"", GUEST)
    with pytest.raises(StoreError, match="ENOSPC"):
        tx.commit()
    assert not any(name.startswith("late") for name in store.directory(f"{HOME}/data"))
    with pytest.raises(StoreError, match="ENOSPC"):
        second = Transaction(store, 2, GUEST)
        for number in range(10):
            second.write(f"{HOME}/data/more{number}", b"", GUEST)


def test_the_toolstack_is_not_bound_by_the_quota_of_a_guest() -> None:
    ring = Ring()
    for number in range(999):
        ring.daemon.store.write(f"{HOME}/data/{number}", b"", GUEST)
    ring.daemon.connect().write(f"{HOME}/data/from-dom0", "1")
    assert ring.ask(wire.WRITE, b"data/from-guest\0" + b"1") == b"ENOSPC\0"


def test_what_a_transaction_of_a_guest_looks_at_is_bounded() -> None:
    ring = Ring()
    tx = Transaction(ring.daemon.store, 1, GUEST)
    with pytest.raises(StoreError, match="ENOSPC"):
        for number in range(100_000):
            try:
                tx.read(f"{HOME}/data/nothing{number}", GUEST)
            except StoreError as error:
                if error.name != "ENOENT":
                    raise
    assert number < 5_000


def test_nobody_is_told_of_a_removal_of_what_it_may_not_read() -> None:
    ring = Ring()
    store = ring.daemon.store
    for path, perms in (("/secret", ((0, "n"),)), ("/secret/shown", ((0, "r"),)), ("/open", ((0, "r"),))):
        store.mkdir(path)
        store.set_perms(path, perms)
    for path in (b"/", b"/secret/shown"):
        ring.send(wire.WATCH, path + b"\0" + path + b"\0")
    ring.replies()
    store.rm("/secret")
    store.rm("/open")
    assert [payload for _, _, payload in ring.replies()] == [b"/secret/shown\0/secret/shown\0", b"/open\0/\0"]


def test_watches_and_transactions_are_told_of_when_asked() -> None:
    ring = Ring()
    ring.world.recorder.enable("xenstore.*")
    ring.send(wire.WATCH, b"data\0token\0")
    connection = ring.daemon._connections[GUEST]
    for commit in (False, True):
        tid = connection.start()
        connection.view(tid).write(f"{HOME}/data/a", b"", GUEST)
        connection.end(tid, commit)
    fired = ring.world.recorder.events("xenstore.watch")
    assert [event.fields for event in fired] == [{"path": "data", "token": "token"}, {"path": "data/a", "token": "token"}]
    assert [event.kind for event in ring.world.recorder.causes(fired[1].id)] == ["xenstore.watch", "xenstore.write"]
    assert [event.fields["end"] for event in ring.world.recorder.events("xenstore.transaction")] == ["dropped", "committed"]


Op = tuple[str, str, bytes]


def perform(view: View, ops: list[Op]) -> list[object]:
    """Carry out `ops` and return what was answered."""
    answers: list[object] = []
    for op, path, value in ops:
        try:
            match op:
                case "read":
                    answers.append(view.read(path))
                case "list":
                    answers.append(view.directory(path))
                case "look":
                    answers.append((view.exists(path), view.get_perms(path)))
                case "write":
                    view.write(path, value)
                case "mkdir":
                    view.mkdir(path)
                case "perms":
                    view.set_perms(path, ((len(value), "n"), (3, "r")))
                case _:
                    view.rm(path)
        except StoreError as error:
            answers.append(error.name)
    return answers


def whole(store: Store) -> tuple[dict[str, object], dict[int, int]]:
    """Everything in it, and who owns how much."""
    nodes: dict[str, object] = {path: (node.value, node.perms, set(node.children)) for path, node in store.nodes.items()}
    return nodes, {who: count for who, count in store.owned.items() if count}


kinds = st.sampled_from(["read", "list", "look", "write", "write", "mkdir", "perms", "rm"])
mixed = st.lists(st.tuples(kinds, names, st.binary(max_size=2)), max_size=8)


@settings(max_examples=400)
@given(mixed, mixed, mixed)
def test_a_transaction_that_commits_was_as_if_alone(before: list[Op], mine: list[Op], others: list[Op]) -> None:
    store, model = Store(), Store()
    perform(store, before)
    tx = Transaction(store, 1, 0)
    answers = perform(tx, mine)
    perform(store, others)
    told: list[str] = []
    store.on_change = lambda op, path, node, others: told.append(path)
    try:
        tx.commit()
    except StoreError as error:
        assert error.name == "EAGAIN" and not told
        mine = []
    perform(model, before)
    perform(model, others)
    model.on_change = store.on_change
    told, expected = [], told
    if mine:
        assert perform(model, mine) == answers
    assert whole(store) == whole(model) and told == expected


@given(mixed, mixed)
def test_a_transaction_that_would_be_answered_the_same_is_never_refused(mine: list[Op], others: list[Op]) -> None:
    store, model = Store(), Store()
    tx = Transaction(store, 1, 0)
    answers = perform(tx, mine)
    perform(store, others)
    perform(model, others)
    if perform(model, mine) == answers:
        tx.commit()
        assert whole(store) == whole(model)


def test_no_request_leaves_anything_to_the_collector_of_garbage() -> None:
    """`mirage-lab xenstored` lets it work only while nobody asks for anything."""
    ring = Ring()

    def ask(number: int) -> None:
        ring.ask(wire.READ, b"nothing\0")
        ring.ask(wire.WRITE, b"data/a/b\0%d" % number)
        for commit in (b"T\0", b"F\0"):
            tid = int(ring.ask(wire.TRANSACTION_START, b"\0")[:-1])
            ring.ask(wire.READ, b"data/a/b\0", tid)
            ring.ask(wire.WRITE, b"data/a/c\0%d" % number, tid)
            ring.ask(wire.WRITE, b"data/a/b\0%d" % (number + 1))
            ring.ask(wire.TRANSACTION_END, commit, tid)
        ring.ask(wire.RM, b"data/a\0")

    ask(0)
    gc.collect()
    gc.disable()
    try:
        for number in range(50):
            ask(number)
        assert gc.collect() == 0
    finally:
        gc.enable()

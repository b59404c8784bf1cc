"""Xenstore on Irmin: the history has what the store has, is readable, and brings the store back; engines and their conflicts."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab import Lab
from mirage_lab.irmin import BYTES, Repo
from mirage_lab.irmin.commit import history
from mirage_lab.irmin.errors import ObjectError
from mirage_lab.runtime import World
from mirage_lab.xen.xenstore import Daemon, Store, StoreError
from mirage_lab.xen.xenstore.history import History, decode_entry, encode_entry
from mirage_lab.xen.xenstore.store import Perms
from mirage_lab.xen.xenstore.transaction import ENGINES, Engine, Transaction

perms = st.lists(st.tuples(st.integers(0, 9), st.sampled_from("nrwb")), min_size=1, max_size=4).map(tuple)
names = st.sampled_from(["/a", "/a/b", "/a/b/c", "/d", "/d/e.dir", "/d/.git", "/d/e.value"])


def daemon() -> Daemon:
    world = World(1)
    return Daemon(world, world.queue("dom0"))


@given(st.binary(max_size=30), perms)
def test_a_node_comes_back_from_its_expression(value: bytes, given: Perms) -> None:
    assert decode_entry(encode_entry(value, given)) == (value, given)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_node_or_the_one_error(data: bytes) -> None:
    for tried in (data, encode_entry(b"halt", ((7, "n"),))[: len(data)] + data):
        try:
            decode_entry(tried)
        except ObjectError:
            pass


@given(st.lists(st.tuples(st.sampled_from(["write", "mkdir", "rm", "perms", "begin", "end"]), names, st.binary(max_size=3)), max_size=14))
def test_the_newest_commit_has_what_the_store_has_and_brings_it_back(ops: list[tuple[str, str, bytes]]) -> None:
    xenstored = daemon()
    client = xenstored.connect()
    connection, tid = client._connection, 0
    for op, path, value in ops:
        try:
            if op == "begin" and not tid:
                tid = connection.start()
            elif op == "end" and tid:
                ending, tid = tid, 0
                connection.end(ending, value != b"")
            elif op in ("write", "mkdir", "rm", "perms"):
                within = tid if value[:1] < b"\x80" else 0
                view = connection.view(within)
                with xenstored.acting(connection, within):
                    if op == "write":
                        view.write(path, value)
                    elif op == "mkdir":
                        view.mkdir(path)
                    elif op == "rm":
                        view.rm(path)
                    else:
                        view.set_perms(path, ((0, "n"), (3, "r")))
        except StoreError:
            pass
    now = {path: (node.value, node.perms, sorted(node.children)) for path, node in xenstored.store.nodes.items()}
    kept = xenstored.history.entries()
    assert {path: entry for path, entry in kept.items() if path != "/"} == {path: found[:2] for path, found in now.items() if path != "/"}
    again = Store()
    again.restore(kept)
    assert {path: (node.value, node.perms, sorted(node.children)) for path, node in again.nodes.items()} == now


def test_a_boot_is_a_history_one_can_read() -> None:
    with Lab.demo("web", seed=1) as lab:
        head = lab.machine.toolstack.daemon.history.head
        assert head is not None
        told = [commit.info.message.partition("\n")[0] for commit in history(head)]
        assert any(line.startswith("Domain 1: write /local/domain/1/device/vif/0/state = 4") for line in told)
        assert {commit.info.author for commit in history(head)} >= {"Domain 0", "Domain 1"} and len(told) > 6
    with Lab.demo("web", seed=1) as again:
        other = again.machine.toolstack.daemon.history.head
        assert other is not None and other.name == head.name


def test_a_transaction_is_a_branch_that_is_merged_when_the_store_has_moved_on() -> None:
    xenstored = daemon()
    one, two = xenstored.connect("one"), xenstored.connect("two")
    with one.transaction() as inside:
        inside.write("/a", "1")
        two.write("/b", "2")
    merge = xenstored.history.head
    assert merge is not None and merge.info.message == "Domain 0: merging transaction 1" and len(merge.parents) == 2
    assert merge.parents[0].info.message == "Domain 0: write /b = 2" and merge.parents[1].info.message.startswith("Domain 0: write /a = 1")
    assert xenstored.history.entries()["/a"][0] == b"1"


def test_a_history_in_memory_begins_anew_when_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)
    xenstored = Daemon(world, world.queue("dom0"), history=History(Repo(BYTES), 10))
    client = xenstored.connect()
    for number in range(35):
        client.write("/n", str(number))
    head = xenstored.history.head
    assert head is not None and len(history(head)) <= 12 and xenstored.history.entries()["/n"][0] == b"34"


@given(st.lists(st.tuples(st.sampled_from(["write", "rm", "begin", "end"]), names, st.binary(max_size=2)), max_size=12), st.sampled_from([None, 4]))
def test_a_history_is_the_same_whenever_one_looks_at_it(ops: list[tuple[str, str, bytes]], most: int | None) -> None:
    found = []
    for look in (True, False):
        world = World(1)
        xenstored = Daemon(world, world.queue("dom0"), history=History(Repo(BYTES), most))
        connection, tid = xenstored.connect()._connection, 0
        for op, path, value in ops:
            with contextlib.suppress(StoreError), xenstored.acting(connection, tid):
                if op == "begin" and not tid:
                    tid = connection.start()
                elif op == "end" and tid:
                    ending, tid = tid, 0
                    connection.end(ending, True)
                elif op == "write":
                    connection.view(tid if value[:1] < b"\x80" else 0).write(path, value)
                elif op == "rm":
                    connection.view(0).rm(path)
            assert not look or xenstored.history.head is not None
        found.append(xenstored.history.head)
    assert found[0] is not None and found[1] is not None
    looked, late = ([commit.root.name for commit in history(head)] for head in found)
    shown = min(len(looked), len(late))
    assert looked[:shown] == late[:shown] and (most is None or len(late) <= 2 * most)
    if most is None:
        assert found[0].name == found[1].name


@pytest.mark.parametrize(
    ("engine", "siblings", "blind", "elsewhere", "reads"),
    [("irmin", "", "", "", "EAGAIN"), ("naive", "EAGAIN", "EAGAIN", "", "EAGAIN"), ("serial", "EAGAIN", "EAGAIN", "EAGAIN", "EAGAIN")],
)
def test_what_a_conflict_is(engine: Engine, siblings: str, blind: str, elsewhere: str, reads: str) -> None:
    def ends(mine: str, others: str, read: str = "") -> str:
        store = Store()
        store.write("/d/x", b"0")
        store.write("/e", b"0")
        tx = Transaction(store, 1, 0, engine)
        if read:
            tx.read(read)
        tx.write(mine, b"1")
        store.write(others, b"2")
        try:
            tx.commit()
        except StoreError as error:
            return error.name
        return ""

    assert ends("/d/new", "/d/other") == siblings
    assert ends("/d/x", "/d/x") == blind
    assert ends("/d/x", "/e") == elsewhere
    assert ends("/d/y", "/d/x", read="/d/x") == reads


@pytest.mark.parametrize("engine", ENGINES)
def test_clients_that_count_together_lose_nothing(engine: Engine) -> None:
    store, counted, retries = Store(), 0, 0
    store.write("/n", b"0")
    for _ in range(20):
        both = [Transaction(store, tid, 0, engine) for tid in (1, 2)]
        for tx in both:
            tx.write("/n", b"%d" % (int(tx.read("/n")) + 1))
        for tx in both:
            try:
                tx.commit()
                counted += 1
            except StoreError as error:
                assert error.name == "EAGAIN"
                retries += 1
    assert int(store.read("/n")) == counted == retries == 20

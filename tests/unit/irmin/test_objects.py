"""Git's encodings: there and back, and bytes that are none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.irmin.errors import ObjectError, PathError
from mirage_lab.irmin.objects import BLOB, TREE, Info, decode_commit, decode_tree, encode_commit, encode_tree, kept_of, name_of
from mirage_lab.irmin.path import steps_of

names = st.binary(min_size=20, max_size=20)
steps = st.text(min_size=1, max_size=6).filter(lambda step: "\0" not in step and "/" not in step)


def test_the_names_are_those_git_gives() -> None:
    assert name_of(BLOB, b"hello\n").hex() == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert name_of(TREE, b"").hex() == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def test_a_directory_is_sorted_as_if_its_name_ended_in_a_slash() -> None:
    body = encode_tree([("a", True, b"1" * 20), ("a.b", False, b"2" * 20), ("a0", False, b"3" * 20)])
    assert [name for name, _, _ in decode_tree(body)] == ["a.b", "a", "a0"]


@given(st.dictionaries(steps, st.tuples(st.booleans(), names), max_size=5))
def test_a_tree_comes_back(entries: dict[str, tuple[bool, bytes]]) -> None:
    rows = [(step, directory, name) for step, (directory, name) in entries.items()]
    assert sorted(decode_tree(encode_tree(rows))) == sorted(rows)


modes = st.sampled_from([b"100755", b"120000", b"160000"])


@given(st.dictionaries(steps, st.tuples(st.booleans(), names), max_size=4), st.dictionaries(steps, st.tuples(modes, names), max_size=4))
def test_programs_links_and_submodules_come_back_beside_the_rest(entries: dict[str, tuple[bool, bytes]], odd: dict[str, tuple[bytes, bytes]]) -> None:
    rows = [(step, directory, name) for step, (directory, name) in entries.items() if step not in odd]
    programs = [(step, False, name) for step, (mode, name) in odd.items() if mode == b"100755"]
    kept = {step: (mode, b"" if mode == b"100755" else name) for step, (mode, name) in odd.items()}
    body = encode_tree([*rows, *programs], kept)
    assert kept_of(body) == kept and sorted(decode_tree(body)) == sorted([*rows, *programs])
    assert encode_tree(decode_tree(body), kept_of(body)) == body


@given(names, st.lists(names, max_size=3), st.integers(0, 10**12), st.text(max_size=10), st.text(st.characters(exclude_categories=()), max_size=20))
def test_a_commit_comes_back_whatever_its_author_and_message(tree: bytes, parents: list[bytes], date: int, author: str, message: str) -> None:
    found = decode_commit(encode_commit(tree, parents, Info(date, author, message)))
    assert found[0] == tree and list(found[1]) == parents and found[2].date == date
    if message.isascii():
        assert found[2].message == message.replace("\0", "?")


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_the_one_error(data: bytes) -> None:
    for decode in (decode_tree, kept_of, decode_commit):
        try:
            decode(data)
        except ObjectError:
            pass


@given(st.text(st.characters(exclude_categories=()), max_size=12))
def test_any_text_is_a_path_git_can_store_or_the_one_error(text: str) -> None:
    try:
        found = steps_of(text)
    except PathError:
        return
    listed = [name for name, _, _ in decode_tree(encode_tree((step, False, b"0" * 20) for step in found))]
    assert listed == sorted(found, key=lambda step: step.encode("utf-8", "surrogateescape"))

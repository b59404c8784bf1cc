"""`mirage-lab irmin`: a store from the command line, with the subcommands of Irmin's own.

    mirage-lab irmin init --root db          mirage-lab irmin set a/b hello --root db          git -C db log main
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from mirage_lab.irmin.contents import QUEUE, TYPES, Contents, Queue
from mirage_lab.irmin.errors import StoreError
from mirage_lab.irmin.exchange import fetch, pull, push
from mirage_lab.irmin.graph import dot
from mirage_lab.irmin.remote import fetch_git, is_git, push_git
from mirage_lab.irmin.rope import Rope
from mirage_lab.irmin.store import Repo, Store
from mirage_lab.irmin.tree import Tree
from mirage_lab.irmin.watch import Moved

__all__ = ["main"]

SHORT: Final = 10
AUTHOR: Final = "mirage-lab irmin"


def main(words: Sequence[str]) -> int:
    """A store that never forgets: values under paths, in branches that are forked, watched and merged."""
    parser = argparse.ArgumentParser(prog="mirage-lab irmin", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (act, arguments) in COMMANDS.items():
        sub = commands.add_parser(name, help=act.__doc__, description=act.__doc__)
        for argument in arguments:
            optional = argument.startswith("[")
            sub.add_argument(argument.strip("[]"), nargs="?" if optional else None, default="")
        sub.add_argument("--root", type=Path, default=Path(), help="the directory of the store (.)")
        sub.add_argument("--branch", default="main", help="the branch (main)")
        sub.add_argument("--message", default="", help="of the commit")
        if name == "init":
            sub.add_argument("--backend", choices=("git", "fs"), default="git", help="a Git repository (git), or plain files")
            sub.add_argument("--contents", choices=[kind.name for kind in TYPES], default="text", help="the type of its values (text)")
    options = parser.parse_args(words)
    try:
        said = COMMANDS[options.command][0](options)
    except StoreError as error:
        print(f"irmin: {error}", file=sys.stderr)
        return 1
    if said:
        print(said)
    return 0


# the store ------------------------------------------------------------------------------------------------------------


def _kind(name: str) -> Contents[Any]:
    for kind in TYPES:
        if kind.name == name:
            return kind
    raise StoreError(f"there is no contents type {name!r}: {', '.join(kind.name for kind in TYPES)}")


def _repo(root: Path) -> Repo:
    note = root / "irmin" / "contents"
    if note.exists():
        backend, _, contents = note.read_text(encoding="utf-8").strip().partition(" ")
    elif (root / "objects").is_dir() and (root / "HEAD").exists():
        backend, contents = "git", "bytes"  # any bare Git repository
    else:
        raise StoreError(f"{root} is no store: mirage-lab irmin init --root {root} makes one")
    return Repo(_kind(contents), _backend(root, backend), author=AUTHOR)


def _backend(root: Path, name: str) -> Any:
    if name == "fs":
        from mirage_lab.irmin.fs import Fs

        return Fs(root)
    from mirage_lab.irmin.git import Git

    git = Git(root)
    if git.recovered.dropped:
        print(f"irmin: {git.recovered}", file=sys.stderr)
    return git


class _Open:
    """The store of a command, let go at its end."""

    def __init__(self, root: Path) -> None:
        self._repo = _repo(root)

    def __enter__(self) -> Repo:
        return self._repo

    def __exit__(self, *exc: object) -> None:
        self._repo.close()


def _typed(contents: Contents[Any], text: str) -> Any:
    """A value as it is typed: text as it is, numbers, and the encoded form of everything else."""
    if contents.name == "rope":
        return Rope(text)
    if contents.name in ("text", "lines"):
        return text
    if contents.name == "bytes":
        return text.encode("utf-8", "surrogateescape")
    return contents.decode(text.encode("utf-8", "surrogateescape"))


def _shown(contents: Contents[Any], value: Any) -> str:
    return contents.encode(value).decode("utf-8", "backslashreplace")


def _named(store: Store) -> str:
    head = store.head
    return "nothing yet" if head is None else head.name.hex()[:SHORT]


# commands -------------------------------------------------------------------------------------------------------------


def _init(options: argparse.Namespace) -> str:
    """make a store"""
    note = options.root / "irmin" / "contents"
    if note.exists():
        raise StoreError(f"{options.root} is a store already")
    _backend(options.root, options.backend).close()
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{options.backend} {options.contents}\n", encoding="utf-8")
    return f"a store of {options.contents} in {options.root} ({options.backend})"


def _get(options: argparse.Namespace) -> str:
    """print the value at a path"""
    with _Open(options.root) as repo:
        return _shown(repo.contents, repo.branch(options.branch).get(options.path))


def _list(options: argparse.Namespace) -> str:
    """list what is at a path"""
    with _Open(options.root) as repo:
        return "\n".join(f"{'DIR ' if kind == 'node' else 'FILE'} {name}" for name, kind in repo.branch(options.branch).list(options.path))


def _tree(options: argparse.Namespace) -> str:
    """print every value with its path"""
    with _Open(options.root) as repo:
        return "\n".join(f"/{path} {_shown(repo.contents, value)!r}" for path, value in repo.branch(options.branch).tree().items())


def _set(options: argparse.Namespace) -> str:
    """set the value at a path"""
    with _Open(options.root) as repo:
        store = repo.branch(options.branch)
        store.set(options.path, _typed(repo.contents, options.value), options.message)
        return f"{options.branch} is at {_named(store)}"


def _remove(options: argparse.Namespace) -> str:
    """remove what is at a path"""
    with _Open(options.root) as repo:
        store = repo.branch(options.branch)
        store.remove(options.path, options.message)
        return f"{options.branch} is at {_named(store)}"


def _clone(options: argparse.Namespace) -> str:
    """make another branch that begins where this one is, or (an address of git, a directory) copy every branch from there"""
    with _Open(options.root) as repo:
        if not _elsewhere(options.name):
            return f"{options.name} is at {_named(repo.branch(options.branch).clone(options.name))}"
        if repo.heads:
            raise StoreError(f"{options.root} is not empty: fetch and pull bring what {options.name} has")
        for branch, commit in fetch_git(repo, options.name).items():
            repo.branch(branch).set_head(commit)
        return "\n".join(f"{branch} is at {_named(repo.branch(branch))}" for branch in sorted(repo.heads))


def _elsewhere(name: str) -> bool:
    """True for a repository of Git that is no store: an address, or a directory."""
    return is_git(name) or (Path(name).is_dir() and not (Path(name) / "irmin" / "contents").exists())


def _fetched(options: argparse.Namespace, repo: Repo) -> Any:
    found = fetch_git(repo, options.other).get(options.branch)
    if found is None:
        raise StoreError(f"{options.other} has no branch {options.branch}")
    return found


def _merge(options: argparse.Namespace) -> str:
    """merge another branch into this one"""
    with _Open(options.root) as repo:
        store = repo.branch(options.branch)
        return _merged(store, store.merge(repo.branch(options.name), options.message))


def _merged(store: Store, result: Any) -> str:
    if isinstance(result, list):
        raise StoreError("conflicts, and nothing was changed:\n" + "\n".join(f"  {conflict}" for conflict in result))
    return f"{store.branch} is at {_named(store)}"


def _other(options: argparse.Namespace, act: Callable[[Store, Store], str]) -> str:
    with _Open(options.root) as repo, _Open(Path(options.other)) as other:
        return act(repo.branch(options.branch), other.branch(options.branch))


def _fetch(options: argparse.Namespace) -> str:
    """fetch the branch of another store, or of any Git repository, as branch fetched"""
    if _elsewhere(options.other):
        with _Open(options.root) as repo:
            repo.branch("fetched").set_head(_fetched(options, repo))
            return f"fetched is at {_named(repo.branch('fetched'))}"

    def act(store: Store, remote: Store) -> str:
        head = fetch(store, remote)
        fetched = store.repo.branch("fetched")
        fetched.set_head(head)
        return f"fetched is at {_named(fetched)}"

    return _other(options, act)


def _pull(options: argparse.Namespace) -> str:
    """fetch the branch of another store, or of any Git repository, and merge it"""
    if _elsewhere(options.other):
        with _Open(options.root) as repo:
            store = repo.branch(options.branch)
            return _merged(store, store.merge(_fetched(options, repo), f"pull {options.other}"))
    return _other(options, lambda store, remote: _merged(store, pull(store, remote)))


def _push(options: argparse.Namespace) -> str:
    """move the branch of another store, or of any Git repository, to this one's head"""
    if _elsewhere(options.other):
        with _Open(options.root) as repo:
            store = repo.branch(options.branch)
            push_git(store, options.other)
            return f"{options.other} is at {_named(store)}"

    def act(store: Store, remote: Store) -> str:
        if push(store, remote) == "rejected":
            raise StoreError(f"{options.other} has commits that are not here: pull first")
        return f"{options.other} is at {_named(remote)}"

    return _other(options, act)


def _snapshot(options: argparse.Namespace) -> str:
    """print the name of the newest commit"""
    with _Open(options.root) as repo:
        head = repo.branch(options.branch).head
        if head is None:
            raise StoreError(f"{options.branch} has no commit yet")
        return head.name.hex()


def _revert(options: argparse.Namespace) -> str:
    """put the branch back to a commit, by the name snapshot printed"""
    with _Open(options.root) as repo:
        commit = repo.commit(options.commit)
        if commit is None:
            raise StoreError(f"there is no commit {options.commit}")
        store = repo.branch(options.branch)
        store.set_head(commit)
        return f"{options.branch} is at {_named(store)}"


def _branches(options: argparse.Namespace) -> str:
    """list the branches"""
    with _Open(options.root) as repo:
        return "\n".join(f"{name} {commit.name.hex()[:SHORT]}" for name, commit in sorted(repo.heads.items()))


def _log(options: argparse.Namespace) -> str:
    """list the commits of the branch, the newest first"""
    with _Open(options.root) as repo:
        found = repo.branch(options.branch).history(1_000)
        return "\n".join(f"{commit.name.hex()[:SHORT]} {commit.info.author}: {commit.info.message.partition(chr(10))[0]}" for commit in found)


def _dot(options: argparse.Namespace) -> str:
    """print the history for Graphviz"""
    with _Open(options.root) as repo:
        return dot(repo)


def _serve(options: argparse.Namespace) -> str:
    """let git clone, fetch and push, until Ctrl-C; pushes are merged"""
    from mirage_lab.irmin.serve import GitServer

    def told(moved: Moved) -> None:
        print("\n".join(map(str, moved.changes)), flush=True)

    with _Open(options.root) as repo:
        repo.branch(options.branch).watch(told, options.path)
        with GitServer(repo) as server:
            print(f"git clone {server.http} · git clone {server.git} · Ctrl-C ends it", flush=True)
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                pass
    return ""


def _queue(options: argparse.Namespace) -> str:
    """push a text to the queue at a path, or (without one) pop the next"""
    with _Open(options.root) as repo:
        if repo.contents is not QUEUE:
            raise StoreError(f"this is a store of {repo.contents.name}: init --contents queue makes one of queues")
        store = repo.branch(options.branch)
        queue = store.find(options.path) or Queue()
        if options.text:
            store.set(options.path, queue.push(options.text), options.message)
            return f"{len(queue.waiting) + 1} wait"
        if not queue.waiting:
            raise StoreError(f"nothing waits at {options.path}")
        text, rest = queue.pop()
        store.set(options.path, rest, options.message)
        return str(text)


def _diff(options: argparse.Namespace) -> str:
    """list what another branch has otherwise"""
    with _Open(options.root) as repo:
        mine, theirs = (Tree(repo.contents, head.root) if (head := repo.branch(name).head) else Tree(repo.contents) for name in (options.branch, options.name))
        return "\n".join(map(str, mine.diff(theirs)))


COMMANDS: Final[dict[str, tuple[Callable[[argparse.Namespace], str], tuple[str, ...]]]] = {
    "init": (_init, ()),
    "get": (_get, ("path",)),
    "list": (_list, ("[path]",)),
    "tree": (_tree, ()),
    "set": (_set, ("path", "value")),
    "remove": (_remove, ("path",)),
    "clone": (_clone, ("name",)),
    "merge": (_merge, ("name",)),
    "diff": (_diff, ("name",)),
    "fetch": (_fetch, ("other",)),
    "pull": (_pull, ("other",)),
    "push": (_push, ("other",)),
    "snapshot": (_snapshot, ()),
    "revert": (_revert, ("commit",)),
    "branches": (_branches, ()),
    "log": (_log, ()),
    "dot": (_dot, ()),
    "queue": (_queue, ("path", "[text]")),
    "watch": (_serve, ("[path]",)),
    "serve": (_serve, ("[path]",)),
}

"""serve: a live store for git: clone, fetch and push over git:// and http:// on 127.0.0.1, through dulwich's servers.

Each request sees the store as it is then.  A push is not written over a branch: it is merged into it, as anybody's commit
is, and refused with the conflict when there is one.  A store that is not kept in Git is mirrored in a directory for this.
"""

from __future__ import annotations

import tempfile
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from dulwich.protocol import CAPABILITY_ATOMIC
from dulwich.repo import Repo as GitRepo
from dulwich.server import Backend as ServerBackend
from dulwich.server import ReceivePackHandler, TCPGitServer, UploadPackHandler
from dulwich.web import make_wsgi_chain

from mirage_lab.irmin.commit import is_ancestor
from mirage_lab.irmin.errors import StoreError
from mirage_lab.irmin.exchange import export, fetch, load
from mirage_lab.irmin.git import HEADS, Git
from mirage_lab.irmin.store import TAGS, Repo
from mirage_lab.irmin.tree import Tree

__all__ = ["GitServer"]

HOST: Final = "127.0.0.1"
LARGEST_PUSH: Final = 256 << 20
PATIENCE: Final = 30.0
"""Seconds a client may be silent."""


class GitServer:
    """Serves `repo` until `close`.  `lock` is held while the store is looked at or changed; ports 0 are chosen.

    `git clone <server.git>` or `<server.http>`; any path names the one store.
    """

    def __init__(self, repo: Repo, lock: AbstractContextManager[Any] | None = None, port: int = 0, http_port: int = 0) -> None:
        self._store = _Served(repo, lock or threading.RLock())
        handlers: Any = {b"git-receive-pack": _Receive, b"git-upload-pack": _Upload}
        self._tcp = _Tcp(self._store, HOST, port, handlers)
        application: Any = make_wsgi_chain(self._store, handlers=handlers)
        self._http = make_server(HOST, http_port, application, _Http, _Quiet)
        self._threads = [threading.Thread(target=each.serve_forever, args=(0.05,), name="irmin-git", daemon=True) for each in (self._tcp, self._http)]
        for thread in self._threads:
            thread.start()

    @property
    def git(self) -> str:
        """The address over git's own protocol."""
        return f"git://{HOST}:{self._tcp.server_address[1]}/store"

    @property
    def http(self) -> str:
        """The address over HTTP."""
        return f"http://{HOST}:{self._http.server_address[1]}/"

    def close(self) -> None:
        """Serve no more."""
        for each in (self._tcp, self._http):
            each.shutdown()
            each.server_close()
        for thread in self._threads:
            thread.join()
        self._store.close()

    def __enter__(self) -> GitServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"git clone {self.http} or {self.git}"


class _Served(ServerBackend):
    """What dulwich's handlers ask: the repository now, and what becomes of a ref that is pushed."""

    def __init__(self, repo: Repo, lock: AbstractContextManager[Any]) -> None:
        self.repo = repo
        self.lock = lock
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if isinstance(repo.backend, Git):
            self._mirror = repo
        else:
            self._folder = tempfile.TemporaryDirectory(prefix="irmin-")
            self._mirror = Repo(repo.contents, Git(Path(self._folder.name) / "mirror.git", "never"))

    @property
    def _git(self) -> Git:
        backend = self._mirror.backend
        assert isinstance(backend, Git)
        return backend

    def open_repository(self, path: str) -> Any:
        """Return the repository, with everything in it that there is at the moment."""
        with self.lock:
            if self._mirror is not self.repo:
                for name in sorted({*self.repo.heads, *self._mirror.heads}):
                    self._mirror.branch(name).set_head(fetch(self._mirror.branch(name), self.repo.branch(name)))
                for name in sorted({*self.repo.tags, *self._mirror.tags}):
                    self._tagged(name)
            self._mirror.flush()
        opened = GitRepo(str(self._git.path))
        opened.get_config().set((b"receive",), b"maxInputSize", str(LARGEST_PUSH).encode())
        vars(opened.refs).update(set_if_equals=_moved_already, remove_if_equals=_moved_already)
        return opened

    def _tagged(self, name: str) -> None:
        commit = self.repo.tags.get(name)
        there = self._mirror.tags.get(name)
        if there is not None and (commit is None or there.name != commit.name):
            self._mirror.tag(name, None)
        if commit is not None and name not in self._mirror.tags:
            mirrored = self._mirror.commit(commit.name) or load(self._mirror, export([commit]))[0]
            self._mirror.tag(name, mirrored)

    def take(self, ref: bytes, name: bytes) -> bytes | None:
        """Merge a pushed commit into its branch, or keep a tag; return why not, or None."""
        if not ref.startswith((HEADS, TAGS.encode())):
            return b"only branches and tags are kept"
        with self.lock:
            try:
                if ref.startswith(TAGS.encode()):
                    self._take_tag(ref[len(TAGS) :].decode(), name)
                    return None
                branch = self.repo.branch(ref[len(HEADS) :].decode())
                if not any(name):
                    branch.set_head(None)
                    return None
                pushed = self._git.objects.commit(name)
                mine = pushed if self._mirror is self.repo else fetch(branch, self._mirror.at(pushed))
                head = branch.head
                assert mine is not None
                Tree(self.repo.contents).diff(Tree(self.repo.contents, mine.root)) if head is None else branch.tree().diff(Tree(self.repo.contents, mine.root))
                if head is None or is_ancestor(head, mine):
                    branch.set_head(mine)
                    return None
                merged = branch.merge(mine, f"push to {branch.branch}")
                return f"conflict: {merged[0]}"[:200].replace("\n", " ").encode() if isinstance(merged, list) else None
            except (StoreError, UnicodeDecodeError) as error:
                return str(error)[:200].replace("\n", " ").encode()

    def _take_tag(self, tag: str, name: bytes) -> None:
        if not any(name):
            self.repo.tag(tag, None)
            return
        pushed = self._git.objects.commit(name)
        _ = pushed.root  # a tag that has an object of its own is no commit
        self.repo.tag(tag, pushed if self._mirror is self.repo else self.repo.commit(name) or load(self.repo, export([pushed]))[0])

    def close(self) -> None:
        if self._folder is not None:
            self._mirror.close()
            self._folder.cleanup()


def _moved_already(*ignored: Any, **more: Any) -> bool:
    """Refs are moved by `take`, before dulwich would."""
    return True


class _Closing:
    """Closes the repository that was opened for a request at its end."""

    repo: Any

    def handle(self) -> None:
        """Answer the request."""
        try:
            super().handle()  # type: ignore[misc]
        finally:
            self.repo.close()


class _Upload(_Closing, UploadPackHandler):
    """Answers clone and fetch."""


class _Receive(_Closing, ReceivePackHandler):
    """Takes a push; the refs move by merging."""

    backend: Any

    def capabilities(self) -> list[bytes]:
        return [each for each in super().capabilities() if each != CAPABILITY_ATOMIC]

    def _on_update(self, ref_name: bytes, old_sha: bytes, new_sha: bytes) -> bytes | None:
        refused: bytes | None = self.backend.take(ref_name, bytes.fromhex(new_sha.decode()))
        return refused


class _Tcp(ThreadingMixIn, TCPGitServer):
    """A thread for each client, that does not wait for a silent one for ever."""

    daemon_threads = True

    def get_request(self) -> Any:
        request, address = super().get_request()
        request.settimeout(PATIENCE)
        return request, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is its own affair."""


class _Http(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is its own affair."""


class _Quiet(WSGIRequestHandler):
    timeout = PATIENCE

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""

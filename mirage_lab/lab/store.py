"""store: xenstore for people: a part of it, the whole of it with its history, and how it was."""

from __future__ import annotations

import builtins
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mirage_lab.irmin.commit import Commit, history
from mirage_lab.irmin.merge import Conflict
from mirage_lab.irmin.picture import HistoryPicture
from mirage_lab.lab.said import LabError, Said
from mirage_lab.xen.abi.errno import ENOENT
from mirage_lab.xen.xenstore import whatif
from mirage_lab.xen.xenstore.history import entries_of
from mirage_lab.xen.xenstore.sessions import BRANCH
from mirage_lab.xen.xenstore.store import StoreError

if TYPE_CHECKING:
    from mirage_lab.irmin.serve import GitServer
    from mirage_lab.lab.lab import Lab
    from mirage_lab.lab.xensocket import XenSocket

__all__ = ["Branch", "Graph", "Log", "Past", "Store", "XenStore"]


class Store:
    """A part of xenstore, shown as `xenstore-ls` does."""

    def __init__(self, lab: Lab, root: str) -> None:
        self._lab = lab
        self.root = root

    def read(self, path: str) -> str:
        """Return the value at `path` (relative to this part, or absolute)."""
        return str(self._lab.machine.toolstack.xenstore.read(self._absolute(path)))

    def list(self, path: str = "") -> builtins.list[str]:
        """Return the names below `path`."""
        return [str(name) for name in self._lab.machine.toolstack.xenstore.list(self._absolute(path))]

    def write(self, path: str, value: str) -> None:
        """Write as dom0."""
        self._lab.command("xenstore.write", path=self._absolute(path), value=value)

    def rm(self, path: str) -> None:
        """Remove `path` and all below it, as dom0."""
        self._lab.command("xenstore.rm", path=self._absolute(path))

    def chmod(self, path: str, *perms: str) -> None:
        """Set permissions in xenstore-chmod's letters: `n0`, `r1`, `b2`."""
        self._lab.command("xenstore.chmod", path=self._absolute(path), perms=[*perms])

    def _absolute(self, path: str) -> str:
        if path.startswith("/"):
            return path
        return self.root if not path else f"{self.root.rstrip('/')}/{path}"

    def tree(self) -> builtins.list[tuple[int, str, str]]:
        """Return (depth, name, value) of everything below, in order."""
        rows: builtins.list[tuple[int, str, str]] = []

        def walk(path: str, depth: int) -> None:
            for name in self.list(path):
                child = f"{path.rstrip('/')}/{name}"
                rows.append((depth, name, self.read(child)))
                walk(child, depth + 1)

        walk(self.root, 0)
        return rows

    def __repr__(self) -> str:
        def quoted(value: str) -> str:
            return "".join(c if c.isprintable() and c not in '"\\' else f"\\x{ord(c):02x}" for c in value)

        return "\n".join(f'{" " * depth}{name} = "{quoted(value)}"' for depth, name, value in self.tree())


class XenStore(Store):
    """The whole store of the lab, and its past: `log`, `at`, `branch`, `restore`, `restart`, `serve`."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab, "/")

    def log(self, limit: int = 20) -> Log:
        """Return the newest commits of the store, newest first: each change, or transaction, is one."""
        head = self._lab.machine.toolstack.daemon.history.head
        return Log([] if head is None else history(head, most=limit))

    def graph(self, most: int = 24, meet: tuple[str, ...] = ()) -> Graph:
        """Return the newest `most` commits as a picture, and a live view; `meet`: two branches or commits whose common ancestor is lit."""
        return Graph(self._lab, most, meet)

    def at(self, commit: str) -> Past:
        """Return the store as it was at a commit (its name, or how that begins), or is on a branch.  Raises StoreError."""
        return Past(self._lab, whatif.commit_of(self._lab.machine.toolstack.daemon, commit))

    def branch(self, name: str, at: str = "") -> Branch:
        """Make a branch to try things on, at a commit or at the store as it is; nobody sees it until it is merged."""
        self._lab.command("xenstore.branch", name=name, at=at)
        return Branch(self._lab, name)

    def restore(self, commit: str) -> Said:
        """Go back to a commit: whatever has changed since is changed again, by dom0; watches fire."""
        count = self._lab.command("xenstore.restore", at=commit)
        return Said(f"xenstore: {count} node{'' if count == 1 else 's'} put back as at {commit[:7]}; the history goes on")

    def restart(self) -> Said:
        """Kill xenstored and start it again; it goes on with what it had kept, and no domain notices."""
        self._lab.command("xenstored.restart")
        daemon = self._lab.machine.toolstack.daemon
        watches = sum(len(entries) for entries in daemon.watchers().values())
        transactions = daemon.open_transactions
        kept = f"{watches} watch{'' if watches == 1 else 'es'}, {transactions} open transaction{'' if transactions == 1 else 's'}"
        there = f"{len(daemon.store.nodes):,} nodes, {kept}"
        return Said(f"xenstored was killed and started again: {there}")

    def socket(self, path: str = "") -> XenSocket:
        """Serve the store on a Unix socket, for xenstore-ls and the like with XENSTORED_PATH, while the lab plays (`%host` does)."""
        there = self._lab.machine.xensocket
        if there is None:
            chosen = path or str(Path(tempfile.mkdtemp(prefix="xenstored-")) / "socket")
            there = self._lab.command("xenstored.socket", path=chosen, own_folder=not path)
        found: XenSocket = there
        return found

    def serve(self) -> GitServer:
        """Serve the store to git, on 127.0.0.1, until the lab is closed or rewound: `git clone <url>`, `git log --graph`."""
        from mirage_lab.irmin.serve import GitServer

        machine = self._lab.machine
        server = GitServer(machine.toolstack.daemon.history.repo, self._lab.lock)
        machine.servers.append(server)
        return server


class Log:
    """Commits, newest first, shown a line each."""

    def __init__(self, commits: Sequence[Commit]) -> None:
        self.commits = list(commits)

    def __len__(self) -> int:
        return len(self.commits)

    def __getitem__(self, index: int) -> Commit:
        return self.commits[index]

    def __repr__(self) -> str:
        return "\n".join(f"{commit.name.hex()[:7]} {'*' if len(commit.parents) > 1 else ' '} {commit.info.message.splitlines()[0]}" for commit in self.commits)


class Graph:
    """The history of the store as it is now, drawn: commits in lanes, branches by name."""

    def __init__(self, lab: Lab, most: int, meet: tuple[str, ...]) -> None:
        self._lab = lab
        daemon = lab.machine.toolstack.daemon
        self._drawn = HistoryPicture(daemon.history.repo, [name for name in daemon.history.repo.heads if name != BRANCH], most, meet)

    def __repr__(self) -> str:
        return repr(self._drawn)

    def _repr_svg_(self) -> str:
        return self._drawn._repr_svg_()


class Past(Store):
    """The store as one commit has it: it can be read."""

    def __init__(self, lab: Lab, commit: Commit) -> None:
        super().__init__(lab, "/")
        self.commit = commit
        self._entries = entries_of(commit)

    def read(self, path: str) -> str:
        """Return the value at `path`; raises StoreError."""
        found = self._entries.get(self._absolute(path))
        if found is None:
            raise StoreError(ENOENT, path)
        return found[0].decode("utf-8", "backslashreplace")

    def list(self, path: str = "") -> builtins.list[str]:
        """Return the names below `path`."""
        above = self._absolute(path).rstrip("/") + "/"
        return [name[len(above) :] for name in sorted(self._entries) if name.startswith(above) and name != above and "/" not in name[len(above) :]]

    def write(self, path: str, value: str) -> None:
        """The past cannot be changed: raises LabError."""
        raise LabError(f"{path}: a commit never changes; branch = lab.xenstore.branch('what-if', at={self.commit.name.hex()[:7]!r}) can be written to")

    def rm(self, path: str) -> None:
        """The past cannot be changed: raises LabError."""
        self.write(path, "")

    def chmod(self, path: str, *perms: str) -> None:
        """The past cannot be changed: raises LabError."""
        self.write(path, "")


class Branch(Store):
    """A branch to try things on, by name; `merge` does in the running store what was done here."""

    def __init__(self, lab: Lab, name: str) -> None:
        super().__init__(lab, "/")
        self.name = name

    @property
    def past(self) -> Past:
        """The branch as it is now."""
        return Past(self._lab, whatif.commit_of(self._lab.machine.toolstack.daemon, self.name))

    def read(self, path: str) -> str:
        """Return the value at `path` on the branch; raises StoreError."""
        return self.past.read(path)

    def list(self, path: str = "") -> builtins.list[str]:
        """Return the names below `path` on the branch."""
        return self.past.list(path)

    def write(self, path: str, value: str) -> None:
        """Set a value, on the branch only."""
        self._lab.command("xenstore.try", branch=self.name, path=self._absolute(path), value=value.encode())

    def rm(self, path: str) -> None:
        """Remove `path` and all below it, on the branch only."""
        self._lab.command("xenstore.try", branch=self.name, path=self._absolute(path), value=None)

    def chmod(self, path: str, *perms: str) -> None:
        """Permissions stay as they are on a branch: raises LabError."""
        raise LabError(f"{path}: a branch has the permissions of where it began; lab.xenstore.chmod changes them")

    def merge(self) -> Said | builtins.list[Conflict]:
        """Do in the running store what was done here; where both changed a node, return the conflicts, and nothing is done."""
        conflicts: builtins.list[Conflict] = self._lab.command("xenstore.merge", branch=self.name)
        return conflicts or Said(f"xenstore: {self.name} is merged")

    def drop(self) -> None:
        """Forget the branch."""
        self._lab.command("xenstore.drop", name=self.name)

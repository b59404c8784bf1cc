"""xenstore: the tree of keys in which domains and toolstack meet (docs/misc/xenstore.txt).

    guest ── ring page, xs_wire ──▶ Connection ──▶ Store ── changed paths ──▶ watches of every Connection
    dom0  ── Client, direct calls ──────────────────┘

Permissions, watches and quotas are those of the C xenstored.  Every change becomes a commit of Irmin (`history`), and what a
conflict of transactions is, one can choose (`transaction`).  Read store, snapshot, transaction, history, then daemon.
"""

from mirage_lab.xen.xenstore.client import Client
from mirage_lab.xen.xenstore.daemon import Daemon
from mirage_lab.xen.xenstore.store import Store, StoreError

__all__ = ["Client", "Daemon", "Store", "StoreError"]

"""irmin: a store that never forgets: values under paths, in branches that are forked, watched and merged three ways.

Theory of operation.  A tree is immutable and shares what did not change (`node`); its name is the one Git gives it, worked
out when someone asks.  Commits make a history (`commit`); branches are the only thing that moves (`store`).  What two sides
changed is merged against their common ancestor, value by value with the merge of the contents type (`contents`, `merge`).
A view replays reads and writes instead (`view`).  After Irmin 0.8.3 of June 2014 (Gazagnaire, Chaudhry, Madhavapeddy et al.)
and its test suite; Farinier, Gazagnaire, Madhavapeddy, "Mergeable persistent data structures", JFLA 2015.

Reading order: path, node, merge, contents, commit, merging, tree, store, view, watch.
"""

from mirage_lab.irmin.contents import BYTES, COUNTER, JSON, TEXT, Contents
from mirage_lab.irmin.errors import StoreError
from mirage_lab.irmin.merge import Conflict
from mirage_lab.irmin.store import Repo, Store
from mirage_lab.irmin.tree import Tree
from mirage_lab.irmin.view import View

__all__ = ["BYTES", "COUNTER", "JSON", "TEXT", "Conflict", "Contents", "Repo", "Store", "StoreError", "Tree", "View"]

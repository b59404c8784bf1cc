"""What goes wrong with a store.  A conflict is not an error but a value: see `merge.Conflict`."""

from __future__ import annotations

from mirage_lab.signatures.errors import MirageError

__all__ = ["ContentsError", "ObjectError", "PathError", "StoreClosed", "StoreError"]


class StoreError(MirageError):
    """The store cannot do what was asked."""


class StoreClosed(StoreError):
    """The repository was closed."""


class PathError(StoreError):
    """This is no path: a step is empty, too long, or one that Git forbids."""


class ContentsError(StoreError):
    """A value is not of the contents type of the store, or bytes are not its encoding."""


class ObjectError(StoreError):
    """Bytes are not a Git object, or an object that others name is not there."""

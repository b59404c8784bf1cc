"""The one error of every parser of this room."""

from mirage_lab.signatures.errors import RemoteProtocolError

__all__ = ["WireError"]


class WireError(RemoteProtocolError):
    """Bytes that are not what their header says: too short, a length that lies, an option without end."""

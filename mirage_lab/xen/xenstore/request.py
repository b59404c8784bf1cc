"""request: one xenstore request, from payload to payload (docs/misc/xenstore.txt)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mirage_lab.xen.abi import errno
from mirage_lab.xen.abi.io import xs_wire as wire
from mirage_lab.xen.abi.xen import Domid
from mirage_lab.xen.xenstore.store import StoreError, absolute, parse_perms, show_perms

if TYPE_CHECKING:
    from mirage_lab.xen.xenstore.daemon import Connection

__all__ = ["answer"]

OK: Final = b"OK\0"
TOKEN: Final = 1_024
FIRST_RESERVED: Final = 0x7FF0
"""Domids from here on name no domain (xen.h, DOMID_FIRST_RESERVED)."""


def answer(connection: Connection, op: int, tid: int, payload: bytes) -> bytes:
    """Carry out a request and return the payload of its reply; raises StoreError."""
    handler = _HANDLERS.get(op)
    if handler is None:
        raise StoreError(errno.ENOSYS, f"operation {wire.OP_NAMES.get(op, op)}")
    return handler(connection, tid, payload)


def _strings(payload: bytes, count: int) -> list[str]:
    """Split a payload of exactly `count` strings, each ended by a zero."""
    parts = payload.split(b"\0")
    if len(parts) != count + 1 or parts[-1]:
        raise StoreError(errno.EINVAL, f"{count} strings ended by zero bytes were expected")
    return [_text(part) for part in parts[:-1]]


def _text(raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise StoreError(errno.EINVAL, "names are ASCII") from None


def _path(connection: Connection, payload: bytes) -> str:
    return absolute(_strings(payload, 1)[0], connection.domid)


def _directory(connection: Connection, tid: int, payload: bytes) -> bytes:
    names = connection.view(tid).directory(_path(connection, payload), connection.domid)
    found = b"".join(name.encode() + b"\0" for name in names)
    if len(found) > wire.PAYLOAD_MAX:
        raise StoreError(errno.E2BIG, "the list of children is longer than a message")
    return found


def _directory_part(connection: Connection, tid: int, payload: bytes) -> bytes:
    """`path offset` -> `generation`, as many names from that byte on as a message holds, and an empty name at the end of the list."""
    path, offset = _strings(payload, 2)
    if not offset.isdecimal() or len(offset) > 9:
        raise StoreError(errno.EINVAL, f"offset {offset[:10]!r}")
    where = absolute(path, connection.domid)
    names = b"".join(name.encode() + b"\0" for name in connection.view(tid).directory(where, connection.domid)) + b"\0"
    generation = b"%d\0" % connection.view(tid).children_generation(where)
    part = names[int(offset) : int(offset) + wire.PAYLOAD_MAX - len(generation)]
    if int(offset) + len(part) < len(names):
        part = part[: part.rfind(b"\0") + 1]
    return generation + (part or b"\0")


def _read(connection: Connection, tid: int, payload: bytes) -> bytes:
    return connection.view(tid).read(_path(connection, payload), connection.domid)


def _write(connection: Connection, tid: int, payload: bytes) -> bytes:
    path, zero, value = payload.partition(b"\0")
    if not zero:
        raise StoreError(errno.EINVAL, "write needs a path, a zero byte and a value")
    connection.view(tid).write(absolute(_text(path), connection.domid), value, connection.domid)
    return OK


def _mkdir(connection: Connection, tid: int, payload: bytes) -> bytes:
    connection.view(tid).mkdir(_path(connection, payload), connection.domid)
    return OK


def _rm(connection: Connection, tid: int, payload: bytes) -> bytes:
    connection.view(tid).rm(_path(connection, payload), connection.domid)
    return OK


def _get_perms(connection: Connection, tid: int, payload: bytes) -> bytes:
    perms = connection.view(tid).get_perms(_path(connection, payload), connection.domid)
    return b"".join(text.encode() + b"\0" for text in show_perms(perms))


def _set_perms(connection: Connection, tid: int, payload: bytes) -> bytes:
    path, *perms = _strings(payload, max(payload.count(b"\0"), 1))
    if path[:1] == "@":
        connection.daemon.set_special(path, parse_perms(perms), connection.domid)
    else:
        connection.view(tid).set_perms(absolute(path, connection.domid), parse_perms(perms), connection.domid)
    return OK


def _watched(connection: Connection, payload: bytes) -> tuple[str, str, str]:
    named, token = _strings(payload, 2)
    if len(token) > TOKEN:
        raise StoreError(errno.EINVAL, "the token is too long")
    return (named if named in connection.daemon.special else absolute(named, connection.domid)), named, token


def _watch(connection: Connection, tid: int, payload: bytes) -> bytes:
    connection.watch(*_watched(connection, payload))
    return OK


def _unwatch(connection: Connection, tid: int, payload: bytes) -> bytes:
    path, _, token = _watched(connection, payload)
    connection.unwatch(path, token)
    return OK


def _start(connection: Connection, tid: int, payload: bytes) -> bytes:
    if tid:
        raise StoreError(errno.EBUSY, "transactions do not nest")
    return b"%d\0" % connection.start()


def _end(connection: Connection, tid: int, payload: bytes) -> bytes:
    word = _strings(payload, 1)[0]
    if word not in ("T", "F"):
        raise StoreError(errno.EINVAL, f"transaction_end {word!r}: T or F")
    connection.end(tid, word == "T")
    return OK


def _domain_path(connection: Connection, tid: int, payload: bytes) -> bytes:
    return b"/local/domain/%d\0" % _domid(payload)


def _is_introduced(connection: Connection, tid: int, payload: bytes) -> bytes:
    return b"T\0" if connection.daemon.introduced(_domid(payload)) else b"F\0"


def _domid(payload: bytes) -> int:
    return _number(_strings(payload, 1)[0])


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 5:
        raise StoreError(errno.EINVAL, f"domid {text[:10]!r}")
    return int(text)


def _reset_watches(connection: Connection, tid: int, payload: bytes) -> bytes:
    connection.reset()
    return OK


def _from_dom0(connection: Connection, domid: int) -> Domid:
    if connection.domid:
        raise StoreError(errno.EACCES, "only dom0 introduces and releases domains")
    if not 0 < domid < FIRST_RESERVED:
        raise StoreError(errno.EINVAL, f"domid {domid}")
    return Domid(domid)


def _introduce(connection: Connection, tid: int, payload: bytes) -> bytes:
    domid, _, port = _strings(payload, 3)
    if not port.isdecimal():
        raise StoreError(errno.EINVAL, f"event channel {port[:10]!r}")
    connection.daemon.announce(_from_dom0(connection, _number(domid)))
    return OK


def _release(connection: Connection, tid: int, payload: bytes) -> bytes:
    connection.daemon.release(_resumed(connection, payload))
    return OK


def _resume(connection: Connection, tid: int, payload: bytes) -> bytes:
    _resumed(connection, payload)
    return OK


def _resumed(connection: Connection, payload: bytes) -> Domid:
    domid = _from_dom0(connection, _domid(payload))
    if not connection.daemon.introduced(domid):
        raise StoreError(errno.ENOENT, f"domain {domid} was not introduced")
    return domid


def _set_target(connection: Connection, tid: int, payload: bytes) -> bytes:
    domid, target = (_from_dom0(connection, _number(text)) for text in _strings(payload, 2))
    connection.daemon.set_target(domid, target)
    return OK


def _debug(connection: Connection, tid: int, payload: bytes) -> bytes:
    return OK


_HANDLERS: Final[dict[int, Callable[[Connection, int, bytes], bytes]]] = {
    wire.DEBUG: _debug,
    wire.DIRECTORY: _directory,
    wire.READ: _read,
    wire.GET_PERMS: _get_perms,
    wire.WATCH: _watch,
    wire.UNWATCH: _unwatch,
    wire.TRANSACTION_START: _start,
    wire.TRANSACTION_END: _end,
    wire.INTRODUCE: _introduce,
    wire.RELEASE: _release,
    wire.GET_DOMAIN_PATH: _domain_path,
    wire.WRITE: _write,
    wire.MKDIR: _mkdir,
    wire.RM: _rm,
    wire.SET_PERMS: _set_perms,
    wire.IS_DOMAIN_INTRODUCED: _is_introduced,
    wire.RESUME: _resume,
    wire.SET_TARGET: _set_target,
    wire.RESET_WATCHES: _reset_watches,
    wire.DIRECTORY_PART: _directory_part,
}

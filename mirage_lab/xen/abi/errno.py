"""errno.h: the error numbers of Xen.  A hypercall returns 0 or more, or one of these made negative."""

from typing import Final

from mirage_lab.signatures.errors import LocalProtocolError

EPERM: Final = 1
ENOENT: Final = 2
ESRCH: Final = 3
EIO: Final = 5
ENXIO: Final = 6
E2BIG: Final = 7
EBADF: Final = 9
EAGAIN: Final = 11
ENOMEM: Final = 12
EACCES: Final = 13
EFAULT: Final = 14
EBUSY: Final = 16
EEXIST: Final = 17
EXDEV: Final = 18
ENODEV: Final = 19
EISDIR: Final = 21
EINVAL: Final = 22
ENFILE: Final = 23
EMFILE: Final = 24
ENOSPC: Final = 28
EROFS: Final = 30
EMLINK: Final = 31
EDOM: Final = 33
ERANGE: Final = 34
EDEADLK: Final = 35
ENAMETOOLONG: Final = 36
ENOLCK: Final = 37
ENOSYS: Final = 38
ENOTEMPTY: Final = 39
ENODATA: Final = 61
ETIME: Final = 62
EBADMSG: Final = 74
EOVERFLOW: Final = 75
EILSEQ: Final = 84
ERESTART: Final = 85
"""Never seen by a guest: its hypercall is made again, with what is left of it."""
ENOTSOCK: Final = 88
EOPNOTSUPP: Final = 95
EADDRINUSE: Final = 98
EADDRNOTAVAIL: Final = 99
ENOBUFS: Final = 105
EISCONN: Final = 106
ENOTCONN: Final = 107
ETIMEDOUT: Final = 110

NAMES: Final[dict[int, str]] = {
    value: name for name, value in list(globals().items()) if name.startswith("E") and isinstance(value, int)
}


class HypercallError(LocalProtocolError):
    """A hypercall was refused; `code` is the errno, positive."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"{what}: -{NAMES.get(code, code)}")
        self.code = code


def check(ret: int, what: str) -> int:
    """Return `ret`, or raise HypercallError naming `what` when it is a negative errno."""
    if ret < 0:
        raise HypercallError(what, -ret)
    return ret

"""messages: a request and a response, as values a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mirage_lab.signatures.errors import LocalProtocolError

__all__ = ["REASONS", "Headers", "Request", "Response", "checked"]

Headers = tuple[tuple[str, str], ...]
"""Names in lower case and values, in the order they came."""

REASONS: Final[dict[int, str]] = {
    200: "OK", 201: "Created", 204: "No Content", 206: "Partial Content", 301: "Moved Permanently", 302: "Found", 304: "Not Modified", 400: "Bad Request",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 413: "Content Too Large", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable",
}  # fmt: skip


def _first(headers: Headers, name: str) -> str | None:
    wanted = name.lower()
    return next((value for key, value in headers if key == wanted), None)


@dataclass(frozen=True, slots=True)
class Request:
    """A request: `path` and `query` of its target as they were sent, whole `body` in bytes."""

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target before the question mark."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target after the question mark."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """Return the first header of this name, None if there is none."""
        return _first(self.headers, name)


@dataclass(frozen=True, slots=True)
class Response:
    """A response; Content-Length is added, and Content-Type when `content_type` is said.

    Raises LocalProtocolError for a status that is none and for a header that would be two.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] | Headers = field(default_factory=tuple)
    content_type: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.status, int) or not 200 <= self.status < 600:
            raise LocalProtocolError(f"status {self.status!r}: a response has one from 200 to 599")
        if not isinstance(self.body, bytes):
            raise LocalProtocolError(f"a body is bytes, not {type(self.body).__name__}: text is encoded, as in text.encode()")
        pairs = self.headers.items() if isinstance(self.headers, Mapping) else self.headers
        typed = (("Content-Type", self.content_type),) if self.content_type is not None else ()
        object.__setattr__(self, "headers", tuple(checked(name, value) for name, value in (*pairs, *typed)))

    def header(self, name: str) -> str | None:
        """Return the first header of this name, None if there is none."""
        return _first(tuple(self.headers), name)  # type: ignore[arg-type]


def checked(name: str, value: str) -> tuple[str, str]:
    """Return a header as it is kept; raises LocalProtocolError for one that would end early (RFC 9110 section 5.5)."""
    token = isinstance(name, str) and name.isascii() and name and all(letter.isalnum() or letter in "!#$%&'*+-.^_`|~" for letter in name)
    visible = isinstance(value, str) and not any(letter in "\r\n\0" for letter in value) and all(ord(letter) < 256 for letter in value)
    if not token or not visible:
        raise LocalProtocolError(f"{name!r}: {value!r} is no header: a name is a word, a value has no line breaks")
    return name.lower(), value.strip()

"""The suites of DNS and DNS_SERVER pass with ours, and notice each promise that is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mirage_lab.signatures.errors import DeviceError, MirageError
from mirage_lab.tcpip.dns import DnsResolver, DnsServer
from mirage_lab.testing import Pair, Story, check_dns, check_dns_server
from mirage_lab.testing.naming import ZONE

REVERSE = "$TTL 5\n@ SOA a b 1 2 3 4 5\n@ NS a\n80.0.0 PTR web.check.test.\n"


def stands() -> tuple[Pair, DnsServer, DnsResolver]:
    pair = Pair()
    return pair, DnsServer(pair.other), DnsResolver(pair.one, ["10.0.0.2"])


def answers(value: Any) -> Callable[..., Any]:
    async def method(*args: Any) -> Any:
        if isinstance(value, type) and issubclass(value, Exception):
            raise value("no")
        return value

    return method


async def either(*args: Any) -> list[str]:
    """Refuse a name nobody has and tell a record that is not there."""
    if args[1] == "check.test":
        return ["10 web.check.test."]
    if args[1].startswith("nobody"):
        raise DeviceError("no")
    return ["x"]


def test_check_dns(prove: Callable[..., None]) -> None:
    def bench(change: Callable[[Any], Any]) -> Story:
        _, server, names = stands()
        server.load_zone(ZONE)
        server.load_zone(REVERSE, "10.in-addr.arpa")
        return check_dns(change(names))

    async def known(self: Any, name: str, kind: str = "A") -> list[str]:
        if name == "elsewhere.invalid":
            return []
        return await DnsResolver.resolve(self, name, kind)

    prove(
        bench,
        [
            ("a machine's name gives its addresses, through aliases too", {"gethostbyname": answers([])}),
            ("an address gives the machine's name", {"gethostbyaddr": answers("web.check.test.")}),
            ("other records are told as a zone file has them", {"resolve": answers([])}),
            ("no such name, and no such record, are UnknownName", {"resolve": either}),
            ("what its servers cannot tell is a DeviceError", {"resolve": known}),
        ],
    )


def test_check_dns_server(prove: Callable[..., None]) -> None:
    def bench(change: Callable[[Any], Any]) -> Story:
        _, server, names = stands()
        return check_dns_server(change(server), names)

    def forgetful(self: Any, text: str, origin: str = "") -> str:
        return "check.test."

    def once(self: Any, text: str, origin: str = "") -> str:
        return "check.test." if self.server.zones else DnsServer.load_zone(self, text, origin)

    def silent(self: Any, text: str, origin: str = "") -> str:
        try:
            return DnsServer.load_zone(self, text, origin)
        except MirageError:
            return ""

    def eager(self: Any) -> Any:
        self.load_zone(ZONE)
        return self.load_zone

    prove(
        bench,
        [
            ("without a zone it refuses", {"load_zone": property(eager)}),
            ("a zone that was loaded is answered", {"load_zone": forgetful}),
            ("loading it again replaces it", {"load_zone": once}),
            ("a zone file that cannot be read is refused, and changes nothing", {"load_zone": silent}),
        ],
    )

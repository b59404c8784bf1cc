"""naming: DNS and DNS_SERVER: the promises of those who ask for names and those who tell them."""

from __future__ import annotations

from mirage_lab.signatures import Dns, DnsServer
from mirage_lab.signatures.errors import DeviceError, LocalProtocolError, UnknownName
from mirage_lab.testing.suite import Tell, suite

__all__ = ["ZONE", "check_dns", "check_dns_server"]

ZONE = """
$ORIGIN check.test.
$TTL 1h
@    SOA   ns admin 1 1h 1h 1w 5m
     NS    ns
     MX    10 web
ns   A     10.0.0.2
web  A     10.0.0.80
     A     10.0.0.81
www  CNAME web
"""
"""What the checks ask for."""


@suite
async def check_dns(tell: Tell, names: Dns) -> None:
    """DNS: `names` asks a server that has ZONE, and 80.0.0.10.in-addr.arpa for web.check.test; it refuses everything else."""
    await tell.shape(Dns, names)
    async with tell("a machine's name gives its addresses, through aliases too") as promise:
        for name in ("web.check.test", "WWW.Check.Test"):
            promise.equal(f"gethostbyname({name!r})", sorted(await names.gethostbyname(name)), ["10.0.0.80", "10.0.0.81"])
    async with tell("an address gives the machine's name") as promise:
        promise.equal("gethostbyaddr('10.0.0.80')", await names.gethostbyaddr("10.0.0.80"), "web.check.test")
    async with tell("other records are told as a zone file has them") as promise:
        promise.equal("resolve('check.test', 'MX')", await names.resolve("check.test", "MX"), ["10 web.check.test."])
    async with tell("no such name, and no such record, are UnknownName") as promise:
        for name, kind in (("nobody.check.test", "A"), ("web.check.test", "TXT")):
            with promise.refuses(f"resolve({name!r}, {kind!r})", UnknownName):
                await names.resolve(name, kind)
    async with tell("what its servers cannot tell is a DeviceError") as promise:
        with promise.refuses("resolve('elsewhere.invalid')", DeviceError):
            await names.resolve("elsewhere.invalid")


@suite
async def check_dns_server(tell: Tell, server: DnsServer, names: Dns) -> None:
    """DNS_SERVER: `names` asks `server`, which has no zone yet."""
    await tell.shape(DnsServer, server)
    async with tell("without a zone it refuses") as promise:
        with promise.refuses("resolve('web.check.test')", DeviceError):
            await names.resolve("web.check.test")
    async with tell("a zone that was loaded is answered") as promise:
        promise.equal("load_zone(text)", server.load_zone(ZONE), "check.test.")
        promise.equal("resolve('web.check.test')", sorted(await names.resolve("web.check.test")), ["10.0.0.80", "10.0.0.81"])
    async with tell("loading it again replaces it") as promise:
        server.load_zone(ZONE.replace("MX    10 web", "MX    5 ns"))
        promise.equal("resolve('check.test', 'MX')", await names.resolve("check.test", "MX"), ["5 ns.check.test."])
    async with tell("a zone file that cannot be read is refused, and changes nothing") as promise:
        with promise.refuses("load_zone(broken)", LocalProtocolError):
            server.load_zone(ZONE + "web A nonsense\n")
        promise.equal("resolve('ns.check.test')", await names.resolve("ns.check.test"), ["10.0.0.2"])

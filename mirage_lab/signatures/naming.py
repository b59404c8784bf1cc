"""DNS and DNS_SERVER: names of machines, asked for and told (after Dns_resolver and Dns_server of ocaml-dns, 2014)."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from mirage_lab.signatures.device import Device

__all__ = ["Dns", "DnsServer"]


@runtime_checkable
class Dns(Device, Protocol):
    """DNS: what is known of a name.

    Promises: an answer is remembered for as long as its TTL says.  Refusals: UnknownName when there is no such name, or no
    record of that type; ConnectionTimedOut when no server answers; DeviceError when they cannot tell.
    """

    module_type: ClassVar[str] = "DNS"

    async def gethostbyname(self, name: str) -> list[str]:
        """Return the IPv4 addresses of a machine."""

    async def gethostbyaddr(self, address: str) -> str:
        """Return the name of the machine with an IPv4 address."""

    async def resolve(self, name: str, kind: str = "A") -> list[str]:
        """Return the data of the records of a name and type, as a zone file has it: "10 mail.example.org." of an MX."""


@runtime_checkable
class DnsServer(Device, Protocol):
    """DNS_SERVER: a name server that answers for its zones.

    Promises: what a zone says is answered with authority.  Refusals: names of other zones are refused; a zone file that
    cannot be read is a LocalProtocolError that names the line.
    """

    module_type: ClassVar[str] = "DNS_SERVER"

    def load_zone(self, text: str, origin: str = "") -> str:
        """Serve the zone of a zone file, in place of an older one of that name; return the name."""

    async def listen(self) -> None:
        """Serve for ever: waits without end."""

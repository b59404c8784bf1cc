"""dns: names and what is known of them (RFC 1034, 1035, 2181, 2308, 4592, 6891).

Theory of operation.  A zone is the names one party answers for: `records` and `zonefile` read it, `zone` looks names up in
it, `server` turns bytes of a query into bytes of an answer, and `serving` gives that UDP and TCP port 53.  A resolver asks:
`exchange` puts one question to some servers until one answers, `walk` needs as many of them as it takes, from the root down
or with the help of a server, `cache` remembers, and `resolving` gives all that to a unikernel as the device DNS.

    www.example.org A?  ->  .            refers to org.           glue: 10.0.0.11
                        ->  org.         refers to example.org.   glue: 10.0.0.12
                        ->  example.org. answers 10.0.0.80        kept for its TTL

The OCaml originals are Dns_server and Dns_resolver of ocaml-dns.  Not there: DNSSEC, zone transfers, updates, IPv6 servers.
Reading order: records, zonefile, zone, server, serving, exchange, walk, cache, resolving.
"""

from mirage_lab.tcpip.dns.resolving import DnsResolver
from mirage_lab.tcpip.dns.server import Server
from mirage_lab.tcpip.dns.serving import DnsServer
from mirage_lab.tcpip.dns.zone import Zone
from mirage_lab.tcpip.dns.zonefile import ZoneError

__all__ = ["DnsResolver", "DnsServer", "Server", "Zone", "ZoneError"]

"""dhcp: who may use which address, and for how long (RFC 2131, 2132).

Theory of operation.  `states` is the client's machine as a table; `client` walks it: pure, told the time, it returns
effects (send this, probe for that, take this lease).  `server` is pure too: a pool, reservations, leases.  `frames` puts a
message into a whole frame, because at first there is no address to send from and nobody to ask by ARP.  `configuring` and
`serving` give the two engines timers and a stack.

    client                           server
      | DISCOVER  0.0.0.0 -> all ------> |   who has an address for me?
      | <-------- OFFER  10.0.0.100 ---- |   held for the client for 30 s
      | REQUEST   0.0.0.0 -> all ------> |   that one, from that server
      | <---------- ACK, one hour ------ |
      | ARP: who has 10.0.0.100? (probe) |   nobody: it is ours; somebody: DECLINE

The OCaml original is Dhcp_clientv4 of mirage-tcpip 1.1.5 (`profile="2014"`: a discover each 10 s, no probe, no renewal).
Relays (giaddr) are not served.  Reading order: states, client, server, frames, configuring, serving.
"""

from mirage_lab.tcpip.dhcp.client import Client, Lease
from mirage_lab.tcpip.dhcp.configuring import Configured
from mirage_lab.tcpip.dhcp.server import Pool, Server
from mirage_lab.tcpip.dhcp.serving import DhcpServer

__all__ = ["Client", "Configured", "DhcpServer", "Lease", "Pool", "Server"]

"""tcpip: a TCP/IP stack after mirage-tcpip, from the frame to the flow.

Theory of operation.  One synchronous call chain leads from a frame to the connection it belongs to: `ethif` (RFC 894),
`ipv4` (RFC 791, ARP of RFC 826 beside it), `icmp` (RFC 792), `udp` (RFC 768), `tcp` (RFC 9293).  Nothing on that way
allocates an object per layer.  `wire` knows bytes and nothing else; a connection (`tcp.pcb`) is a pure machine that is
told the time; `tcp.tcpv4` gives it timers and flows.  `stack` puts the layers together as STACKV4.  `dissect` takes any
frame apart for people and never raises.

`profile="2014"` is the stack of mirage-tcpip 1.1.5 to the constant; the default is today's good behaviour.
IPv6 (RFC 8200) stands beside: `ipv6`, `icmpv6`, `ndp` with `neighbours`, `slaac`; UDP and TCP are one code over either
(`protocol`), and `stack46` has both as STACKV4V6; `advertiser` is the router's side.
Reading order: wire, ethif, arp, ipv4, icmp, udp, tcp, stack, neighbours, ndp, slaac, ipv6, stack46, dhcp, dns, applications, dissect, displayfilter.
"""

from mirage_lab.tcpip.stack import Stack

__all__ = ["Stack"]

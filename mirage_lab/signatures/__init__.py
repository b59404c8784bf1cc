"""signatures: the module types of MirageOS, as Protocols, and the `unikernel` marker.

After types/V1.mli of mirage 2.0.0 (November 2014): what a device promises and what it refuses stands in its docstring.
`Console` is CONSOLE, `StackV4` is STACKV4; every class knows its name in capitals (`module_type`).  This room imports
nothing of the house, and everything else may import it.  Being the vocabulary, it re-exports all its words.

Reading order: device, flow, network, naming, storage, application, errors, units, functor.
"""

from mirage_lab.signatures.application import Conduit, Http, Resolver
from mirage_lab.signatures.device import Clock, Device, Entropy, IoPage, Random, Time
from mirage_lab.signatures.flow import Channel, Console, Flow
from mirage_lab.signatures.functor import unikernel
from mirage_lab.signatures.naming import Dns, DnsServer
from mirage_lab.signatures.network import Arp, Ethif, IcmpV4, IpV4, IpV6, Network, StackV4, StackV4V6, TcpV4, TcpV6, UdpV4, UdpV6
from mirage_lab.signatures.storage import Block, Fs, KvRo

__all__ = [
    "Arp",
    "Block",
    "Channel",
    "Clock",
    "Conduit",
    "Console",
    "Device",
    "Dns",
    "DnsServer",
    "Entropy",
    "Ethif",
    "Flow",
    "Fs",
    "Http",
    "IcmpV4",
    "IoPage",
    "IpV4",
    "IpV6",
    "KvRo",
    "Network",
    "Random",
    "Resolver",
    "StackV4",
    "StackV4V6",
    "TcpV4",
    "TcpV6",
    "Time",
    "UdpV4",
    "UdpV6",
    "unikernel",
]

"""devices: what unikernels are assembled from; one small file for each device.

Values are ready to use (`devices.default_console`); functions take what they are built on and their keys
(`devices.netif("0")`).  TAB completes.
"""

from mirage_lab.tool.devices.arp import arp
from mirage_lab.tool.devices.block import block, block_of_file
from mirage_lab.tool.devices.chance import default_random
from mirage_lab.tool.devices.clocks import default_clock
from mirage_lab.tool.devices.console import default_console
from mirage_lab.tool.devices.crunch import crunch
from mirage_lab.tool.devices.direct_stackv4 import direct_stackv4_with_default_ipv4, direct_stackv4_with_dhcp, direct_stackv4_with_static_ipv4
from mirage_lab.tool.devices.direct_stackv4v6 import direct_stackv4v6
from mirage_lab.tool.devices.dns import dns_resolver, dns_server
from mirage_lab.tool.devices.etif import etif
from mirage_lab.tool.devices.http_server import http_server
from mirage_lab.tool.devices.ipv4 import ipv4
from mirage_lab.tool.devices.netif import netif
from mirage_lab.tool.devices.ramdisk import ramdisk
from mirage_lab.tool.devices.router import router
from mirage_lab.tool.devices.socket_stackv4 import socket_stackv4
from mirage_lab.tool.devices.tcpv4 import direct_stackv4, tcpv4
from mirage_lab.tool.devices.timers import default_time
from mirage_lab.tool.devices.udpv4 import udpv4

__all__ = [
    "arp",
    "block",
    "block_of_file",
    "crunch",
    "default_clock",
    "default_console",
    "default_random",
    "default_time",
    "direct_stackv4",
    "direct_stackv4_with_default_ipv4",
    "direct_stackv4_with_dhcp",
    "direct_stackv4_with_static_ipv4",
    "direct_stackv4v6",
    "dns_resolver",
    "dns_server",
    "etif",
    "http_server",
    "ipv4",
    "netif",
    "ramdisk",
    "router",
    "socket_stackv4",
    "tcpv4",
    "udpv4",
]

"""skeleton: the examples of mirage-skeleton as unikernels to take and change; each is a few lines.

    hello            prints, four times a second               network          says hello to whoever connects
    heads_and_tails  two threads and a clock                   ping             measures the way to another machine
    web              nine lines that answer a browser          static_website   files out of a KV_RO
    dns              a name server whose zone is a file        lookup           asks for a name
    router           forwards between two networks         site             files out of a KV_RO over HTTP/1.1
    services         echo, discard and chargen              block            writes sectors of a disk, reads them back
    iperf3           what `iperf3 -c` measures against         iperf3_client    what measures against `iperf3 -s`
    native/          guests of machine code, in C
"""

from mirage_lab.skeleton.block import block
from mirage_lab.skeleton.dns import dns, lookup
from mirage_lab.skeleton.hello import hello
from mirage_lab.skeleton.iperf3 import iperf3, iperf3_client
from mirage_lab.skeleton.network import network
from mirage_lab.skeleton.ping import ping
from mirage_lab.skeleton.router import router
from mirage_lab.skeleton.services import services
from mirage_lab.skeleton.site import site
from mirage_lab.skeleton.static_website import static_website
from mirage_lab.skeleton.threads import heads_and_tails
from mirage_lab.skeleton.web import web

__all__ = [
    "block",
    "dns",
    "heads_and_tails",
    "hello",
    "iperf3",
    "iperf3_client",
    "lookup",
    "network",
    "ping",
    "router",
    "services",
    "site",
    "static_website",
    "web",
]

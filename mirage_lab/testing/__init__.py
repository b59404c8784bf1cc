"""testing: conformance suites: what every implementation of a module type must do, and checks for exercises.

    check_kv_ro(MyStore(), {"a": b"x"})              in a cell: runs now, in a world of its own, and shows the steps
    await check_kv_ro(files, {"a": b"x"})            in a unikernel: runs there

Each `check_*` is a list of promises in order.  It returns the `Story` of those that were kept, or raises `Broken` (an
AssertionError) with the story up to the one that was not: what was expected, what came, where in your code.  The lab's own
tests run them on each implementation; a device that never answers is ended by virtual time.  Being the vocabulary of
tests, this room re-exports all its checks.  Nobody in the lab imports it.

Reading order: storage (the shortest suites), suite (how they run), story, small, flows, links, stacks, stacks6, naming, applications, pair
(two machines in a cell), tcpstory (one connection, a step a line), exercises (claims about a trace).
"""

from mirage_lab.testing.applications import check_conduit, check_http, check_resolver
from mirage_lab.testing.flows import check_channel, check_console, check_flow
from mirage_lab.testing.links import check_arp, check_ethif, check_icmpv4, check_ipv4, check_network
from mirage_lab.testing.naming import check_dns, check_dns_server
from mirage_lab.testing.pair import Pair
from mirage_lab.testing.small import check_clock, check_device, check_entropy, check_io_page, check_random, check_time
from mirage_lab.testing.stacks import check_stackv4, check_tcpv4, check_udpv4
from mirage_lab.testing.stacks6 import check_ipv6, check_stackv4v6, check_tcpv6, check_udpv6
from mirage_lab.testing.storage import check_block, check_fs, check_kv_ro
from mirage_lab.testing.stores import check_irmin
from mirage_lab.testing.story import Broken, Story
from mirage_lab.testing.suite import suite
from mirage_lab.testing.tcpstory import tcp_story

__all__ = [
    "Broken",
    "Pair",
    "Story",
    "check_arp",
    "check_block",
    "check_channel",
    "check_clock",
    "check_conduit",
    "check_console",
    "check_device",
    "check_dns",
    "check_dns_server",
    "check_entropy",
    "check_ethif",
    "check_flow",
    "check_fs",
    "check_http",
    "check_icmpv4",
    "check_io_page",
    "check_ipv4",
    "check_ipv6",
    "check_irmin",
    "check_kv_ro",
    "check_network",
    "check_random",
    "check_resolver",
    "check_stackv4",
    "check_stackv4v6",
    "check_tcpv4",
    "check_tcpv6",
    "check_time",
    "check_udpv4",
    "check_udpv6",
    "suite",
    "tcp_story",
]

"""testing: conformance suites: what every implementation of a module type must do, as a function to await.

`await check_flow(client, server)` takes connected devices and raises AssertionError naming the promise that was broken.  The
lab's own tests run them on each implementation; run them on yours.  Nobody in the lab imports this room.
"""

from mirage_lab.testing.checks import check_console, check_flow, check_kv_ro, check_network, check_stackv4, check_time

__all__ = ["check_console", "check_flow", "check_kv_ro", "check_network", "check_stackv4", "check_time"]

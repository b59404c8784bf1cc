"""demo: a running world in one line: `Lab.demo("web", seed=1)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirage_lab.lab.said import LabError
from mirage_lab.signatures.units import ms, seconds

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["demo"]

DEMOS = ("web", "hello")


def demo(cls: type[Lab], what: str, seed: int) -> Lab:
    """Return a lab at t = 1 s in which the example `what` of the skeleton runs; raises LabError."""
    if what not in DEMOS:
        raise LabError(f"there is no demo {what!r}: {', '.join(DEMOS)}")
    from mirage_lab.skeleton import hello, web
    from mirage_lab.tool import configure, devices

    lab = cls(seed=seed)
    lan = lab.lan("br0", latency=ms(1))
    lab.capture(lan)
    if what == "web":
        tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24", gateway="10.0.0.1")
        job = web(devices.default_console, tcpip)
    else:
        job = hello(devices.default_console)
    image = configure(job, name=what, target="xen").build()
    vm = lab.create(image, vif=[lan] if what == "web" else [], memory_mib=32)
    vm.unpause()
    lab.run(seconds(1))
    return lab

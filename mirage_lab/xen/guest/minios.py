"""MiniOS: start_kernel: the kernel of a Python unikernel, and the "os" its devices are connected with.

    start_info ─▶ shared_info mapped ─▶ events ─▶ grant table ─▶ console ─▶ xenstore ─▶ entry(os) ─▶ SCHEDOP_shutdown

As in Mini-OS, an uncaught exception is printed as "Top level exception" and ends the domain; here it ends crashed, so that
the person sees it.  When nothing is left to do the vCPU blocks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from mirage_lab.runtime import RunQueue
from mirage_lab.runtime.tasks import Task
from mirage_lab.runtime.watchdog import GuestSpinning
from mirage_lab.signatures.errors import DeviceError, MirageError
from mirage_lab.xen.abi import sched
from mirage_lab.xen.abi.evtchn import Events
from mirage_lab.xen.abi.gate import Gate
from mirage_lab.xen.abi.gntmap import Gntmap
from mirage_lab.xen.abi.shared_info import UPCALL_MASK
from mirage_lab.xen.abi.start_info import StartInfo
from mirage_lab.xen.abi.version import FEATURES_ARG, GET_FEATURES
from mirage_lab.xen.abi.xen import CONSOLE_IO, CONSOLEIO_WRITE, PAGE_SHIFT, SCHED_OP, XEN_VERSION, Mfn, Pfn
from mirage_lab.xen.guest import blkfront
from mirage_lab.xen.guest.blkfront import Blkfront
from mirage_lab.xen.guest.console import Console
from mirage_lab.xen.guest.gnttab import Gnttab
from mirage_lab.xen.guest.mm import Pages
from mirage_lab.xen.guest.netfront import Netfront
from mirage_lab.xen.guest.xenstore import Xs, XsError

__all__ = ["MiniOS", "boot"]

Entry = Callable[["MiniOS"], Awaitable[Any]]
LONGEST_PRINTK: Final = 1_000


class MiniOS:
    """The kernel of one domain: `queue`, `gate`, `memory`, `start_info`, `events`, `pages`, `gnttab`, `gntmap`, `console`, `xs`."""

    def __init__(self, queue: RunQueue, gate: Gate, start: Pfn) -> None:
        self.queue = queue
        self.gate = gate
        self.memory = gate.memory
        line = b"Mirage: start_kernel\n"
        gate.call(CONSOLE_IO, CONSOLEIO_WRITE, bytearray(line), len(line))
        self.start_info = info = StartInfo.decode(gate.memory.page(start))
        self.cmdline = info.cmd_line
        first = Pfn((info.mfn_list >> PAGE_SHIFT) + -(-info.nr_pages * 8 >> PAGE_SHIFT))
        self.pages = Pages(gate, first)
        shared = self.pages.map_frames([Mfn(info.shared_info >> PAGE_SHIFT)])[0]
        self.events = Events(queue, gate, shared)
        shared[UPCALL_MASK] = 0
        gate.call(XEN_VERSION, GET_FEATURES, bytearray(FEATURES_ARG.pack(0, 0)))
        self.gnttab = Gnttab(queue, gate, self.pages)
        self.gntmap = Gntmap(gate, self.pages.addresses)
        base = gate.memory.mfn(Pfn(0))
        self.console = Console(self.events, gate.memory.page(Pfn(info.console_mfn - base)), info.console_evtchn)
        self.xs = Xs(self.events, gate.memory.page(Pfn(info.store_mfn - base)), info.store_evtchn)
        self._netifs: dict[str, Netfront] = {}
        self._blocks: dict[int, Blkfront] = {}
        self.profile = "2014" if "profile=2014" in self.cmdline.split() else "today"

    def __repr__(self) -> str:
        return f"<MiniOS {self.queue.name} domid={self.gate.domid}>"

    async def netif(self, dev: str) -> Netfront:
        """Return interface `dev` ("0", "1", ...), plugged once; raises DeviceError when the domain has no such vif."""
        if dev not in self._netifs:
            try:
                there = await self.xs.directory("device/vif")
            except XsError:
                there = []
            if dev not in there:
                plugged = ", ".join(there) or "none"
                raise DeviceError(f"netif {dev!r} is not plugged in (vifs of this domain: {plugged}): lab.create(image, vif=[lan]) plugs it into a lan")
            self._netifs[dev] = await Netfront.plug(self, dev)
        return self._netifs[dev]

    async def block(self, dev: str) -> Blkfront:
        """Return disk `dev` ("xvda", "51712", or the name of its file), plugged in; raises DeviceError when the domain has no such vbd."""
        number = await blkfront.find(self, dev)
        there = self._blocks.get(number)
        if there is None or not there.connected:
            there = self._blocks[number] = await blkfront.Blkfront.plug(self, number)
        return there

    def shutdown(self, reason: int) -> None:
        """End this domain: SCHEDOP_shutdown."""
        self.gate.call(SCHED_OP, sched.SHUTDOWN, bytearray(sched.SHUTDOWN_ARG.pack(reason)))


def boot(queue: RunQueue, gate: Gate, entry: Entry, start: Pfn) -> None:
    """Prepare the main thread of a domain whose start_info lies in page `start`; it runs when the domain is unpaused."""
    kernel: list[MiniOS] = []

    def crashed(task: Task[Any], error: BaseException) -> None:
        text = f"Top level exception: {queue.explain(error)}"
        if kernel and not isinstance(error, GuestSpinning):
            _print_last(kernel[0], text)
        queue.report_crash(task, error)
        gate.call(SCHED_OP, sched.SHUTDOWN, bytearray(sched.SHUTDOWN_ARG.pack(sched.SHUTDOWN_CRASH)))

    async def start_kernel() -> None:
        kernel.append(MiniOS(queue, gate, start))
        await entry(kernel[0])
        await kernel[0].console.drain()
        kernel[0].shutdown(sched.SHUTDOWN_POWEROFF)

    queue.on_crash = crashed
    queue.on_idle = lambda: _block(gate)
    queue.post(lambda: queue.spawn(start_kernel(), "start_kernel"))


def _print_last(kernel: MiniOS, text: str) -> None:
    """Print what ends the kernel, on its console and, as printk does, on the hypervisor's: the first may be full or broken."""
    line = text.encode("utf-8", "backslashreplace")[:LONGEST_PRINTK]
    kernel.gate.call(CONSOLE_IO, CONSOLEIO_WRITE, bytearray(line), len(line))
    try:
        kernel.console.log(text)
    except (MirageError, ValueError) as error:
        line = f"console: {error}".encode()[:LONGEST_PRINTK]
        kernel.gate.call(CONSOLE_IO, CONSOLEIO_WRITE, bytearray(line), len(line))


def _block(gate: Gate) -> None:
    gate.call(SCHED_OP, sched.BLOCK)

"""Debian's kernels for ARM of 64 and 32 bits as judges: unmodified, up to the panic over a missing root, and with programs,
a disk and a network.

MIRAGE_LAB_KERNELS names a directory in which their packages (linux-image-cloud-arm64, linux-image-armmp) were unpacked; without
it apt, which Debian has, downloads them into build/kernels; nothing is installed.  Some minutes on a quiet computer: the one of
32 bits first unpacks itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("unicorn")

from mirage_lab import Lab, configure, devices, guest_image, ms, unikernel
from mirage_lab.lab.handles import Vm
from mirage_lab.signatures import Console, Flow, StackV4
from tests.soak.initramfs import DEVICE, DIRECTORY, FILE, PROGRAM, archive

pytestmark = pytest.mark.timeout(1_800)
KERNELS = Path(__file__).parents[2] / "build" / "kernels"
ROOT = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"
LINE = "earlycon=xenboot console=hvc0"


@dataclass(frozen=True)
class Judge:
    """A kernel: Debian's name of its architecture, its package, its file, and the target of a program for it."""

    arch: str
    package: str
    file: str
    target: str

    def file_in(self, where: Path) -> Path | None:
        """The newest that is unpacked there."""
        return max(where.glob(f"boot/{self.file}"), default=None)


ARM64 = Judge("arm64", "linux-image-cloud-arm64", "vmlinuz-*-cloud-arm64", "aarch64-linux-musl")
ARMHF = Judge("armhf", "linux-image-armmp", "vmlinuz-*-armmp", "arm-linux-musleabihf")
both = pytest.mark.parametrize("judge", [ARM64, ARMHF], ids=["arm64", "armhf"])


def unpacked(judge: Judge, where: Path) -> None:
    """Download the package with an apt of its own, whose lists are in `where`, and unpack it."""
    for name in ("lists/partial", "cache/archives/partial"):
        (where / name).mkdir(parents=True, exist_ok=True)
    arch = judge.arch
    options = (f"APT::Architecture={arch}", f"APT::Architectures={arch}", f"Dir::State::lists={where / 'lists'}", f"Dir::Cache={where / 'cache'}")
    flags = [word for option in (*options, "Dir::State::status=/dev/null") for word in ("-o", option)]

    def apt(program: str, *words: str) -> str:
        return subprocess.run([program, *flags, *words], cwd=where, capture_output=True, text=True, check=False).stdout

    apt("apt-get", "-q", "update")
    shown = apt("apt-cache", "show", judge.package).splitlines()
    names = [line.split()[1] for line in shown if line.startswith("Depends: linux-image-")]
    if names:
        apt("apt-get", "-q", "download", names[0])
    for package in where.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(where)], check=True)
        package.unlink()


def kernel(judge: Judge) -> Path:
    """Return the kernel's file; its modules are in lib beside boot."""
    given = os.environ.get("MIRAGE_LAB_KERNELS")
    where = Path(given).resolve() if given else KERNELS / judge.arch
    if judge.file_in(where) is None and not given and shutil.which("apt-get"):
        unpacked(judge, where)
    found = judge.file_in(where)
    if found is not None:
        return found
    text = f"no boot/{judge.file} in {where}: unpack Debian's {judge.package} somewhere, and name it in MIRAGE_LAB_KERNELS"
    if os.environ.get("MIRAGE_LAB_REQUIRE") == "all":
        pytest.fail(text)
    pytest.skip(text)


def until(lab: Lab, vm: Vm, found: Callable[[], bool], seconds: int) -> str:
    """Run until something holds, or for so long; return what was said on the console, and early to Xen."""
    for _ in range(seconds * 20):
        lab.run(ms(50))
        if found() or vm.state not in ("running", "blocked"):
            break
    sys.stderr.write(f"at {lab.machine.world.now / 1e9:.2f} s, {vm.state}: {vm.console.text.rstrip().splitlines()[-1]}\n")
    return str(lab.machine.toolstack.dmesg()) + vm.console.text


def panicked(judge: Judge) -> tuple[str, dict[str, int]]:
    with Lab(seed=1, name="debian") as lab:
        vm = lab.create(guest_image(kernel(judge), name="linux", cmdline=LINE, memory_mib=512 if judge is ARM64 else 256))
        vm.unpause()
        said = until(lab, vm, lambda: "end Kernel panic" in vm.console.text, 20)
        return said, vm.statistics().hypercalls


@both
def test_it_boots_to_its_panic_over_the_missing_root(judge: Judge) -> None:
    said, counted = panicked(judge)
    for line in (
        "psci: PSCIv1.1 detected in firmware.",
        "arch_timer: cp15 timer(s) running at 1000.00MHz (virt).",
        "printk: console [hvc0] enabled",
        "Grant tables using version 1 layout",
        "xen:events: Using 2-level ABI",
        "clocksource: Switched to clocksource arch_sys_counter",
        ROOT,
    ):
        assert line in said, f"{line!r} is not in\n{said}"
    assert "kernel BUG" not in said and "WARNING:" not in said
    assert counted["vcpu_op.register_vcpu_info"] == counted["vcpu_op.register_runstate_memory_area"] == 1


def test_two_boots_say_the_same_at_the_same_time() -> None:
    assert panicked(ARM64) == panicked(ARM64)


@unikernel
async def web(console: Console, stack: StackV4) -> None:
    async def serve(flow: Flow) -> None:
        await flow.read()
        await flow.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")
        await flow.close()

    stack.listen_tcpv4(80, serve)
    await stack.listen()


def programs(judge: Judge, where: Path) -> bytes:
    """An initramfs: a program of ours (init.c) for process 1, and the kernel's two front ends."""
    pytest.importorskip("ziglang")
    file, init = kernel(judge), where / "init"
    words = ["cc", "-target", judge.target, "-static", "-Os", "-s", "-o", str(init), str(Path(__file__).with_name("init.c"))]
    subprocess.run([sys.executable, "-m", "ziglang", *words], check=True, capture_output=True)
    files = {"dev": (DIRECTORY, b""), "dev/console": (DEVICE, bytes((5, 1))), "init": (PROGRAM, init.read_bytes())}
    drivers = file.parents[1] / "lib" / "modules" / file.name.removeprefix("vmlinuz-") / "kernel" / "drivers"
    for name in ("block/xen-blkfront.ko", "net/xen-netfront.ko"):
        files[Path(name).name] = (FILE, (drivers / name).read_bytes())
    return archive(files)


@both
def test_its_programs_run_read_and_write_a_disk_and_talk_to_a_python_unikernel(judge: Judge, tmp_path: Path) -> None:
    """System calls, pages on demand, a signal for a wild store, blkfront, netfront; then PSCI turns the machine off."""
    ramdisk = programs(judge, tmp_path)
    with Lab(seed=1, name="debian") as lab:
        lan = lab.lan("br0", latency=ms(1))
        trace = lab.capture(lan)
        net = devices.netif("0")
        stack = devices.direct_stackv4_with_static_ipv4(net, address="10.0.0.2/24", gateway="10.0.0.1")
        lab.create(configure(web(devices.default_console, stack), name="web", target="xen").build(), vif=[lan]).unpause()
        disk = b"a disk of the lab".ljust(1 << 16, b"\0")
        line = f"{LINE} rdinit=/init"
        vm = lab.create(guest_image(kernel(judge), name="linux", cmdline=line, memory_mib=256, disk=[disk], ramdisk=ramdisk), vif=[lan])
        vm.unpause()
        said = until(lab, vm, lambda: False, 30)
        for line in (
            "init: hello from a program of Linux, process 1",
            "init: a child wrote to address 16: signal 11; heap 200",
            "init: /dev/xvda begins with a disk of the lab",
            "init: wrote 512 bytes, fsync 0",
            "init: connect 0",
            "init: 63 bytes: hello",
            "reboot: Power down",
        ):
            assert line in said, f"{line!r} is not in\n{said}"
        assert vm.state == "shutdown"
        assert bytes(vm.disk("xvda").read(1)[:16]) == b"written by Linux"
        assert len(trace) > 10

"""Debian's amd64 kernel as a judge of PV and PVH guests: unmodified, up to its panic over the missing root, and with programs, a disk and a network.

MIRAGE_LAB_KERNELS names a directory in which its package (linux-image-cloud-amd64) was unpacked, also beside that of arm64;
without it the kernel is looked for in /boot.  A minute on a quiet computer, of which half are the first 1.6 s of the guest's time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("unicorn")

from mirage_lab import Lab, configure, devices, guest_image, ms
from tests.soak.initramfs import DEVICE, DIRECTORY, FILE, PROGRAM, archive
from tests.soak.test_debian_arm import ROOT, until, web

pytestmark = pytest.mark.timeout(1_800)
LINE = "console=hvc0 earlyprintk=xen"
KERNEL = "boot/vmlinuz-*-cloud-amd64"


@pytest.fixture(scope="module")
def package() -> Path:
    """Return the directory in which the package is unpacked, / if it is installed."""
    where = Path(os.environ.get("MIRAGE_LAB_KERNELS") or "/").resolve()
    if not list(where.glob(KERNEL)):
        text = f"no {KERNEL} in {where}: unpack Debian's linux-image-cloud-amd64 somewhere, and name it in MIRAGE_LAB_KERNELS"
        if os.environ.get("MIRAGE_LAB_REQUIRE") == "all":
            pytest.fail(text)
        pytest.skip(text)
    return where


def kernel(package: Path) -> Path:
    return sorted(package.glob(KERNEL))[-1]


def test_it_boots_as_pv_to_its_panic_over_the_missing_root(package: Path) -> None:
    with Lab(seed=1, name="debian-amd64") as lab:
        vm = lab.create(guest_image(kernel(package), boot="pv", name="linux", cmdline=LINE, memory_mib=128))
        vm.unpause()
        said = until(lab, vm, lambda: "end Kernel panic" in vm.console.text, 10)
        counted = vm.statistics().hypercalls
    for line in (
        "Hypervisor detected: Xen PV",
        "Xen version: 4.4.0-lab (preserve-AD)",
        "xen:events: Using 2-level ABI",
        "printk: console [hvc0] enabled",
        "installing Xen timer for CPU 0",
        ROOT,
    ):
        assert line in said, f"{line!r} is not in\n{said}"
    assert "kernel BUG" not in said and "Oops" not in said and "WARNING:" not in said
    assert counted["mmu_update"] > 10_000 and counted["mmuext_op"] > 1_000 and counted["set_trap_table"] > 10


def test_it_boots_as_pvh_to_its_panic_over_the_missing_root(package: Path) -> None:
    with Lab(seed=1, name="debian-amd64") as lab:
        vm = lab.create(guest_image(kernel(package), boot="pvh", name="linux", cmdline=LINE, memory_mib=256))
        vm.unpause()
        said = until(lab, vm, lambda: False, 10)
        assert vm.state == "crashed", "it tells Xen of its panic"
        counted = vm.statistics().hypercalls
    for line in ("xen:events: Using 2-level ABI", "Xen HVM callback vector for event delivery is enabled", "printk: console [hvc0] enabled", ROOT):
        assert line in said, f"{line!r} is not in\n{said}"
    assert "kernel BUG" not in said and "Oops" not in said
    assert counted["event_channel_op.send"] > 100 and counted["sched_op.shutdown"] == 1


@pytest.fixture(scope="module")
def programs(package: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An initramfs: a program of ours (init.c) for process 1, and the kernel's two front ends."""
    pytest.importorskip("ziglang")
    init = tmp_path_factory.mktemp("init") / "init"
    words = ["cc", "-target", "x86_64-linux-musl", "-static", "-Os", "-s", "-o", str(init), str(Path(__file__).with_name("init.c"))]
    subprocess.run([sys.executable, "-m", "ziglang", *words], check=True, capture_output=True)
    files = {"dev": (DIRECTORY, b""), "dev/console": (DEVICE, bytes((5, 1))), "init": (PROGRAM, init.read_bytes())}
    release = kernel(package).name.removeprefix("vmlinuz-")
    for name in ("block/xen-blkfront.ko", "net/xen-netfront.ko"):
        module = package / "lib/modules" / release / "kernel/drivers" / name
        files[module.name] = (FILE, module.read_bytes())
    return archive(files)


@pytest.mark.parametrize("boot", ["pv", "pvh"])
def test_its_programs_run_read_and_write_a_disk_and_talk_to_a_python_unikernel(package: Path, programs: bytes, boot: str) -> None:
    """Its users have page tables of their own, and as PV enter and leave their kernel by way of Xen; blkfront, netfront; then it turns the machine off."""
    with Lab(seed=1, name="debian-amd64") as lab:
        lan = lab.lan("br0", latency=ms(1))
        trace = lab.capture(lan)
        stack = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24", gateway="10.0.0.1")
        lab.create(configure(web(devices.default_console, stack), name="web", target="xen").build(), vif=[lan]).unpause()
        disk = b"a disk of the lab".ljust(1 << 16, b"\0")
        image = guest_image(kernel(package), boot=boot, name="linux", cmdline=f"{LINE} rdinit=/init", memory_mib=256, disk=[disk], ramdisk=programs)
        vm = lab.create(image, vif=[lan])
        vm.unpause()
        said = until(lab, vm, lambda: False, 30)
        for line in (
            "init: hello from a program of Linux, process 1",
            "init: a child wrote to address 16: signal 11; heap 200",
            "init: /dev/xvda begins with a disk of the lab",
            "init: wrote 512 bytes, fsync 0",
            "init: connect 0",
            "init: 63 bytes: hello",
        ):
            assert line in said, f"{line!r} is not in\n{said}"
        counted = vm.statistics().hypercalls
        assert vm.state == "shutdown" and (counted["iret"] > 10 if boot == "pv" else "iret" not in counted)
        assert bytes(vm.disk("xvda").read(1)[:16]) == b"written by Linux"
        assert len(trace) > 10

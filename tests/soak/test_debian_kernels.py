"""Linux as Debian ships it, unmodified, on the lab's Xen: as far as it goes without a disk, which is its panic over the missing root.

Half a minute on a quiet computer: three thousand million instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mirage_lab import Lab, guest_image, ms

AMD64 = "linux-image-cloud-amd64"
ROOT = "Kernel panic - not syncing: VFS: Unable to mount root fs"


@pytest.fixture
def amd64(require_file: Callable[[Path, str], Path]) -> Path:
    """Return the newest kernel of that package which is installed."""
    there = sorted(Path("/boot").glob("vmlinuz-*-cloud-amd64"))
    return require_file(there[-1] if there else Path("/boot/vmlinuz-cloud-amd64"), AMD64)


@pytest.mark.timeout(900)
def test_an_amd64_kernel_boots_as_a_pv_guest_and_looks_for_its_root(amd64: Path) -> None:
    with Lab(seed=1, name="debian-amd64") as lab:
        vm = lab.create(guest_image(amd64, name="linux", boot="pv", memory_mib=256, cmdline="console=hvc0 earlyprintk=xen"))
        vm.unpause()
        for _ in range(500):
            lab.run(ms(20))
            if vm.state != "running" and vm.state != "blocked":
                break
        lines = vm.console.lines
        print(f"the last line of its console: {lines[-1] if lines else lab.machine.toolstack.dmesg()[-200:]}")
        assert any(ROOT in line for line in lines) and vm.state == "crashed"
        early = lab.machine.toolstack.dmesg()
        assert "Hypervisor detected: Xen PV" in early and "Xen version: 4.4" in early
        counted = lab.machine.toolstack.domain(vm.domid).statistics().hypercalls
        assert counted["mmu_update"] > 10_000 and counted["iret"] > 100

"""GRUB for Xen, Debian's binary, unmodified: machine code that boots on the lab's hypervisor and takes commands."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mirage_lab import Lab, guest_image, ms
from mirage_lab.xen.arch.x86.frames import L1
from mirage_lab.xen.dom0 import toolstack
from mirage_lab.xen.dom0.pvbuilder import build_pv

KERNELS = Path("/usr/lib/grub-xen")
PROMPT = "grub> "


@pytest.fixture(params=["grub-i386-xen_pvh.bin", "grub-x86_64-xen.bin"], ids=["pvh", "pv"])
def kernel(request: pytest.FixtureRequest, require_file: Callable[[Path, str], Path]) -> Path:
    """Return the file of GRUB, for each way to boot."""
    return require_file(KERNELS / request.param, "grub-xen-host")


def shown(text: str) -> str:
    """What is left without the escapes of a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")


def until_prompt(lab: Lab, before: int, most: int = 400) -> str:
    """Run until GRUB asks again, or the domain ends; return what it printed since `before`."""
    console = lab.vm("grub").console
    for _ in range(most):
        lab.run(ms(1))
        text = shown(console.text[before:])
        if text.endswith(PROMPT) or lab.vm("grub").state in ("shutdown", "crashed"):
            return text
    raise AssertionError(f"no prompt: {shown(console.text)[-200:]!r}")


def test_grub_reaches_its_prompt_takes_commands_and_halts(kernel: Path) -> None:
    lab = Lab(seed=1)
    vm = lab.create(guest_image(kernel, name="grub"))
    vm.unpause()
    assert "GNU GRUB  version 2" in until_prompt(lab, 0)
    answers = {"echo hello from xen": "\nhello from xen\n", "ls": "(memdisk) (proc)", "nonsense": "can't find command `nonsense'", "lsmmap": "base_addr = 0x0"}
    for typed, said in answers.items():
        before = len(vm.console.text)
        vm.console.write(typed + "\r")
        assert said in until_prompt(lab, before), typed
    vm.console.write("halt\r")
    lab.run(ms(5))
    assert vm.state == "shutdown"


def test_grub_boots_when_its_frames_are_in_no_order(require_file: Callable[[Path, str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A PV guest is given machine frames as they come: its list of them is all it knows of their order."""
    order = list(range(64 << 8))
    random.Random(1).shuffle(order)
    monkeypatch.setitem(toolstack._BUILDERS, "pv", partial(build_pv, order=order))
    lab = Lab(seed=1)
    vm = lab.create(guest_image(require_file(KERNELS / "grub-x86_64-xen.bin", "grub-xen-host"), name="grub", memory_mib=64))
    vm.unpause()
    assert "GNU GRUB  version 2" in until_prompt(lab, 0)
    before = len(vm.console.text)
    vm.console.write("lsmmap\r")
    assert "base_addr = 0x0" in until_prompt(lab, before)
    frames = lab.machine.toolstack.domain(vm.domid).machine.mmu.frames  # type: ignore[union-attr]
    assert list(frames.kinds).count(L1) > 30, "it maps all of its memory"


def test_two_boots_of_grub_are_the_same_to_the_last_byte_of_memory(kernel: Path) -> None:
    seen = []
    for _ in range(2):
        lab = Lab(seed=1)
        vm = lab.create(guest_image(kernel, name="grub"))
        vm.unpause()
        lab.run(ms(20))
        domain = lab.machine.toolstack.domain(vm.domid)
        seen.append((bytes(domain.memory.view), vm.console.text, domain.hypercalls, domain.cpu_ns))
    assert seen[0] == seen[1]

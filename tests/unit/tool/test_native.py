"""Guests of our own: compiled from C, with the headers their machines want, booted on the lab's Xen."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

from mirage_lab import Lab, ms
from mirage_lab.tool.native import examples
from mirage_lab.xen.dom0.elf import read_elf


@pytest.fixture(scope="session", autouse=True)
def one_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What is compiled once is there for all tests, and nothing of it stays."""
    room = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIRAGE_LAB_CACHE", str(room))
        yield room


def test_hello_is_said_over_the_console_ring_and_the_domain_shuts_down() -> None:
    with Lab(seed=1) as lab:
        vm = lab.create(examples.hello())
        vm.unpause()
        lab.run(ms(1))
        assert (vm.console.text, vm.state) == ("hello from machine code\n", "shutdown")
        assert vm.statistics().hypercalls == {"event_channel_op.send": 1, "hvm_op.get_param": 2, "sched_op.shutdown": 1}


def test_an_x86_image_is_an_elf_file_with_the_note_that_says_where_it_begins() -> None:
    elf = read_elf(examples.hello().data)
    assert elf.phys32_entry == elf.segments[0].physical == 0x10_0000


def test_an_aarch64_image_begins_with_the_header_of_a_linux_image() -> None:
    data = examples.hello("aarch64").data
    text_offset, size, flags = struct.unpack_from("<QQQ", data, 8)
    assert (data[56:60], text_offset, size, flags) == (b"ARM\x64", 0x8_0000, len(data), 0xA)


def test_an_armv7_image_has_the_magic_of_a_zimage_its_begin_and_its_end() -> None:
    data = examples.hello("armv7").data
    assert struct.unpack_from("<III", data, 36) == (0x016F2818, 0, len(data))

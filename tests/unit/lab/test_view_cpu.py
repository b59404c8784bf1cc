"""The CPU tab: registers, code, memory and hypercalls of machine code are told as they are, bounded, and as plain text."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

pytest.importorskip("unicorn")

from mirage_lab import Lab, guest_image, ms
from mirage_lab.lab.said import LabError
from mirage_lab.lab.views import boot_bytes, cpu, cpu_code, cpu_moves, machine_memory
from mirage_lab.lab.views.cpu import VIEW
from mirage_lab.vcpu import disassembly
from mirage_lab.vcpu.emulator import missing
from mirage_lab.vcpu.symbols import Symbols
from mirage_lab.xen.abi import grant_table
from mirage_lab.xen.abi.xen import GRANT_TABLE_OP
from tests.armcode import ARM64, BOTH, Kind
from tests.machinecode import BASE, call, elf32, imm, says, with_symbols

PAYLOAD = '<img src=x onerror="alert(1)">\x1b[31m\u202e'
COUNTS = b"\xb8" + imm(5) + b"\xbb" + imm(7) + b"\x01\xd8\x90\xeb\xfe"
"""mov eax, 5; mov ebx, 7; add eax, ebx; nop; jmp to itself"""
PAGED = (
    b"\xc7\x05" + imm(0x8000) + imm(0x9003) + b"\xc7\x05" + imm(0x9400) + imm(BASE | 3)  # PD[0] = PT | rw; PT[0x100] = BASE | rw
    + b"\xb8" + imm(0x8000) + b"\x0f\x22\xd8\x0f\x20\xc0\x0d" + imm(0x8000_0000) + b"\x0f\x22\xc0\xeb\xfe"  # mov cr3, eax; cr0 |= PG; jmp .
)  # fmt: skip


def lab_with(code: bytes, *, ran: int = ms(1), name: str = "guest", cmdline: str = "") -> Lab:
    """A lab whose guest of machine code ran for a while."""
    lab = Lab(seed=1, name="cpu")
    vm = lab.create(guest_image(elf32(code), name=name, memory_mib=8, cmdline=cmdline))
    if ran:
        vm.unpause()
        lab.run(ran)
    return lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    with lab_with(COUNTS) as made:
        yield made


def side(lab: Lab, part: str = "calls", **look: object) -> Any:
    """What is told of the first guest."""
    return VIEW.snapshot(lab, {"cpu.0.part": part, **look})["sides"][0]


def registers(lab: Lab) -> dict[str, str]:
    return dict(side(lab)["cpu"]["registers"])


def test_registers_have_the_names_and_values_of_the_mode_the_cpu_is_in(lab: Lab) -> None:
    told = registers(lab)
    assert (told["eax"], told["ebx"]) == ("0000000c", "00000007") and "r8" not in told and "rax" not in told
    assert told["eip"] == f"{BASE + 13:08x}"
    assert side(lab)["cpu"]["mode"] == "x86, 32 bits, no paging"
    assert side(lab)["cpu"]["flags"] == "PF"


def test_the_code_around_the_next_instruction_is_what_lies_there(lab: Lab) -> None:
    code = side(lab)["cpu"]["code"]
    words = {row[0]: row[2] for row in code}
    assert words[f"{BASE:x}"] == "mov eax, 5" and words[f"{BASE + 10:x}"] == "add eax, ebx" and words[f"{BASE + 13:x}"] == f"jmp {BASE + 13:#x}"
    assert [row[0] for row in code].index(f"{BASE + 13:x}") == 4
    for before, after in pairwise(code):
        assert int(before[0], 16) + len(before[1]) // 2 == int(after[0], 16)


def test_what_is_no_instruction_is_bytes_and_where_is_no_memory_is_said() -> None:
    with lab_with(b"\x90\x0f\x04\x90", ran=0) as lab:
        vcpu = lab.machine.vcpu("guest")
        assert vcpu is not None
        assert [line.text for line in cpu_code.listing(vcpu.cpu, BASE, Symbols(), after=3, before=0)][:2] == ["nop", "(bad)"]
        vcpu.cpu.pc = 0x7000_0000
        assert side(lab)["cpu"]["wrong"] == "there is no memory at 0x70000000"


def test_symbols_name_what_begins_there_what_is_jumped_to_and_what_is_near(lab: Lab) -> None:
    vcpu = lab.machine.vcpu("guest")
    assert vcpu is not None
    symbols = Symbols([(BASE, 13, "start"), (BASE + 13, 2, f"stop{PAYLOAD}")])
    lines = cpu_code.listing(vcpu.cpu, BASE + 13, symbols)
    assert lines[0].label == "start" and lines[1].label == ""
    assert lines[4].label == lines[4].target == "stop<img src=x onerror=\"alert(1)\">\u241b[31m\\u202e"
    assert cpu_code.symbol_at(symbols, BASE + 10) == "start+0xa" and cpu_code.symbol_at(symbols, BASE - 1) == ""


def test_hypercalls_are_told_with_arguments_results_and_the_name_of_an_errno() -> None:
    code = says(b"hello\n", after=call(99, 1) + call(32, 4, BASE + 0x300))
    with lab_with(code) as lab:
        calls = side(lab)["calls"]
        assert [row["name"] for row in calls][::-1] == ["console_io.write", "hypercall 99", "event_channel_op.send", "sched_op.shutdown"]
        told = {row["name"]: (row["args"], row["ret"], row["failed"]) for row in calls}
        assert told["console_io.write"] == ("hello", "0", False)
        assert told["hypercall 99"] == ("", "-38 ENOSYS", True)
        assert told["event_channel_op.send"] == ("port 0", "-22 EINVAL", True)


def test_the_walk_of_an_address_tells_each_table_its_entry_and_where_it_ends() -> None:
    with lab_with(PAGED) as lab:
        ask = VIEW.asks["cpu.walk"]
        told = ask(lab, {"domain": "guest", "address": f"{BASE:x}"})
        assert told["steps"] == [["PD", "8000", "9023", "present writable accessed"], ["PT", "9400", f"{BASE | 0x23:x}", "present writable accessed"]]
        assert (told["physical"], told["rights"], told["size"]) == (f"{BASE:x}", "read write", 4096)
        assert bytes.fromhex(told["bytes"]).startswith(PAGED[:8])
        assert ask(lab, {"domain": "guest", "address": "eip"})["linear"] == f"{BASE + len(PAGED) - 2:x}"
        nowhere = ask(lab, {"domain": "guest", "address": "0x5000"})
        assert nowhere["physical"] is None and nowhere["steps"][-1][3] == "not present" and nowhere["bytes"] == ""
        for typed in ("", "nonsense", PAYLOAD, "-1", "1" * 200, "1" * 17):
            with pytest.raises(LabError, match="address"):
                ask(lab, {"domain": "guest", "address": typed})


def test_memory_names_the_kernel_its_page_tables_rings_and_what_xen_put_there() -> None:
    with lab_with(PAGED) as lab:
        told = side(lab, "memory")["memory"]
        kinds = {run[2]: run for run in told["runs"]}
        assert kinds["kernel code"][:2] == [BASE >> 12, 1] and kinds["start_info"][:2] == [(BASE >> 12) + 1, 1]
        assert kinds["page table"][:2] == [8, 2] and kinds["devices"][0] == 0xFEE00
        assert kinds["console ring"][0] == 2047 and kinds["console ring"][4:6] == ["granted, in use", "dom0"]
        ram = [run for run in told["runs"] if run[0] < told["ram"][1]]
        assert ram[0][0] == 0 and all(before[0] + before[1] == after[0] for before, after in pairwise(ram)) and ram[-1][0] + ram[-1][1] == 2048
        vcpu = lab.machine.vcpu("guest")
        assert vcpu is not None and machine_memory.tables(vcpu.cpu) == [8, 9]


def test_a_page_given_up_is_nobodys_and_one_mapped_by_grant_is_its_owners(lab: Lab) -> None:
    xen, domain = lab.machine.toolstack.hypervisor, lab.machine.toolstack.domain(1)
    grant_table.ENTRY.pack_into(domain.grants.frames[0], 9 * grant_table.ENTRY_SIZE, grant_table.GTF_PERMIT_ACCESS, 1, 5)
    for pfn in (100, 101, 102):
        domain.memory.drop(pfn)
    arg = bytearray(grant_table.MAP.pack(101 << 12, grant_table.GNTMAP_HOST_MAP, 9, 1, 0, 0, 0))
    assert xen.hypercall(domain, GRANT_TABLE_OP, grant_table.MAP_GRANT_REF, arg, 1) == 0 == grant_table.MAP.unpack(arg)[4]
    runs = {run[0]: run for run in side(lab, "memory")["memory"]["runs"]}
    assert runs[5][2:] == ["shared pages", "guest", "granted, in use", "guest", 9]
    assert runs[100][1:4] == runs[102][1:4] == [1, "given up", "nobody"]
    assert runs[101][1:] == [1, "mapped by grant", "guest", "mapped from another", "guest", 9]
    assert runs[103][2] == "RAM"


def test_two_guests_stand_side_by_side_and_a_python_unikernel_may_be_one() -> None:
    with Lab.demo("web") as lab:
        assert VIEW.snapshot(lab, {})["sides"][0]["name"] == "web"
        lab.create(guest_image(elf32(COUNTS), name="guest", memory_mib=8)).unpause()
        lab.run(ms(1))
        assert [each["name"] for each in VIEW.snapshot(lab, {})["sides"]] == ["guest"]
        two = VIEW.snapshot(lab, {"cpu.1.domain": "web", "cpu.1.part": "xenstore"})["sides"]
        assert [(each["name"], each["kind"]) for each in two] == [("guest", "x86"), ("web", "python")]
        assert two[1]["cpu"] is None and two[1]["tasks"] and any(row["path"].endswith("/state") for row in two[1]["writes"])
        assert len(VIEW.snapshot(lab, {"cpu.1.domain": "guest"})["sides"]) == 1


def test_what_a_guest_says_is_text_everywhere() -> None:
    hostile = b"<img src=x onerror=alert(1)>\x1b[31m\xe2\x80\xae\n"
    with lab_with(says(hostile), name="<img src=x>") as lab:
        for part in cpu.PARTS:
            told = json.dumps(VIEW.snapshot(lab, {"cpu.0.part": part}), ensure_ascii=False)
            assert "\u202e" not in told and "\x1b" not in told and "\\u001b" not in told
        picture = VIEW.picture(lab, {}) or ""
        assert "<img" not in picture and ET.fromstring(picture).tag.endswith("svg")
        assert len(VIEW.words(lab, {}).splitlines()) <= 8


def test_a_snapshot_is_bounded_whatever_the_guest_did() -> None:
    many = b"\xbd" + imm(5_000) + call(99, 1) + b"\x4d\x75" + bytes([(-len(call(99, 1)) - 3) & 0xFF]) + b"\xeb\xfe"  # 5,000 hypercalls
    with lab_with(many, ran=ms(20)) as lab:
        assert lab.machine.toolstack.domain(1).statistics().hypercalls["unknown"] == 5_000
        for part in cpu.PARTS:
            assert len(json.dumps(VIEW.snapshot(lab, {"cpu.0.part": part}))) < 20_000
        assert len(side(lab)["calls"]) == cpu.CALLS


@pytest.mark.parametrize("look", [{"cpu.0.domain": 5}, {"cpu.0.part": "none"}, {"cpu.1.domain": "nobody", "cpu.0.run": -1, "cpu.0.colour": 7}])
def test_nonsense_that_is_looked_at_is_put_right(lab: Lab, look: dict[str, object]) -> None:
    told = VIEW.snapshot(lab, look)
    assert [each["name"] for each in told["sides"]] == ["guest"] and told["sides"][0]["part"] == "calls"


def test_a_lab_without_domains_and_one_without_the_extra_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with Lab(seed=1, name="empty") as lab:
        assert VIEW.snapshot(lab, {}) == {"domains": [], "missing": "", "sides": []}
        assert VIEW.picture(lab, {}) is None and VIEW.words(lab, {}).startswith("no domain yet")
        monkeypatch.setitem(sys.modules, "unicorn", None)
        assert VIEW.snapshot(lab, {})["missing"] == missing() != ""
        assert "pip install 'mirage_lab[guests]'" in missing()


def test_without_a_disassembler_the_registers_are_there_and_the_way_to_get_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "capstone", None)
    disassembly._engine.cache_clear()
    told = side(lab)["cpu"]
    assert told["code"] == [] and "pip install 'mirage_lab[guests]'" in told["wrong"] and len(told["registers"]) == 10


def test_the_handle_of_machine_code_is_shown_as_its_cpu(lab: Lab) -> None:
    picture = lab.vm("guest")._repr_svg_() or ""
    assert "the CPU of guest" in picture and "add eax, ebx" in picture and "memory of guest" in picture


# buttons and keys ---------------------------------------------------------------------------------------------------

LOOP = b"\xb9" + imm(3) + b"\xe8" + imm(6) + b"\x49\x75\xf8" + b"\xeb\xfe\x90" + b"\x40\xc3"
"""mov ecx, 3; again: call count; dec ecx; jnz again; stop: jmp to itself; nop; count: inc eax; ret"""
NAMES = {"again": (BASE + 5, 8), "stop": (BASE + 13, 3), "count": (BASE + 16, 2), f"<b>{PAYLOAD}": (BASE + 17, 1)}


@pytest.fixture
def loop() -> Iterator[Lab]:
    with Lab(seed=1, name="cpu") as made:
        made.create(guest_image(with_symbols(elf32(LOOP), NAMES), name="guest", memory_mib=8)).unpause()
        yield made


def press(lab: Lab, name: str, **args: object) -> tuple[str, str]:
    """The line of Python that a button ran, and where the guest is then."""
    act = VIEW.actions[f"cpu.{name}"](lab, {"domain": "guest", **args})
    return act.line, side(lab)["cpu"]["pc"]


def test_a_step_forward_and_one_back_are_lines_of_python_and_end_where_they_began(loop: Lab) -> None:
    before = side(loop)["cpu"]
    assert press(loop, "step", unit="instruction") == ("lab.vm('guest').cpu.step()", f"{BASE + 5:x}")
    assert press(loop, "step", unit="instruction", count=2) == ("lab.vm('guest').cpu.step(2)", f"{BASE + 17:x}")
    assert side(loop)["cpu"]["cut"] == side(loop)["cpu"]["instructions"] == 3
    assert press(loop, "back", unit="instruction") == ("lab.vm('guest').cpu.step_back()", f"{BASE + 16:x}")
    assert press(loop, "step", unit="block")[0] == "lab.vm('guest').cpu.step(unit='block')"
    press(loop, "back", unit="instruction")
    press(loop, "back", unit="instruction")
    press(loop, "back", unit="instruction")
    press(loop, "back", unit="instruction")
    assert side(loop)["cpu"]["registers"] == before["registers"]


def test_running_to_a_symbol_stops_there_and_one_that_is_not_there_is_said(loop: Lab) -> None:
    assert press(loop, "run_to", where=" count ") == ("lab.vm('guest').cpu.run_to('count', within=ms(200))", f"{BASE + 16:x}")
    assert press(loop, "run_to", where=f"{BASE + 13:#x}")[1] == f"{BASE + 13:x}" and registers(loop)["eax"] == "00000003"
    for where, said in (("cout", "no symbol 'cout'"), ("", "where?"), ("0xzz", "no address"), (PAYLOAD, "no symbol")):
        with pytest.raises(LabError, match=said.replace("?", r"\?")):
            press(loop, "run_to", where=where)


def test_a_breakpoint_is_set_seen_and_taken_away_by_the_same_button(loop: Lab) -> None:
    assert press(loop, "break", where="count")[0] == "lab.vm('guest').cpu.break_at('count')"
    assert press(loop, "break", where="hypercall:sched_op.*")[0] == "lab.vm('guest').cpu.break_at('hypercall:sched_op.*')"
    assert side(loop)["stops"] == [["count", f"{BASE + 16:x}"], ["hypercall:sched_op.*", None]]
    assert "stopped: guest at" in loop.run(ms(1)) and side(loop)["cpu"]["where"] == "count"
    assert press(loop, "break", where=f"{BASE + 16:#x}")[0] == f"lab.vm('guest').cpu.unbreak({BASE + 16:#x})"
    assert press(loop, "break", where="hypercall:sched_op.*")[0] == "lab.vm('guest').cpu.unbreak('hypercall:sched_op.*')"
    assert side(loop)["stops"] == []
    assert press(loop, "run_back")[1] == f"{BASE:x}"


def test_a_spinning_guest_is_not_waited_for_nor_replayed_for_minutes(loop: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_moves, "WITHIN", ms(2))
    act = VIEW.actions["cpu.step"](loop, {"domain": "guest", "unit": "hypercall"})
    assert act.line == "lab.vm('guest').cpu.step(unit='hypercall', within=ms(2))" and "and no hypercall" in act.said and loop.now <= ms(3)
    monkeypatch.setattr(cpu_moves, "REPLAYED", 1_000)
    for name in ("back", "run_back"):
        with pytest.raises(LabError, match="instructions are executed again"):
            press(loop, name, unit="hypercall")
    press(loop, "step", unit="instruction")
    press(loop, "back", unit="instruction")


def test_a_step_that_another_guests_breakpoint_came_before_says_so(loop: Lab) -> None:
    loop.create(guest_image(with_symbols(elf32(LOOP), NAMES), name="other", memory_mib=8)).unpause()
    loop.vm("guest").cpu.break_at("count")
    said = loop.vm("other").cpu.step()
    assert "0 instructions; the world was stopped by guest at" in repr(said)


def test_symbols_are_offered_by_what_was_typed_and_hostile_ones_stay_text(loop: Lab) -> None:
    ask = VIEW.asks["cpu.symbols"]
    assert ask(loop, {"domain": "guest", "typed": "O"}) == ["count", "stop"]
    assert ask(loop, {"domain": "guest", "typed": "st"}) == ["stop"]
    press(loop, "step", unit="instruction", count=3)
    told = json.dumps(VIEW.snapshot(loop, {}), ensure_ascii=False) + (VIEW.picture(loop, {}) or "") + VIEW.words(loop, {})
    assert "<b>" in told and "\u202e" not in told and "\x1b" not in told
    assert "<img" not in (VIEW.picture(loop, {}) or "")


def test_a_python_unikernel_goes_by_events_forward_and_back() -> None:
    with Lab.demo("web") as lab:
        events = lab.machine.world.events
        act = VIEW.actions["cpu.back"](lab, {"domain": "web", "unit": "instruction"})
        assert act.line == "lab.vm('web').step_back()" and lab.machine.world.events < events
        events = lab.machine.world.events
        assert VIEW.actions["cpu.step"](lab, {"domain": "web", "unit": "event"}).line == "lab.step()"
        assert lab.machine.world.events == events + 1
        with pytest.raises(LabError, match="a step is by instruction"):
            VIEW.actions["cpu.step"](lab, {"domain": "web", "unit": "mile"})


def test_two_guests_side_by_side_do_not_forget_each_others_symbols(loop: Lab) -> None:
    loop.create(guest_image(with_symbols(elf32(LOOP), {"other": (BASE, 20)}), name="twin", memory_mib=8))
    for _ in range(2):
        sides = VIEW.snapshot(loop, {"cpu.0.domain": "guest", "cpu.1.domain": "twin"})["sides"]
        assert [each["cpu"]["code"][-1][3] or each["cpu"]["code"][0][3] for each in sides][1] == "other"
    assert loop.debugger.symbols("guest") is loop.debugger.symbols("guest") is not loop.debugger.symbols("twin")


def test_the_boot_tab_shows_what_each_kind_of_guest_is_told_by() -> None:
    with lab_with(COUNTS, cmdline="hello") as lab:
        told = boot_bytes.structure(lab, "guest", "start_info")
        fields = {field: (at, value) for field, at, _, value, _ in told["fields"]}
        assert fields["magic"] == (0, "0x336ec578") and fields["memmap_entries"] == (48, "0x2") and told["where"].endswith("hvm_start_info, at 0x101000")
        assert fields["cmdline_paddr"][0] == 24
        lab.create(guest_image(ARM64.says(b"x"), name="arm", memory_mib=8))
        told = boot_bytes.structure(lab, "arm", "start_info")
        assert told["rows"][0][1].startswith("d00dfeed") and told["fields"] == [] and "a device tree" in told["where"]
        assert boot_bytes.structure(lab, "arm", "shared_info")["fields"]


# ARM ----------------------------------------------------------------------------------------------------------------


def paged(kind: Kind) -> bytes:
    """A kernel that maps its RAM onto itself by one entry, says so, and shuts down."""
    if kind.bits == 64:  # L1 of 39 bits: a block of 1 GiB; ttbr0_el1, tcr_el1, sctlr_el1
        entry, turn = kind.put(0x4000_0401, 0x4010_0008), ((0x4010_0000, 0xD518_2000), (25, 0xD518_2040), (0x00C5_0839, 0xD518_1000))
    else:  # L1: a section of 1 MiB; ttbr0, dacr, sctlr
        entry, turn = kind.put(0x4000_0C02, 0x4010_5000), ((0x4010_4000, 0xEE02_0F10), (1, 0xEE03_0F10), (0x00C5_0079, 0xEE01_0F10))
    on = [word for value, code in turn for word in (*kind.mov(0, value), code)]
    return kind.kernel([*entry, *on, *kind.call(18, 0, 5, kind.base + 0x1000), kind.stay], data=b"paged")


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: f"{kind.bits}")
def test_an_arm_guest_is_told_as_an_x86_guest_is(kind: Kind) -> None:
    with lab_with(COUNTS) as lab:
        lab.create(guest_image(paged(kind), name="arm", memory_mib=8)).unpause()
        lab.run(ms(1))
        x86, arm = VIEW.snapshot(lab, {"cpu.1.domain": "arm"})["sides"]
        assert (x86["kind"], arm["kind"]) == ("x86", "arm64" if kind.bits == 64 else "arm")
        told = arm["cpu"]
        names = dict(told["registers"])
        assert told["mode"] == ("aarch64, paging" if kind.bits == 64 else "ARMv7, paging") and len(names["pc"]) == kind.bits // 4
        assert told["system"][0][2].startswith("MMU") and told["flags"]
        code = {row[0]: row[2] for row in told["code"]}
        assert code[told["pc"]].startswith("b ") and code[f"{int(told['pc'], 16) - 4:x}"] == "hvc #0xea1"
        assert [(row["name"], row["args"]) for row in arm["calls"]] == [("console_io.write", "paged")]
        way = VIEW.asks["cpu.walk"](lab, {"domain": "arm", "address": "pc"})
        steps = [["L1", "40100008", "40000401", "block accessed writable"]] if kind.bits == 64 else [["L1", "40105000", "40000c02", "section"]]
        assert way["steps"] == steps and way["physical"] == told["pc"] and way["size"] == (1 << 30 if kind.bits == 64 else 1 << 20)
        runs = {run[2]: run for run in VIEW.snapshot(lab, {"cpu.0.domain": "arm", "cpu.0.part": "memory"})["sides"][0]["memory"]["runs"]}
        assert runs["kernel image"][0] == kind.base >> 12 and runs["device tree"][1:4] == [1, "device tree", "arm"]
        assert runs["page table"][:2] == ([0x40100, 1] if kind.bits == 64 else [0x40104, 4])
        assert runs["console ring"][0] == 0x39000 and runs["rings, behind RAM"][4:6] == ["granted, in use", "dom0"] and runs["devices"][3] == "Xen"
        assert "the CPU of arm" in (VIEW.picture(lab, {"cpu.0.domain": "arm"}) or "")


def test_a_guest_that_stopped_says_why() -> None:
    with lab_with(b"\xc7\x05" + imm(0xF000_0000) + imm(1) + b"\x0f\x0b") as lab:  # ud2, without a descriptor table
        told = side(lab)
        assert told["state"] == "crashed" and told["why"][0].startswith("guest crashed: ") and len(told["why"]) <= cpu.WHY
    with lab_with(COUNTS) as lab:
        assert side(lab)["why"] == []


def test_what_a_call_asked_for_and_what_came_back_in_its_structure_is_told() -> None:
    where = BASE + 0x300
    code = call(34, 1, where) + call(32, 6, where + 0x20) + call(32, 4, 0xF000_0000) + b"\xeb\xfe"
    data = bytes.fromhex("f07f0000 11000000 00000000 00000000").ljust(0x20, b"\0")  # HVM_PARAM_CONSOLE_PFN of itself
    data += bytes.fromhex("f07f 0000").ljust(0x20, b"\0")  # alloc_unbound for dom0
    with lab_with((code.ljust(0x300, b"\x90") + data).ljust(0x400, b"\0")) as lab:
        told = [(row["name"], row["args"], row["ret"]) for row in side(lab)["calls"]][::-1]
    assert told[0] == ("hvm_op.get_param", "CONSOLE_PFN", "0, 0x7ff")
    assert told[1] == ("event_channel_op.alloc_unbound", "for dom 0", "0, port 3")
    assert told[-1] == ("event_channel_op.send", "not in its memory: 4 bytes at 0xf0000000", "-14 EFAULT")

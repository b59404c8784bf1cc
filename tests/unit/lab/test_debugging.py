"""A guest of machine code under the eyes of a debugger: forward, back, stopped, and the world none the wiser."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("unicorn")

from mirage_lab import Lab, configure, devices, guest_image, ms, native, seconds
from mirage_lab.lab import LabError, Vm
from mirage_lab.signatures.units import Ns
from mirage_lab.skeleton import hello, web
from tests.machinecode import BASE, call, elf32, imm, with_symbols

COUNT, SAID, COUNTER = BASE + 0x100, BASE + 0x208, BASE + 0x400
ROUNDS = 5


def rounds(count: int = ROUNDS) -> bytes:
    """Call `count` so many times, say "done" and shut down; `count` counts in memory and keeps what the clock says."""
    start = b"\xb9" + imm(count)
    loop = BASE + len(start)
    body = b"\xe8" + struct.pack("<i", COUNT - (loop + 5)) + b"\x49"  # call count; dec ecx
    body += b"\x75" + struct.pack("<b", -len(body) - 2)  # jnz loop
    end = call(18, 0, 4, SAID) + call(29, 2, BASE + 0x200)
    code = (start + body + end).ljust(0x100, b"\x90")
    code += b"\xff\x05" + imm(COUNTER) + b"\x0f\x31\xa3" + imm(COUNTER + 4) + b"\xc3"  # inc [counter]; rdtsc; mov [counter+4], eax; ret
    return code.ljust(0x200, b"\x90") + struct.pack("<Q", 0) + b"done"


SYMBOLS = {"_start": (BASE, 0x80), "count": (COUNT, 0x20)}


def image(code: bytes, *, memory_mib: int = 8, name: str = "guest") -> Any:
    return guest_image(with_symbols(elf32(code), SYMBOLS), memory_mib=memory_mib, name=name)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=1, name="debugging") as made:
        yield made


@pytest.fixture
def vm(lab: Lab) -> Vm:
    made = lab.create(image(rounds()))
    made.unpause()
    return made


def counter(vm: Vm) -> int:
    return int.from_bytes(vm.cpu.memory(COUNTER, 4), "little")


# looking ----------------------------------------------------------------------------------------------------------


def test_the_cpu_shows_registers_and_the_code_it_is_about_to_execute(vm: Vm) -> None:
    shown = repr(vm.cpu)
    assert vm.cpu.registers["rip"] == vm.cpu.read("rip") == vm.cpu.pc == BASE and vm.cpu.mode == "x86-32"
    assert "rip 0x0000000000100000" in shown and "=>   0x100000  _start" in shown and "mov ecx, 5" in shown
    assert len(shown.splitlines()) == 5 + 8
    assert vm.cpu.symbol_at(COUNT + 2) == "count+0x2" and vm.cpu.symbols.address("count") == COUNT and vm.cpu.symbol_at(0x10) == ""
    assert [line.text for line in vm.cpu.disassemble("count", 2)] == ["inc dword ptr [0x100400]", "rdtsc"]
    assert vm.cpu.walk(COUNTER).physical == COUNTER


def test_a_python_guest_has_no_registers_and_says_so(lab: Lab) -> None:
    made = lab.create(configure(hello(devices.default_console), name="hello").build())
    with pytest.raises(LabError, match="hello is a Python unikernel: it has no registers"):
        _ = made.cpu


def test_what_is_not_there_is_named(vm: Vm) -> None:
    for wrong, said in (
        (lambda: vm.cpu.read("r99"), "has no register 'r99'"),
        (lambda: vm.cpu.memory(0xF000_0000, 4), "not all of the 4 bytes"),
        (lambda: vm.cpu.disassemble("coun"), "no symbol 'coun'; near: count"),
        (lambda: vm.cpu.break_at("event:"), "which one"),
        (lambda: vm.cpu.unbreak("count"), "has no breakpoint count"),
        (lambda: vm.cpu.step(0), "0 steps"),
        (lambda: vm.cpu.step(unit="line"), "not by 'line'"),
        (lambda: vm.cpu.step_back(), "before its beginning"),
        (lambda: vm.cpu.trace("line"), "block or instruction"),
    ):
        with pytest.raises(LabError, match=said):
            wrong()


# forward ----------------------------------------------------------------------------------------------------------


def test_a_step_takes_an_instruction_and_the_clock_of_the_world_stands(lab: Lab, vm: Vm) -> None:
    stop = vm.cpu.step()
    assert (stop.pc, stop.symbol, vm.cpu.read("rcx"), vm.cpu.instructions) == (BASE + 5, "_start+0x5", ROUNDS, 1)
    assert "call" in stop.text and lab.now == 0 and vm.cpu.clock == 1
    assert vm.cpu.step(2).pc == COUNT + 6 and counter(vm) == 1


def test_a_step_by_block_ends_where_the_next_begins(vm: Vm) -> None:
    places = [vm.cpu.step(unit="block").pc for _ in range(3)]
    assert places == [COUNT, BASE + 10, BASE + 5]


def test_a_step_by_hypercall_ends_behind_it(lab: Lab, vm: Vm) -> None:
    vm.cpu.step(unit="hypercall")
    assert [call.name for call in vm.cpu.hypercalls] == ["console_io.write"] and counter(vm) == ROUNDS
    assert repr(vm.cpu.hypercalls).endswith("console_io.write(done) = 0")
    vm.cpu.step(unit="hypercall")
    assert vm.state == "shutdown" and vm.cpu.hypercalls[-1].args == "poweroff"


def test_a_domain_that_does_not_run_is_not_waited_for(lab: Lab) -> None:
    made = lab.create(image(rounds()))
    stop = made.cpu.step()
    assert "it does not run" in stop.why and stop.pc == BASE and lab.now < seconds(1)


def test_run_to_a_symbol_and_a_place_that_is_never_reached(lab: Lab, vm: Vm) -> None:
    assert vm.cpu.run_to("count").pc == COUNT and counter(vm) == 0
    assert vm.cpu.run_to("count").pc == COUNT and counter(vm) == 1
    with pytest.raises(LabError, match="did not come to 0x100180 within 5 ms"):
        vm.cpu.run_to(BASE + 0x180, within=ms(5))
    assert vm.cpu.breakpoints == []


def test_a_breakpoint_stops_whoever_drives_each_time(lab: Lab, vm: Vm) -> None:
    mine = vm.cpu.break_at("count")
    assert mine == vm.cpu.break_at("count") and repr(vm.cpu.breakpoints) == "guest: count (0x100100)"
    for seen in range(ROUNDS):
        assert "stopped: guest at 0x100100" in str(lab.run(ms(1))) and counter(vm) == seen
    lab.run(ms(1))
    assert vm.state == "shutdown" and counter(vm) == ROUNDS
    assert "count taken away" in str(vm.cpu.unbreak("count"))


def test_a_breakpoint_behind_a_hypercall_is_not_passed_by(lab: Lab, vm: Vm) -> None:
    """The slice ends with the hypercall, and the next begins at the breakpoint."""
    vm.cpu.step(unit="hypercall")
    behind = vm.cpu.pc
    lab.reset()
    vm.cpu.break_at(behind)
    lab.run(ms(1))
    assert vm.cpu.pc == behind and vm.state == "running"


def test_breakpoints_on_hypercalls_and_events_stop_behind_them(lab: Lab, vm: Vm) -> None:
    vm.cpu.break_at("hypercall:console_io.*")
    assert "stopped: guest: hypercall:console_io.*" in str(lab.run(ms(1)))
    assert vm.cpu.hypercalls[-1].name == "console_io.write" and vm.state == "running"
    vm.cpu.break_at("event:domain.shutdown")
    assert "stopped: guest: event:domain.shutdown" in str(lab.run(ms(1)))
    vm.cpu.unbreak()
    assert "stopped" not in str(lab.run(ms(1)))


def test_a_player_stands_at_a_breakpoint(lab: Lab, vm: Vm) -> None:
    vm.cpu.break_at("count")
    lab.play()
    player = lab._player
    assert player is not None and player._thread is not None
    player._thread.join(timeout=20)
    assert not lab.playing and vm.cpu.pc == COUNT
    assert "count" in str(vm.cpu.run_to("count")) and not lab.playing


# back -------------------------------------------------------------------------------------------------------------


def state(vm: Vm) -> tuple[Any, ...]:
    domain = vm._lab.machine.toolstack.domain(vm.domid)
    return dict(vm.cpu.registers), bytes(domain.memory.view), vm._lab.machine.world.events, vm._lab.now, vm.cpu.clock


def test_each_step_back_is_the_step_before_to_the_last_byte(vm: Vm) -> None:
    """Through two hypercalls, and to the first instruction."""
    seen = [state(vm)]
    for _ in range(60):
        vm.cpu.step()
        seen.append(state(vm))
        if vm.state == "shutdown":
            break
    assert vm.state == "shutdown" and len(seen) > 40
    end = seen.pop()
    for before in reversed(seen[-30:]):
        vm.cpu.step_back()
        assert state(vm)[:2] == before[:2]
    vm.cpu.step(30)
    assert state(vm) == end


def test_steps_back_by_several_by_block_and_by_hypercall(vm: Vm) -> None:
    vm.cpu.step(unit="hypercall")
    behind = state(vm)
    vm.cpu.step(unit="hypercall")
    assert vm.cpu.step_back(unit="hypercall").pc == behind[0]["rip"] and state(vm) == behind
    vm.cpu.step(3)
    assert vm.cpu.step_back(unit="hypercall").pc == behind[0]["rip"] and state(vm) == behind
    with pytest.raises(LabError, match="no hypercall before that"):
        vm.cpu.step_back(unit="hypercall")
    assert vm.cpu.step_back(6).pc == BASE + 11  # jnz: the five of mov and the vmcall are behind it
    assert vm.cpu.step_back(unit="block").pc == BASE + 10
    assert vm.cpu.step_back(unit="block").pc == COUNT


def test_run_back_goes_to_the_last_breakpoint_and_then_to_the_beginning(vm: Vm) -> None:
    vm.cpu.step(unit="hypercall")
    vm.cpu.break_at("count")
    for left in reversed(range(ROUNDS)):
        assert vm.cpu.run_back().why == "back at a breakpoint" and (vm.cpu.pc, counter(vm)) == (COUNT, left)
    assert "its beginning" in vm.cpu.run_back().why and vm.cpu.pc == BASE


def test_breakpoints_survive_a_reset_and_a_domain_that_is_made_again(lab: Lab, vm: Vm) -> None:
    vm.cpu.break_at("count")
    lab.run(ms(1))
    lab.run(ms(1))
    lab.reset()
    lab.run(ms(1))
    assert (vm.cpu.pc, counter(vm)) == (COUNT, 0)
    lab.create(image(rounds())).unpause()
    lab.run(ms(1))
    assert (vm.cpu.pc, counter(vm)) == (COUNT, 0)


def test_a_step_back_of_a_python_guest_is_an_event_of_its_own(lab: Lab) -> None:
    made = lab.create(configure(hello(devices.default_console), name="hello").build())
    made.unpause()
    lab.run(seconds(2))
    domain = lab.machine.toolstack.domain(made.domid)
    steps, text = domain.queue.steps, made.console.text
    made.step_back()
    assert lab.machine.toolstack.domain(made.domid).queue.steps == steps - 1 and lab.now < seconds(2)
    lab.run(seconds(2))
    assert made.console.text.startswith(text)


def test_rewind_goes_to_an_event_by_itself_or_by_number(lab: Lab, vm: Vm) -> None:
    lab.run(ms(5))
    event = lab.events("xen.hypercall", source="guest")[0]
    lab.rewind(event)
    assert lab.machine.world.recorder.last >= event.id and vm.cpu.hypercalls[-1].event == event.id and vm.state == "running"
    lab.run(ms(1))
    assert vm.state == "shutdown"
    lab.rewind(event=event.id)
    assert vm.state == "running"
    with pytest.raises(LabError, match="there is no event 999999"):
        lab.rewind(event=999_999)


# the world is none the wiser --------------------------------------------------------------------------------------


def world(lab: Lab) -> tuple[Vm, Any]:
    """A web server in Python and a guest of machine code that works beside it, on one lan."""
    lan = lab.lan("br0", latency=ms(1))
    trace = lab.capture(lan)
    stack = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24", gateway="10.0.0.1")
    lab.create(web(devices.default_console, stack), vif=[lan]).unpause()
    vm = lab.create(image(rounds(200_000)))
    vm.unpause()
    return vm, trace


def everything(lab: Lab, trace: Any) -> tuple[Any, ...]:
    xen = lab.machine.toolstack.hypervisor
    rows = [(domain.name, bytes(domain.memory.view), domain.cpu_ns, domain.hypercalls) for domain in xen.domains.values()]
    events = [event for event in lab.events() if event.kind != "vcpu.exit"]
    frames = [(frame.t, bytes(frame.data)) for frame in trace]
    return rows, frames, lab.now, lab.machine.world.events, [entry.name for entry in lab.journal], xen.dmesg, len(events)


def test_with_and_without_a_debugger_the_world_is_the_same_to_the_last_byte() -> None:
    seen = []
    for debugged in (False, True):
        with Lab(seed=1, name="debugging") as lab:
            vm, trace = world(lab)
            if debugged:
                vm.cpu.run_to("count")
                vm.cpu.step(12_345)
                vm.cpu.step(unit="block")
                vm.cpu.step_back(100)
                vm.cpu.break_at("count")
                for _ in range(3):
                    lab.run(ms(2))
                vm.cpu.step_back(2)
                vm.cpu.unbreak()
                vm.cpu.trace("block")
                vm.cpu.step(15_000)
                vm.cpu.trace(None)
            lab.run(Ns(ms(10) - lab.now))
            assert lab.fetch("10.0.0.2").body == b"hello\n"
            lab.run(Ns(ms(40) - lab.now))
            seen.append(everything(lab, trace))
    assert seen[0] == seen[1]


def test_a_guest_that_looks_at_the_clock_sees_the_same_times_step_by_step() -> None:
    """rdtsc; mov [..], eax; jmp: its slices end with a look that is late enough, and a step may end there too."""
    seen = []
    for steps in (0, 3_500):
        with Lab(seed=1, name="debugging") as lab:
            vm = lab.create(image(b"\x0f\x31\xa3" + imm(COUNTER) + b"\xeb\xf7"))
            vm.unpause()
            for _ in range(steps):
                vm.cpu.step()
            lab.run(Ns(ms(5) - lab.now))
            machine = vm.cpu.vcpu
            seen.append((counter(vm), machine.instructions, machine.exits, lab.machine.world.events, lab.now))
    assert seen[0] == seen[1] and seen[0][2] > 3


def test_a_command_in_the_middle_of_a_slice_is_replayed_there(lab: Lab) -> None:
    """What is poked at the 1,000th instruction, and typed there, is there again at the 1,000th."""
    vm, trace = world(lab)
    vm.cpu.step(1_000)
    lab.command("poke", name="guest", register="", address=COUNTER, data=imm(5_000_000))
    vm.console.write("x")
    assert [entry.name for entry in lab.journal][-3:] == ["cut", "poke", "console"]
    vm.cpu.step(500)
    lab.command("poke", name="guest", register="rcx", address=0, data=imm(7))
    lab.run(ms(5))
    first = everything(lab, trace)
    assert counter(vm) > 5_000_000 and vm.state == "shutdown"
    lab.rewind(lab.now)
    assert everything(lab, lab.traces[0]) == first
    lab.undo()
    assert (vm.cpu.instructions, vm.cpu.read("rcx") > 7) == (1_500, True)
    vm.cpu.step_back(501)
    assert vm.cpu.instructions == 999 and counter(vm) < 5_000_000 and [entry.name for entry in lab.journal][-1] == "cut"


def test_a_world_that_is_built_again_needs_no_cpu_for_what_is_known_of_it(lab: Lab) -> None:
    """The slices that were kept are a cache: with them, without them and with others' commands the bytes are the same."""
    vm, trace = world(lab)
    lab.run(ms(6))
    typed = len(lab.journal)
    vm.console.write("x")
    lab.run(ms(6))
    first, records = everything(lab, trace), lab.debugger.records
    for used in (False, True, True):
        before = records.used
        lab.rewind(lab.now)
        assert everything(lab, lab.traces[0]) == first and (records.used > before) == used
    records.clear()
    lab.rewind(lab.now)
    assert everything(lab, lab.traces[0]) == first
    lab.undo()
    assert len(lab.journal) == typed
    vm.console.write("yy")
    lab.command("poke", name="guest", register="", address=COUNTER, data=imm(5_000_000))
    lab.run(ms(6))
    other, before = everything(lab, lab.traces[0]), records.used
    assert other != first and counter(vm) > 5_000_000
    lab.rewind(lab.now)
    assert everything(lab, lab.traces[0]) == other and records.used > before
    records.clear()
    lab.rewind(lab.now)
    assert everything(lab, lab.traces[0]) == other


@pytest.mark.parametrize("what", ["pause", "destroy", "create", "undo", "other"])
def test_whatever_is_done_to_a_domain_in_the_middle_of_a_slice_is_replayed(what: str, lab: Lab) -> None:
    vm, trace = world(lab)
    lab.run(ms(1))
    vm.cpu.step(777)
    match what:
        case "pause":
            vm.pause()
            lab.run(ms(2))
            taken = vm.cpu.instructions
            vm.unpause()
            vm.cpu.step(3)
            assert vm.cpu.instructions == taken + 3
        case "destroy":
            vm.destroy()
        case "create":
            lab.create(image(rounds(10))).unpause()
        case "undo":
            vm.console.write("x")
            taken = vm.cpu.instructions
            vm.cpu.step(10)
            lab.undo()
            assert vm.cpu.instructions == taken
        case "other":
            lab.vm("web").pause()
            vm.cpu.step(5)
            lab.vm("web").unpause()
    lab.run(ms(2))
    first = everything(lab, trace)
    for _ in range(2):
        lab.rewind(lab.now)
        assert everything(lab, lab.traces[0]) == first


def test_a_breakpoint_on_an_upcall_stops_at_the_first_instruction_of_the_handler(lab: Lab) -> None:
    pytest.importorskip("ziglang")
    vm = lab.create(native.ticks("x86_64"))
    vm.unpause()
    vm.cpu.break_at("event:evtchn.upcall")
    assert "stopped: ticks: event:evtchn.upcall" in str(lab.run(seconds(1)))
    assert lab.now == vm.events("evtchn.upcall")[0].t and vm.cpu.symbol_at(vm.cpu.pc) == "callback"
    vm.cpu.step_back()
    assert vm.cpu.symbol_at(vm.cpu.pc).startswith("machine_idle")


def test_what_was_executed_is_recorded_while_it_is_asked_for(vm: Vm) -> None:
    vm.cpu.trace("block", last=6)
    vm.cpu.step(unit="hypercall")
    assert [line.address for line in vm.cpu.traced][:3] == [COUNT, BASE + 10, BASE + 5]
    assert "count" in repr(vm.cpu.traced) and "inc dword ptr" in repr(vm.cpu.traced)
    assert len(vm.cpu.traced) == 6
    vm.cpu.trace("instruction")
    vm.cpu.step(4)
    assert len(vm.cpu.traced) == 4
    vm.cpu.trace(None)
    vm.cpu.step()
    assert len(vm.cpu.traced) == 4


def test_the_memory_map_tells_ranges_owners_and_grants(vm: Vm) -> None:
    rows = vm.cpu.memory_map
    assert sum(row.size for row in rows if row.owner == "guest") == 8 << 20
    assert [row.type for row in rows] == ["ram", "kernel code", "start_info", "ram", "xenstore ring", "console ring", "devices"]
    assert rows[-2].grant == "granted to dom0, in use" and "KiB  console ring" in repr(rows)
    assert (rows[-1].begin, rows[-1].owner) == (0xFEE0_0000, "Xen")


def test_an_arm_guest_that_was_stepped_gets_its_interrupts_and_stops_nowhere_else(lab: Lab) -> None:
    """While an interrupt waits to be let in, a slice ends early: that is no cut."""
    pytest.importorskip("ziglang")
    from mirage_lab import native

    plain = lab.create(native.ticks("aarch64", memory_mib=8), name="plain")
    stepped = lab.create(native.ticks("aarch64", memory_mib=8), name="stepped")
    plain.unpause(), stepped.unpause()
    stepped.cpu.step(3)
    lab.run(seconds(1))
    assert stepped.state == "shutdown" and stepped.console.text == plain.console.text

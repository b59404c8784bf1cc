"""The examples of skeleton/native boot on the lab's Xen, on each kind of machine: they find each other, and what goes wrong is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

from mirage_lab import Lab, compile_guest, ms, native, seconds
from mirage_lab.xen.dom0.image import Image

ARCHES = ("x86_64", "aarch64", "armv7")
each = pytest.mark.parametrize("arch", ARCHES)


def booted(*images: Image, run: int = ms(100), seed: int = 1) -> Lab:
    """A lab in which guests have run together for a while."""
    lab = Lab(seed=seed)
    for image in images:
        lab.create(image).unpause()
    lab.run(run)
    return lab


@each
def test_hello_is_said_over_the_console_ring_and_the_domain_shuts_down(arch: str) -> None:
    with booted(native.hello(arch), run=ms(1)) as lab:
        vm = lab.vm("hello")
        assert (vm.console.text, vm.state) == ("hello from machine code\n", "shutdown")
        assert vm.statistics().hypercalls == {"event_channel_op.send": 1, "hvm_op.get_param": 2, "sched_op.shutdown": 1}


@each
def test_ticks_come_by_the_timer_of_the_machine_and_sleeping_costs_nothing(arch: str) -> None:
    with booted(native.ticks(arch), run=ms(250)) as lab:
        vm = lab.vm("ticks")
        assert vm.console.text == "tick 1 at 100 ms\ntick 2 at 200 ms\n" and vm.state == "blocked"
        lab.run(seconds(1))
        assert vm.console.text.splitlines()[-1] == "tick 5 at 500 ms" and vm.state == "shutdown"
        assert vm.statistics().cpu_ns < ms(1)


@each
def test_ping_and_pong_find_each_other_in_xenstore_and_play_over_an_event_channel(arch: str) -> None:
    with booted(native.ping(arch), native.pong(arch)) as lab:
        ping, pong = (lab.vm(name).console.text.splitlines() for name in ("ping", "pong"))
        assert ping[0].startswith("domain 2 has bound port ") and [line.split(":")[0] for line in ping[1:]] == ["ping 1", "ping 2", "ping 3"]
        assert pong == ["pong 1", "pong 2", "pong 3"]
        assert {lab.vm(name).state for name in ("ping", "pong")} == {"shutdown"}


@each
@pytest.mark.parametrize("how", ["copied", "mapped"])
def test_a_page_that_one_grants_is_read_by_the_other_and_given_back(arch: str, how: str) -> None:
    with booted(native.lend(arch), native.borrow(arch, cmdline="map" if how == "mapped" else "")) as lab:
        assert lab.vm("borrow").console.text == f"{how}: a page of domain 1\n"
        lent = lab.vm("lend").console.text.splitlines()
        assert lent[0].startswith("grant 8: domain 2 may read the page at 0x") and lent[1] == "grant 8 is ours again"
        assert lab.vm("lend").state == "shutdown" and 8 not in lab.machine.toolstack.domain(1).grants.uses


@each
@pytest.mark.parametrize(
    ("cmdline", "address", "meaning", "place"),
    [
        ("", "0x0 ", "a null pointer", "write_to, line 7"),
        ("wild", "0xdead0000 ", "no memory is there", "write_to, line 7"),
        ("code", "0x", "code and constants are read only", "write_to, line 7"),
        ("stack", "0x", "below the stack: calls go too deep", "deeper, line "),
    ],
)
def test_a_fault_is_told_on_the_console_and_why_names_the_line(arch: str, cmdline: str, address: str, meaning: str, place: str) -> None:
    with booted(native.fault(arch, cmdline=cmdline), run=ms(5)) as lab:
        vm = lab.vm("fault")
        last = vm.console.text.splitlines()[-1]
        assert vm.state == "crashed" and last.startswith("fault: a page fault at 0x") and last.endswith(f"({meaning})")
        assert f", writing to address {address}" in last
        assert str(vm.why()).startswith("fault crashed: a page fault at 0x") and f"({place}" in str(vm.why()) and str(vm.why()).endswith(f"({meaning})")


@each
def test_a_guest_that_panics_says_why(arch: str) -> None:
    text = '#include <guest.h>\nint main(void) { panic("no more than %d", 3); }'
    with booted(compile_guest(text, arch), run=ms(1)) as lab:
        assert lab.vm("guest").console.text == "panic: no more than 3\n"
        assert str(lab.vm("guest").why()) == "guest crashed: panic: no more than 3"


SPINS = """#include <guest.h>

static volatile unsigned came;

static void event(evtchn_port_t port, void *data)
{
    came += port == *(evtchn_port_t *)data;
}

int main(void)
{
    evtchn_port_t ours = evtchn_alloc_unbound(DOMID_SELF), other = evtchn_bind_interdomain(DOMID_SELF, ours);
    unsigned sum = 0, turns = 0;
    evtchn_handle(ours, event, &ours);
    for (unsigned count = 1; count <= 20; count++) {
        evtchn_notify(other);
        while (came < count)
            turns += 1, sum += turns * 3;
    }
    printf("%u events, %s\\n", came, sum == 3 * (turns * (turns + 1) / 2) ? "nothing lost" : "registers lost");
    return 0;
}
"""


@each
def test_an_event_interrupts_a_guest_that_computes_and_leaves_its_registers_alone(arch: str) -> None:
    with booted(compile_guest(SPINS, arch)) as lab:
        assert lab.vm("guest").console.text == "20 events, nothing lost\n"


ALARM = """#include <guest.h>

int main(void)
{
    uint64_t begin = now_ns(), end = begin + 3000000, turns = 0, before = begin;
    while (now_ns() < end) {
        uint64_t now = now_ns();
        if (now < before)
            panic("time went back");
        before = now;
        turns++;
    }
    sleep_ns(1000000);
    uint64_t took = now_ns() - end;
    printf("%s, %s\\n", turns > 10 ? "looked" : "stood still", took >= 1000000 && took < 1100000 ? "slept" : "overslept");
    return 0;
}
"""


@each
def test_time_only_goes_on_and_sleep_ends_when_it_is_over(arch: str) -> None:
    with booted(compile_guest(ALARM, arch)) as lab:
        assert lab.vm("guest").console.text == "looked, slept\n"


@each
def test_xenstore_answers_with_values_and_with_errors(arch: str) -> None:
    text = """#include <guest.h>
int main(void)
{
    char value[8];
    int read = xenstore_read("name", value, sizeof value);
    printf("%d %s\\n", read, value);
    printf("%d\\n", xenstore_read("data/none", value, sizeof value));
    printf("%d\\n", xenstore_write("/local/domain/0/name", "mine"));
    printf("%d\\n", xenstore_write("data/long", "0123456789"));
    read = xenstore_read("data/long", value, sizeof value);
    printf("%d %s\\n", read, value);
    return 0;
}
"""
    with booted(compile_guest(text, arch)) as lab:
        assert lab.vm("guest").console.text.splitlines() == ["5 guest", "-2", "-13", "0", "10 0123456"]


def test_machines_of_different_kinds_play_with_each_other_and_lend_pages() -> None:
    for one, other in (("x86_64", "aarch64"), ("aarch64", "armv7")):
        with booted(native.ping(one), native.pong(other), native.lend(other), native.borrow(one)) as lab:
            assert lab.vm("pong").console.text == "pong 1\npong 2\npong 3\n" and lab.vm("borrow").console.text == "copied: a page of domain 3\n"
            assert {lab.vm(name).state for name in ("ping", "pong", "lend", "borrow")} == {"shutdown"}


@each
def test_two_runs_are_the_same_to_the_last_byte(arch: str) -> None:
    kept = []
    for _ in range(2):
        with booted(native.ping(arch), native.pong(arch)) as lab:
            domains = [lab.machine.toolstack.domain(domid) for domid in (1, 2)]
            kept.append([(lab.vm(domain.name).console.text, bytes(domain.memory.view), domain.cpu_ns) for domain in domains])
    assert kept[0] == kept[1]


@each
@pytest.mark.parametrize("memory_mib", [4, 5, 64, 1500])
def test_a_guest_boots_with_little_memory_and_with_much(arch: str, memory_mib: int) -> None:
    text = '#include <guest.h>\nint main(void) { char *page = alloc_page(); page[4095] = 1; sleep_ns(1000); print("ok\\n"); return 0; }'
    with booted(compile_guest(text, arch, memory_mib=memory_mib), run=ms(5)) as lab:
        assert lab.vm("guest").console.text == "ok\n"


@each
def test_memory_that_is_used_up_is_a_panic(arch: str) -> None:
    text = "#include <guest.h>\nint main(void) { for (;;) alloc_page(); }"
    with booted(compile_guest(text, arch, memory_mib=4), run=ms(50)) as lab:
        assert lab.vm("guest").console.text == "panic: there is no more memory\n"


def test_the_cells_of_the_documentation_do_what_it_says(ipython: Any) -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "native.md").read_text()
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    with ipython() as shell:
        for cell in found[1].split("# --\n"):
            assert shell.run_cell(cell).success
        assert (shell.user_ns["vm"].console.text, shell.user_ns["vm"].state) == ("1\n2\n3\n", "shutdown")


def test_what_the_documentation_names_is_in_the_headers() -> None:
    root = Path(__file__).resolve().parents[3]
    text = (root / "docs" / "native.md").read_text()
    told = set(re.findall(r"`(\w+)(?:\([^`]*\))?`", text[text.index("## What a guest has") : text.index("## How it begins")]))
    headers = "".join(path.read_text() for path in (root / "mirage_lab" / "tool" / "native" / "guest" / "include").glob("*.h"))
    assert len(told) > 30 and [name for name in sorted(told) if not re.search(rf"\b{name}\b", headers)] == []


def test_the_script_of_a_lab_compiles_its_guests_again() -> None:
    with booted(native.ping("aarch64"), native.pong(cmdline='with "quotes"')) as lab:
        said, text = lab.vm("ping").console.text, lab.script()
    made: dict[str, Any] = {}
    exec(compile(text, "script", "exec"), made)
    with made["lab"] as again:
        assert again.vm("ping").console.text == said != "" and again.script() == text

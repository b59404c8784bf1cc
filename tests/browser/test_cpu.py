"""The CPU tab in a browser: step and back, run to a symbol, breakpoints by click and by key, two guests side by side."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.armcode import ARM64
from tests.browser.conftest import Desk, notebook, wait_for
from tests.browser.test_access import CUT, NAMELESS, grave
from tests.browser.test_notebooks import pictures
from tests.machinecode import BASE, call, elf32, imm, with_symbols

HOSTILE = "<img src=x onerror=window.owned=1>"
COUNT, DATA = BASE + 0x100, BASE + 0x200
NAMES = {"main": (BASE, 0x80), "count": (COUNT, 7), HOSTILE: (COUNT + 7, 1)}


def kernel() -> bytes:
    """A guest that calls `count` 1,000 times, says so and spins."""
    start = b"\xb9" + imm(1_000)
    body = b"\xe8" + struct.pack("<i", COUNT - (BASE + len(start) + 5)) + b"\x49"
    body += b"\x75" + struct.pack("<b", -len(body) - 2) + call(18, 0, len(HOSTILE), DATA) + b"\xeb\xfe"
    code = (start + body).ljust(0x100, b"\x90") + b"\x40\xbb" + imm(7) + b"\x90\xc3"  # inc eax; mov ebx, 7; nop; ret
    return with_symbols(elf32(code.ljust(0x200, b"\x90") + HOSTILE.encode()), NAMES)


CELLS = (
    f"""%load_ext mirage_lab
import base64
from mirage_lab import *
from mirage_lab.signatures import Console
@unikernel
async def quiet(console: Console):
    console.log("quiet")
lab = Lab(seed=1)
kernel = base64.b64decode({base64.b64encode(kernel()).decode()!r})
lab.create(quiet(devices.default_console)).unpause()
lab.create(guest_image(kernel, name="twin", memory_mib=8)).unpause()
vm = lab.create(guest_image(kernel, name="first", memory_mib=8))
vm.unpause()
lab.create(guest_image(base64.b64decode({base64.b64encode(ARM64.says(b"hello")).decode()!r}), name="arm", memory_mib=8)).unpause()""",
    "vm",
)


def opened(browser: Any, server: Any, name: str, **how: Any) -> Desk:
    """A desk with the view of a guest that has not yet taken an instruction."""
    made = Desk(browser, server, **how).open(name, notebook(*CELLS)).run()
    assert made.errors == []
    made.view.locator(".ml-cpu-line").first.wait_for()
    return made


@pytest.fixture(scope="module")
def machine(browser: Any, server: Any) -> Iterator[Desk]:
    made = opened(browser, server, "cpu.ipynb")
    yield made
    made.close()


def pane(desk: Desk, name: str) -> Any:
    """The half of the view that shows a guest."""
    return desk.view.get_by_role("region", name=f"guest {name}", exact=True)


def press(desk: Desk, name: str, words: str, line: str) -> None:
    """Press a button of a guest, and see its line."""
    pane(desk, name).get_by_role("button", name=words, exact=True).click()
    expect(desk.view.locator(".ml-line")).to_have_text(line)


def at(desk: Desk, name: str, address: int) -> None:
    """See where a guest stands."""
    expect(pane(desk, name).locator(".ml-cpu-line[aria-current=true]")).to_have_attribute("data-address", f"{address:x}")


def test_the_handle_of_a_guest_of_machine_code_opens_at_its_cpu_and_steps_both_ways(machine: Desk) -> None:
    expect(machine.view.locator("[data-tab=cpu]")).to_have_attribute("aria-selected", "true")
    at(machine, "first", BASE)
    press(machine, "first", "step ▶", "lab.vm('first').cpu.step()")
    at(machine, "first", BASE + 5)
    changed = pane(machine, "first").locator("li[data-changed]")
    expect(changed).to_have_count(2)
    expect(changed.first).to_contain_text("ecx000003e8• changed")
    machine.shot("cpu-step", machine.view)
    press(machine, "first", "◀ step back", "lab.vm('first').cpu.step_back()")
    at(machine, "first", BASE)
    expect(pane(machine, "first").locator("[data-register=ecx]")).to_contain_text("00000000")


def test_keys_step_go_back_and_set_a_breakpoint_and_the_focus_stays_with_the_next_instruction(machine: Desk) -> None:
    before = machine.cells()
    here = pane(machine, "first").locator(".ml-cpu-line[aria-current=true]")
    here.focus()
    for count in range(1, 10):
        machine.page.keyboard.press("s")
        expect(machine.view.locator(".ml-said")).to_contain_text("first at")
        address = (BASE + 5, COUNT, COUNT + 1, COUNT + 6, COUNT + 7, BASE + 10, BASE + 11, BASE + 5, COUNT)[count - 1]
        at(machine, "first", address)
        expect(here).to_be_focused()
    machine.page.keyboard.press("b")
    at(machine, "first", BASE + 5)
    expect(here).to_be_focused()
    machine.page.keyboard.press("Enter")
    expect(here).to_have_attribute("aria-selected", "true")
    expect(here).to_have_accessible_name(f"{BASE + 5:x} call {COUNT:#x} count, next, breakpoint")
    machine.page.keyboard.press("Enter")
    expect(here).to_have_attribute("aria-selected", "false")
    assert machine.cells() == before


def test_it_runs_to_a_symbol_and_a_click_sets_a_breakpoint_that_stops_the_world(machine: Desk) -> None:
    mine = pane(machine, "first")
    field = mine.get_by_label("symbol or address").first
    field.fill("cou")
    expect(mine.locator("datalist").first.locator("option")).to_have_attribute("value", "count")
    field.fill("count")
    field.press("Enter")
    expect(machine.view.locator(".ml-line")).to_have_text("lab.vm('first').cpu.run_to('count', within=ms(200))")
    at(machine, "first", COUNT)
    label = mine.locator(".ml-cpu-label:not([hidden])")
    expect(label.first).to_have_text("count:")
    expect(label.nth(1)).to_have_text(f"{HOSTILE}:")
    mine.locator(f".ml-cpu-line[data-address='{COUNT + 6:x}']").click()
    expect(mine.locator(".ml-cpu-line[aria-selected=true]")).to_have_count(1)
    machine.view.get_by_role("button", name="run 1 s").click()
    expect(machine.view.locator(".ml-said")).to_contain_text(f"stopped: first at {COUNT + 6:#x}")
    at(machine, "first", COUNT + 6)
    mine.get_by_role("button", name="Breakpoints (1)").click()
    mine.get_by_label("stop at").select_option("hypercall")
    mine.get_by_label("such as event_channel_op.*").fill("console_io.*")
    mine.get_by_role("button", name="set breakpoint").click()
    expect(mine.locator(".ml-cpu-stops li")).to_have_count(2)
    machine.shot("cpu-breakpoints", machine.view)
    mine.get_by_role("button", name=f"remove the breakpoint {COUNT + 6:#x}").click()
    expect(mine.locator(".ml-cpu-stops li")).to_have_count(1)
    machine.view.get_by_role("button", name="run 1 s").click()
    expect(machine.view.locator(".ml-said")).to_contain_text("stopped: first: hypercall:console_io.*")
    mine.get_by_role("button", name="Hypercalls").click()
    expect(mine.locator("tr[data-kind=call]").first).to_contain_text(f"console_io.write{HOSTILE}")
    assert machine.page.evaluate("() => window.owned === undefined && !document.querySelector('.mirage-lab img')")
    press(machine, "first", "back to a breakpoint", "lab.vm('first').cpu.run_back()")
    mine.get_by_role("button", name="Breakpoints (1)").click()
    mine.get_by_role("button", name="remove the breakpoint").click()
    expect(mine.locator(".ml-cpu-stops li")).to_have_count(0)


def test_two_guests_stand_side_by_side_and_each_is_stepped_alone(machine: Desk) -> None:
    machine.view.get_by_role("button", name="reset").click()
    at(machine, "first", BASE)
    machine.view.get_by_label("beside it").select_option("twin")
    twin = pane(machine, "twin")
    at(machine, "twin", BASE)
    before = pane(machine, "first").locator("[data-register=eip]").inner_text()
    field = twin.get_by_label("symbol or address").first
    field.fill("count")
    field.press("Enter")
    at(machine, "twin", COUNT)
    assert pane(machine, "first").locator("[data-register=eip]").inner_text() == before
    twin.get_by_role("button", name="Memory map").click()
    expect(twin.locator(".ml-boot-legend")).to_contain_text("kernel code")
    twin.get_by_label("colour by").select_option("owner")
    expect(twin.locator(".ml-boot-legend")).to_contain_text("Xen")
    machine.view.get_by_label("beside it").select_option("arm")
    arm = pane(machine, "arm")
    expect(arm).to_contain_text("aarch64, no paging")
    at(machine, "arm", ARM64.base)
    press(machine, "arm", "step ▶", "lab.vm('arm').cpu.step()")
    at(machine, "arm", ARM64.base + 0x40)
    expect(arm.locator("li[data-changed]")).to_have_count(1)
    machine.shot("cpu-two", machine.view)
    machine.view.get_by_label("beside it").select_option("quiet")
    press(machine, "quiet", "◀ step back", "lab.vm('quiet').step_back()")
    press(machine, "quiet", "step ▶", "lab.step()")


def test_page_tables_are_walked_and_the_console_takes_a_line(machine: Desk) -> None:
    mine = pane(machine, "first")
    mine.get_by_role("button", name="Page tables").click()
    field = mine.get_by_role("textbox", name="address", exact=True)
    field.fill("count")
    field.press("Enter")
    expect(mine.locator(".ml-cpu-end")).to_contain_text(f"0x{COUNT:x} is physical 0x{COUNT:x}")
    expect(mine.locator(".ml-cpu-dump")).to_contain_text("40 bb 07 00")
    field.fill("nonsense")
    field.press("Enter")
    expect(mine.get_by_role("alert")).to_contain_text("is no address")
    mine.get_by_role("button", name="Console").click()
    mine.get_by_role("textbox", name="type").fill("hello")
    mine.get_by_role("button", name="send").click()
    expect(machine.view.locator(".ml-line")).to_have_text("lab.vm('first').console.write('hello\\r')")


@pytest.mark.parametrize("dark", [False, True])
def test_it_is_usable_by_everybody_in_light_and_in_the_dark_small_and_large(machine: Desk, browser: Any, server: Any, dark: bool) -> None:
    desk = opened(browser, server, "cpu-dark.ipynb", color_scheme="dark", reduced_motion="reduce") if dark else machine
    if dark:
        desk.page.evaluate("() => { jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' }); }")
        desk.page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    desk.view.get_by_label("beside it").select_option("twin")
    twin = pane(desk, "twin")
    twin.locator(".ml-cpu-line").first.click()
    parts = ("Breakpoints (1)", "Page tables", "Console") if dark else ("Hypercalls", "Memory map", "Xenstore", "Breakpoints (1)")
    for part in parts:
        twin.get_by_role("button", name=part, exact=True).click()
        expect(twin.get_by_role("button", name=part, exact=True)).to_have_attribute("aria-pressed", "true")
        grave(desk)
        assert desk.page.evaluate(NAMELESS) == []
    for size in ({"width": 1366, "height": 768}, {"width": 683, "height": 384}):
        desk.page.set_viewport_size(size)
        desk.page.wait_for_function("width => window.innerWidth === width", arg=size["width"])
        assert desk.page.evaluate(CUT) == []
    desk.page.set_viewport_size({"width": 1366, "height": 768})
    twin.locator(".ml-cpu-line[aria-selected=true]").click()
    expect(twin.get_by_role("button", name="Breakpoints", exact=True)).to_be_visible()
    desk.shot(f"cpu-{'dark' if dark else 'light'}", desk.view)
    if dark:
        desk.page.evaluate("() => { jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Light' }); }")
        desk.page.wait_for_function("() => document.body.dataset.jpThemeLight === 'true'")
        desk.close()


def test_a_saved_notebook_keeps_a_picture_of_the_cpu_as_it_was_last(machine: Desk, browser: Any, server: Any) -> None:
    machine.view.get_by_role("button", name="reset").click()
    press(machine, "first", "step ▶", "lab.vm('first').cpu.step()")
    at(machine, "first", BASE + 5)
    here = pane(machine, "first").locator("[data-register=eip]").inner_text().removeprefix("eip").split()[0]
    drawn = "() => JSON.stringify(jupyterapp.shell.currentWidget.content.widgets[1].model.outputs.toJSON())"
    machine.page.wait_for_function(f"here => ({drawn})().includes(here)", arg=here[:8])
    saved = machine.save()
    bundles = [output["data"] for output in saved["cells"][1]["outputs"]]
    drawings = [bundle for bundle in bundles if "image/svg+xml" in bundle]
    assert len(drawings) == 1 and drawings[0]["image/png"]
    svg = "".join(drawings[0]["image/svg+xml"])
    assert "the CPU of first" in svg and here[:8] in svg and "<img" not in svg
    assert all(len("".join(bundle["text/plain"]).splitlines()) <= 9 for bundle in bundles if "text/plain" in bundle)
    again = Desk(browser, server).open("cpu.ipynb")
    wait_for(lambda: pictures(again), "a picture is drawn")
    again.trouble.clear()  # JupyterLab prints that a widget's model is not there: that is what a fresh kernel means
    again.shot("cpu-reopened")
    again.close()

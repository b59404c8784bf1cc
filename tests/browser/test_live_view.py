"""The live view by mouse: clock, tabs, sliders, filter, click-through; what is shown is what the lab says."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

TABS = ("dashboard", "graph", "boot", "cpu", "stack", "packets", "xenstore", "history")


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_opens_without_trouble(demo: Any, tab: str) -> None:
    demo.tab(tab)
    expect(demo.view.locator(".ml-panel > :not([hidden])")).to_have_count(1)
    expect(demo.view.locator(".ml-trouble").first).to_be_hidden()
    demo.shot(f"tab-{tab}")


def test_a_counter_increases_while_playing_and_stops_on_pause(demo: Any) -> None:
    demo.tab("dashboard")
    play = demo.view.locator(".ml-play")
    before = demo.number(".ml-t")
    play.click()
    expect(play).to_have_text("❚❚ pause")
    assert demo.line() == "lab.play()"
    demo.page.wait_for_function("before => Number(document.querySelector('.mirage-lab .ml-t').textContent.match(/[0-9.]+/)[0]) > before + 0.2", arg=before)
    first = demo.number(".ml-t")
    demo.page.wait_for_function("before => Number(document.querySelector('.mirage-lab .ml-t').textContent.match(/[0-9.]+/)[0]) > before", arg=first)
    play.click()
    expect(play).to_have_text("▶ play")
    expect(demo.view.locator(".ml-word")).to_have_text("paused")
    assert demo.line() == "lab.pause()"
    at = demo.number(".ml-t")
    demo.tab("graph")  # a question that the same worker answers after anything it still had to say
    assert demo.number(".ml-t") == at > before + 0.2


def test_step_handles_one_event_and_tells_its_line(demo: Any) -> None:
    demo.tab("dashboard")
    before = demo.number(".ml-events")
    demo.view.get_by_role("button", name="step", exact=True).click()
    expect(demo.view.locator(".ml-line")).to_have_text("lab.step()")
    expect(demo.view.locator(".ml-events")).to_have_text(f"{before + 1:,.0f} events")


def test_every_device_is_told_without_a_word_of_the_machinery(demo: Any) -> None:
    demo.tab("graph")
    detail = demo.view.locator(".ml-graph-detail")
    for node in demo.view.locator(".ml-graph-node").all():
        node.click()
        expect(detail.locator("h3")).to_contain_text(node.get_attribute("data-node"))
        expect(detail).not_to_contain_text(re.compile(r"null|undefined|NaN|\[object"))
    detail.get_by_role("button", name="close").click()


def test_a_device_is_told_when_it_is_chosen(demo: Any) -> None:
    demo.tab("graph")
    node = demo.view.locator(".ml-graph-node[data-state=running]").first
    name = node.get_attribute("data-node")
    node.click()
    detail = demo.view.locator(".ml-graph-detail")
    expect(detail.locator("h3")).to_contain_text(name)
    expect(detail.locator("[data-fact='linked because'], [data-fact=unikernel]").first).not_to_be_empty()
    demo.shot("graph-device")
    detail.get_by_role("button", name="close").click()
    expect(detail.locator("h3")).to_have_count(0)


def test_a_slider_changes_the_lan_at_the_time_of_the_moment(demo: Any) -> None:
    demo.tab("stack")
    slider = demo.view.locator("input[data-fault=loss]")
    slider.focus()
    demo.page.keyboard.press("ArrowRight")
    expect(demo.view.locator(".ml-line")).to_have_text("lab.set_lan('br0', loss=0.001)")
    expect(demo.view.locator(".ml-said")).to_contain_text("br0 at t = ")
    demo.page.keyboard.press("Home")
    expect(demo.view.locator(".ml-line")).to_have_text("lab.set_lan('br0', loss=0.0)")
    latency = demo.view.locator("input[data-fault=latency]")
    latency.fill("10")
    expect(demo.view.locator(".ml-line")).to_have_text("lab.set_lan('br0', latency=ms(40))")
    demo.shot("stack-sliders")


def test_a_commit_of_the_store_is_told_and_where_two_of_them_parted_is_lit(demo: Any) -> None:
    demo.tab("history")
    rows = demo.view.locator(".ml-hi-row")
    expect(rows.first.locator(".ml-hi-branches")).to_have_text("[main]")
    rows.first.click()
    detail = demo.view.locator(".ml-hi-detail")
    expect(detail.locator("h3")).to_contain_text("/local/domain/1/")
    expect(detail.locator(".ml-hi-changes li")).not_to_have_count(0)
    rows.nth(2).click()
    expect(detail.locator(".ml-hi-meet")).to_contain_text("lowest common ancestor")
    expect(demo.view.locator(".ml-hi-row[data-lit=yes]")).to_have_count(1)
    expect(rows.nth(2)).to_contain_text("lowest common ancestor")
    detail.get_by_role("button").first.click()
    expect(rows.nth(3)).to_have_attribute("aria-selected", "true")
    detail.locator("summary").click()
    expect(detail.locator(".ml-hi-tree li").first).to_be_visible()
    demo.shot("history")


def test_the_tree_of_the_store_shows_owners_permissions_and_watches_and_changes_while_one_looks(demo: Any) -> None:
    demo.tab("xenstore")
    where = "/local/domain/1/device/vif/0/state"
    row = demo.view.locator(f'.ml-xs-row[data-path="{where}"]')
    expect(row.locator(".ml-xs-value")).to_have_text('"4"')
    expect(row.locator(".ml-xs-perms")).to_have_text("n1 r0")
    expect(row).to_have_attribute("title", f"{where}: owner domain 1, permissions n1 r0")
    expect(row.locator(".ml-xs-watched")).to_have_text("watched by dom0")
    note = demo.view.locator('.ml-xs-row[data-path="/tool/note"]')
    expect(note).to_have_count(0)
    demo.view.get_by_label("path", exact=True).fill("/tool/note")
    demo.view.get_by_label("value", exact=True).fill("hello")
    demo.view.get_by_role("button", name="write", exact=True).click()
    expect(note.locator(".ml-xs-value")).to_have_text('"hello"')
    expect(demo.view.locator(".ml-xs-recent li").first).to_contain_text('/tool/note = "hello"')
    note.click()
    demo.view.get_by_role("button", name="remove", exact=True).click()
    expect(note).to_have_count(0)
    demo.shot("xenstore-tree")


def test_the_packets_are_filtered_and_a_wrong_filter_is_told_in_words(demo: Any) -> None:
    demo.tab("packets")
    rows = demo.view.locator(".ml-pk-frame")
    expect(rows.first).to_be_visible()
    everything = int(demo.view.locator(".ml-pk-grid").get_attribute("aria-rowcount")) - 1
    field = demo.view.get_by_label("display filter")
    field.fill("arp")
    field.press("Enter")
    expect(demo.view.locator(".ml-pk-words")).to_contain_text(f"of {everything} frames match")
    expect(rows.first.locator("[aria-colindex='5']")).to_have_text("ARP")
    assert 0 < rows.count() < everything
    field.fill("tcp.prot == 80")
    field.press("Enter")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(demo.view.locator(".ml-pk-wrong")).to_contain_text("tcp.port")
    demo.view.get_by_role("button", name="clear").click()
    expect(demo.view.locator(".ml-pk-grid")).to_have_attribute("aria-rowcount", str(everything + 1))


def test_a_field_lights_its_bytes_and_a_byte_its_field_and_the_cause_is_told(demo: Any) -> None:
    demo.tab("packets")
    demo.view.locator(".ml-pk-frame").nth(4).click()
    lit = demo.view.locator(".ml-pk-hex .ml-pk-byte[data-lit]")
    demo.view.locator(".ml-pk-item:not([data-layer])", has_text="source port").click()
    expect(lit).to_have_count(2)
    byte = demo.view.locator(".ml-pk-byte[data-at='23']")
    byte.click()
    expect(byte).to_have_attribute("data-lit", "yes")
    expect(demo.view.locator(".ml-pk-item[data-lit=yes]:not([data-layer])")).to_contain_text("protocol")
    story = demo.view.locator(".ml-pk-story")
    for word in ("slot", "grant"):
        expect(story).to_contain_text(word)
    demo.shot("packet")


def test_two_displays_of_one_lab_stay_in_step(demo: Any) -> None:
    demo.page.evaluate("() => { const it = jupyterapp.shell.currentWidget.content; it.activeCellIndex = 2; it.widgets[2].model.sharedModel.setSource('lab'); }")
    demo.command("notebook:run-cell")
    views = demo.page.locator(".mirage-lab")
    expect(views).to_have_count(2)
    second = views.nth(1)
    second.locator("[data-tab=xenstore]").click()
    for view in (views.nth(0), second):
        expect(view.locator("[data-tab=xenstore]")).to_have_attribute("aria-selected", "true")
    second.get_by_role("button", name="run 1 s").click()
    expect(second.locator(".ml-line")).to_have_text("lab.run(seconds(1))")
    expect(views.nth(0).locator(".ml-t")).to_have_text(second.locator(".ml-t").text_content())
    demo.shot("two-views")


def test_run_undo_and_reset_tell_their_lines(demo: Any) -> None:
    before = demo.number(".ml-t")
    demo.view.get_by_role("button", name="run 1 s").click()
    expect(demo.view.locator(".ml-t")).to_have_text(f"t = {before + 1:.3f} s")
    expect(demo.view.locator(".ml-line")).to_have_text("lab.run(seconds(1))")
    demo.view.get_by_role("button", name="undo").click()
    expect(demo.view.locator(".ml-line")).to_have_text("lab.undo()")
    demo.view.get_by_role("button", name="reset").click()
    expect(demo.view.locator(".ml-line")).to_have_text("lab.reset()")
    expect(demo.view.locator(".ml-t")).to_have_text("t = 0")
    expect(demo.view.locator(".ml-badge")).to_have_text("reproducible: seed 1")

"""A capture of 100,000 frames in the packet table: few elements, any row in sight at once."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import DEMO, Desk, notebook

LONG = """said = [frame.data for frame in trace]
long = lab.capture("br0", name="long", limit_bytes=1 << 30)
for number in range(100_000):
    _ = long.capture.frame(lab.now + number * 1_000, said[number % len(said)], 0, "web")"""


def test_a_hundred_thousand_rows_are_a_few_elements_and_any_is_shown(desk: Desk) -> None:
    desk.open("long.ipynb", notebook(DEMO, LONG, "long")).run()
    grid = desk.view.locator(".ml-pk-grid")
    expect(grid).to_have_attribute("aria-rowcount", "100001")
    rows = desk.view.locator(".ml-pk-frame")
    expect(rows.first).to_contain_text("0.0")
    for wanted in (90_000, 1, 100_000, 45_678):
        desk.view.locator(".ml-pk-number").fill(str(wanted))
        desk.view.locator(".ml-pk-number").press("Enter")
        expect(desk.view.locator(".ml-pk-frame[aria-selected=true] [aria-colindex='1']")).to_have_text(str(wanted))
        assert 0 < rows.count() <= 200
    grid.focus()
    desk.page.keyboard.press("End")
    expect(desk.view.locator(".ml-pk-frame[aria-selected=true]")).to_have_attribute("aria-rowindex", "100001")
    for _ in range(30):
        desk.page.mouse.wheel(0, 20_000)
    assert rows.count() <= 200
    field = desk.view.get_by_label("display filter")
    field.fill("arp")
    field.press("Enter")
    expect(desk.view.locator(".ml-pk-words")).to_contain_text("of 100,000 frames match", timeout=30_000)
    desk.shot("long-capture")

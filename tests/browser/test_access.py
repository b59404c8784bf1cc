"""The live view without a mouse, read aloud, enlarged, in dark, with little motion."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import DEMO, Desk, notebook

TABS = ("dashboard", "graph", "boot", "cpu", "stack", "packets", "xenstore", "history")
KEYS = ("d", "d", "j", "k", "x", "z", "Enter", "ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight")
GRAVE = ("serious", "critical")

CUT = """() => {
    const view = document.querySelector(".mirage-lab");
    const edge = Math.min(view.getBoundingClientRect().right, view.closest(".jp-Cell").getBoundingClientRect().right) + 1;
    const reached = (style) => /auto|scroll/.test(style.overflowX) || style.textOverflow === "ellipsis";
    const scrolls = (node) => {
        for (let at = node; at !== view; at = at.parentElement) if (reached(getComputedStyle(at))) return true;
        return false;
    };
    const out = (node) => node.getClientRects().length && node.getBoundingClientRect().right > edge && !scrolls(node);
    return [...view.querySelectorAll("*")].filter(out).slice(0, 3).map((node) => node.outerHTML.slice(0, 120));
}"""

NAMELESS = """() => [...document.querySelectorAll(".mirage-lab svg")]
    .filter((node) => node.getClientRects().length && !node.querySelector(":scope > title")).map((node) => node.outerHTML.slice(0, 120))"""


def choose(desk: Desk, tab: str) -> None:
    """Show a tab with something chosen in it."""
    desk.tab(tab)
    if tab == "packets":
        desk.view.locator(".ml-pk-frame").nth(2).click()
        desk.view.locator(".ml-pk-hex").wait_for()
    elif tab == "graph":
        desk.view.locator(".ml-graph-node").first.click()


@pytest.mark.parametrize("tab", TABS)
def test_keys_pressed_inside_stay_inside(demo: Desk, tab: str) -> None:
    choose(demo, tab)
    before = demo.cells()
    nodes = demo.page.locator(".mirage-lab .ml-panel > :not([hidden])").locator("button, input, select, summary, [tabindex]:not([tabindex='-1'])").all()
    assert nodes
    pressed = 0
    for node in nodes[:25]:
        if not node.is_visible() or not node.is_enabled():
            continue
        node.focus()
        harmless = node.evaluate("node => node.matches('button, summary, input[type=range], select')")
        for key in KEYS if not harmless else ("d", "d", "j", "x"):
            demo.page.keyboard.press(key)
        pressed += 1
    assert pressed and demo.cells() == before
    demo.page.keyboard.press("Escape")


def test_every_control_of_the_shell_is_reached_by_tab_and_the_tabs_by_arrows(demo: Desk) -> None:
    demo.tab("dashboard")
    demo.view.locator(".ml-play").focus()
    names = []
    for _ in range(8):
        names.append(demo.page.evaluate("() => document.activeElement.textContent.trim() || document.activeElement.tagName"))
        demo.page.keyboard.press("Tab")
    assert names[:3] == ["▶ play", "step", "run 1 s"] and "Dashboard" in names
    demo.view.locator("[data-tab=dashboard]").focus()
    demo.page.keyboard.press("ArrowRight")
    assert demo.page.evaluate("() => document.activeElement.textContent") == "Device graph"
    demo.page.keyboard.press("Enter")
    expect(demo.view.locator("[data-tab=graph]")).to_have_attribute("aria-selected", "true")
    expect(demo.view.locator("[data-tab=graph]")).to_be_focused()


@pytest.mark.parametrize("tab", TABS)
def test_axe_finds_nothing_grave(demo: Desk, tab: str) -> None:
    choose(demo, tab)
    grave(demo)


@pytest.mark.parametrize("tab", TABS)
def test_axe_finds_nothing_grave_in_the_dark(dark: Desk, tab: str) -> None:
    choose(dark, tab)
    grave(dark)
    dark.shot(f"dark-{tab}")


def grave(desk: Desk) -> None:
    found = Axe().run(desk.page, context=".mirage-lab", options={"resultTypes": ["violations"]}).response["violations"]
    told = [(each["id"], each["nodes"][0]["html"][:200]) for each in found if each["impact"] in GRAVE]
    assert not told


@pytest.fixture(scope="module")
def dark(browser: Any, server: Any) -> Any:
    made = Desk(browser, server, color_scheme="dark", reduced_motion="reduce").open("dark.ipynb", notebook(DEMO, "lab"))
    made.page.evaluate("() => { jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' }); }")
    made.page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    made.run().view.locator(".ml-transport").wait_for()
    yield made
    made.page.evaluate("() => { jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Light' }); }")
    made.page.wait_for_function("() => document.body.dataset.jpThemeLight === 'true'")
    made.close()


def test_little_motion_means_none(dark: Desk) -> None:
    moving = dark.page.evaluate(
        """() => [...document.querySelectorAll(".mirage-lab, .mirage-lab *")].filter((node) => {
            const style = getComputedStyle(node);
            return style.animationName !== "none" || (style.transitionDuration !== "0s" && parseFloat(style.transitionDuration) > 0.01);
        }).length"""
    )
    assert moving == 0


@pytest.mark.parametrize("tab", TABS)
def test_nothing_is_cut_off_at_1366_by_768_nor_at_200_per_cent(demo: Desk, tab: str) -> None:
    choose(demo, tab)
    for size in ({"width": 1366, "height": 768}, {"width": 683, "height": 384}):
        demo.page.set_viewport_size(size)
        demo.page.wait_for_function("width => window.innerWidth === width", arg=size["width"])
        assert demo.page.evaluate(CUT) == []
        if size["width"] < 700:
            demo.shot(f"zoom-{tab}", demo.view.locator(".ml-panel"))
    demo.page.set_viewport_size({"width": 1366, "height": 768})


def test_pictures_have_a_title_and_the_table_is_a_grid(demo: Desk) -> None:
    for tab in TABS:
        choose(demo, tab)
        assert demo.page.evaluate(NAMELESS) == [], tab
    demo.tab("packets")
    grid = demo.view.locator(".ml-pk-grid")
    expect(grid).to_have_attribute("role", "grid")
    assert grid.locator("[role=row] > [role=gridcell]").count() >= 8


def test_what_is_read_aloud_changes_once_a_second_at_most(demo: Desk) -> None:
    demo.tab("dashboard")
    demo.page.evaluate(
        """() => {
            window.told = [];
            const live = document.querySelector(".mirage-lab .ml-live");
            new MutationObserver(() => window.told.push(performance.now())).observe(live, { childList: true, characterData: true, subtree: true });
        }"""
    )
    clicks = 0
    while len(told := demo.page.evaluate("() => window.told")) < 4:
        demo.view.get_by_role("button", name="run 1 s").click()
        clicks += 1
        assert clicks < 1_000
    assert clicks > len(told)
    assert all(after - before >= 950 for before, after in pairwise(told))

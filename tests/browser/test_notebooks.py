"""Notebooks in JupyterLab: the tour from end to end, a saved notebook opened again, cells run twice, interrupted, restarted."""

from __future__ import annotations

import json
import shutil
import socket
from typing import Any

from playwright.sync_api import expect

from tests.browser.conftest import DEMO, ROOT, Desk, notebook, wait_for

CODE = "jupyterapp.shell.currentWidget.content.widgets.filter((cell) => cell.model.type === 'code')"
NUMBERS = f"() => {CODE}.map((cell) => cell.model.executionCount)"
TRUSTED = f"() => {CODE}.every((cell) => cell.model.trusted || !cell.model.outputs.length)"
DRAWN = """() => [...document.querySelectorAll(".jp-OutputArea-output img, .jp-OutputArea-output svg")]
    .filter((node) => node.tagName !== "IMG" || node.naturalWidth)
    .map((node) => [node.getBoundingClientRect().width, node.getBoundingClientRect().height])"""


def test_the_tour_runs_from_run_all_to_the_last_cell(desk: Desk) -> None:
    shutil.copy(ROOT / "notebooks" / "00-tour.ipynb", desk.server.root / "00-tour.ipynb")
    desk.open("00-tour.ipynb").run()
    assert desk.errors == []
    desk.view.locator(".ml-transport").wait_for()
    count, _ = desk.cells()
    numbers = desk.page.evaluate(NUMBERS)
    assert count > 20 and numbers == sorted(numbers) and None not in numbers
    desk.shot("tour", desk.view)


def pictures(desk: Desk) -> list[tuple[float, float]]:
    """Return the sizes of the pictures in outputs that are really drawn."""
    return [(width, height) for width, height in desk.page.evaluate(DRAWN) if width > 100 and height > 50]


def test_a_saved_notebook_shows_the_world_as_it_was_last_trusted_or_not(browser: Any, server: Any) -> None:
    first = Desk(browser, server).open("saved.ipynb", notebook(DEMO, "lab", "trace"))
    first.run().view.locator(".ml-transport").wait_for()
    first.view.get_by_role("button", name="run 1 s").click()
    expect(first.view.locator(".ml-line")).to_have_text("lab.run(seconds(1))")
    now = first.view.locator(".ml-t").text_content().removeprefix("t = ")
    drawn = "() => JSON.stringify(jupyterapp.shell.currentWidget.content.widgets[1].model.outputs.toJSON())"
    first.page.wait_for_function(f"now => ({drawn})().includes(`t = ${{now}}`)", arg=now)
    saved = first.save()
    first.close()
    kinds = {kind for cell in saved["cells"] for output in cell["outputs"] for kind in output.get("data", ())}
    assert {"image/png", "image/svg+xml", "text/plain"} <= kinds
    saved["metadata"]["changed"] = "by hand: nobody has signed this"
    (server.root / "strange.ipynb").write_text(json.dumps(saved))
    for name, trusted in (("saved.ipynb", True), ("strange.ipynb", False)):
        again = Desk(browser, server).open(name)
        assert again.page.evaluate(TRUSTED) is trusted
        wait_for(lambda again=again: pictures(again), "a picture is drawn")
        assert again.page.locator(".jp-OutputArea-output pre", has_text="reproducible: seed 1").count() >= 1
        assert not again.trouble or all("widget" in line.lower() or "model" in line.lower() for line in again.trouble)
        again.trouble.clear()  # JupyterLab prints that a widget's model is not there: that is what a fresh kernel means
        again.shot(f"reopened-{'trusted' if trusted else 'untrusted'}")
        again.close()


def test_a_cell_that_is_run_twice_shows_one_live_view(desk: Desk) -> None:
    desk.open("twice.ipynb", notebook(DEMO, "lab")).run()
    desk.view.locator(".ml-transport").wait_for()
    desk.run()
    expect(desk.page.locator(".mirage-lab")).to_have_count(1)
    desk.view.get_by_role("button", name="run 1 s").click()
    expect(desk.view.locator(".ml-line")).to_have_text("lab.run(seconds(1))")


def test_an_interrupted_run_leaves_the_lab_and_its_view_in_order(desk: Desk) -> None:
    endless = "@unikernel\nasync def ticker(console: Console, time: Time):\n    while True:\n        await time.sleep(us(1))\n"
    job = "lab.create(ticker(devices.default_console, devices.default_time)).unpause()"
    more = "from mirage_lab.signatures import Console, Time\nfrom mirage_lab import us"
    desk.open("interrupt.ipynb", notebook(f"{DEMO}\n{more}", "lab", endless + job, "lab.run(seconds(3_000))"))
    desk.start()
    desk.view.locator(".ml-transport").wait_for()
    expect(desk.view.locator(".ml-word")).to_have_text("running")
    before = desk.number(".ml-t")
    desk.page.wait_for_function("before => Number(document.querySelector('.mirage-lab .ml-t').textContent.match(/[0-9.]+/)[0]) > before", arg=before)
    desk.command("notebook:interrupt-kernel")
    desk.finished()
    assert all("KeyboardInterrupt" in error for error in desk.errors)
    expect(desk.view.locator(".ml-word")).to_have_text("paused")
    desk.view.get_by_role("button", name="step", exact=True).click()
    expect(desk.view.locator(".ml-line")).to_have_text("lab.step()")


def test_a_restarted_kernel_closes_its_forward_and_the_view_says_that_it_is_gone(desk: Desk) -> None:
    desk.open("restart.ipynb", notebook(DEMO, "lab", "site = lab.forward(lab.vm('web'), 80)\nlab.play()\nprint(site.url)")).run()
    desk.view.locator(".ml-transport").wait_for()
    url = desk.page.locator(".jp-OutputArea-output pre", has_text="http://127.0.0.1:").first.inner_text()
    port = int(url.strip().rsplit(":", 1)[1].strip("/"))
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    desk.page.evaluate("async () => { await jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.restart(); }")

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return True
        return False

    wait_for(refused, "the port is closed")
    expect(desk.page.locator(".ml-gone")).to_be_visible()
    expect(desk.page.locator(".ml-gone")).to_contain_text("The kernel of this widget is gone")
    desk.shot("kernel-gone")
    desk.run()
    expect(desk.view.locator(".ml-transport")).to_be_visible()
    assert desk.errors == []

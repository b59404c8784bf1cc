"""Real browser tests: JupyterLab as `make lab` starts it, in Debian's chromium, driven by Playwright.

A `Desk` is a page with a notebook open.  Readiness is never taken from the kernel's indicator, which is "idle" before there
is a kernel: the page's own promises say when a notebook and its session are there, execution counts say what has run.
Every desk sees to it, at its end, that nothing was asked of any host but 127.0.0.1 and that no error was printed or thrown.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

ROOT = Path(__file__).resolve().parents[2]
SHOTS = Path(os.environ.get("MIRAGE_LAB_ARTEFACTS") or ROOT / "build" / "browser")
SIZE = {"width": 1366, "height": 768}
PATIENCE = 60_000
"""Milliseconds a page may take for what is only slow."""

ALONE = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
"""No name has an address for the browser: what is asked of another host is written down and not sent."""

DEMO = """%load_ext mirage_lab
from mirage_lab import *
lab = Lab.demo("web", seed=1)
trace = lab.capture(lab.lan("br0"))
answer = lab.fetch("10.0.0.2")"""


def chromium() -> str | None:
    """Return the browser of this machine."""
    return next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """Debian's chromium; its sandbox needs rights that a container, where everybody is root, does not give."""
    path = chromium()
    if path is None:
        if os.environ.get("MIRAGE_LAB_REQUIRE") == "all":
            pytest.fail("chromium is not installed and MIRAGE_LAB_REQUIRE=all")
        pytest.skip("chromium is not installed")
    return {"executable_path": path, "args": ["--no-sandbox", "--disable-dev-shm-usage", ALONE]}


def _bootstrap() -> Any:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "bootstrap.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Server:
    """A JupyterLab server in directories of its own."""

    def __init__(self, home: Path) -> None:
        self.root = home / "notebooks"
        self.root.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")
        places = {name: str(home / name.lower()) for name in names}
        kept = {name: value for name, value in os.environ.items() if name != "MIRAGE_LAB_PROGRESS"}
        words = [*_bootstrap().server_words(), "--no-browser", f"--ServerApp.port={self.port}", f"--ServerApp.root_dir={self.root}"]
        words += ["--IdentityProvider.token=", "--ServerApp.password=", "--LabApp.expose_app_in_browser=True"]
        self.log = (home / "server.log").open("w")
        self.process = subprocess.Popen([sys.executable, *words], env={**kept, **places}, cwd=self.root, stdout=self.log, stderr=subprocess.STDOUT)
        wait_for(self._answers, "the server listens")

    def _answers(self) -> bool:
        assert self.process.poll() is None, Path(self.log.name).read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """End the server and its kernels."""
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


def wait_for(true: Callable[[], Any], what: str, within: float = 60.0) -> Any:
    """Ask again and again until the answer is true; return it."""
    until = time.monotonic() + within
    while not (answer := true()):
        assert time.monotonic() < until, f"{what}: not within {within:g} s"
        time.sleep(0.05)
    return answer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    for old in SHOTS.glob("failed-*.png"):
        old.unlink()
    made = Server(tmp_path_factory.mktemp("jupyter"))
    yield made
    made.close()


def notebook(*sources: str) -> dict[str, Any]:
    """Return a notebook of code cells."""
    cells = [
        {"cell_type": "code", "id": f"c{number}", "execution_count": None, "metadata": {}, "outputs": [], "source": source}
        for number, source in enumerate(sources)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


class Desk:
    """A page with a notebook open in it."""

    def __init__(self, browser: Any, server: Server, **context: Any) -> None:
        self.server = server
        self.context = browser.new_context(viewport=SIZE, **context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.asked: list[str] = []
        self.trouble: list[str] = []
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda opened: self.asked.append(opened.url))
        self.page.on("console", lambda message: self.trouble.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.name = ""

    def open(self, name: str, content: dict[str, Any] | None = None) -> Desk:
        """Write a notebook, or take one that is there, and open it with a kernel."""
        if content is not None:
            (self.server.root / name).write_text(json.dumps(content))
        self.name = name
        self.page.goto(f"{self.server.url}/lab/tree/{name}?reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.evaluate("async () => { const it = jupyterapp.shell.currentWidget; await it.context.ready; await it.context.sessionContext.ready; }")
        return self

    def command(self, name: str) -> None:
        """Run a command of JupyterLab without waiting for its end."""
        self.page.evaluate("name => { jupyterapp.commands.execute(name); }", name)

    def run(self) -> Desk:
        """Run all cells and wait for the last."""
        self.start()
        self.finished()
        return self

    def start(self) -> None:
        """Run all cells; do not wait."""
        self.page.evaluate("() => { jupyterapp.shell.currentWidget.content.widgets.forEach(cell => { cell.model.sharedModel.execution_count = null; }); }")
        self.command("notebook:run-all-cells")

    def finished(self) -> None:
        """Wait until every code cell has its number, or one has raised."""
        self.page.wait_for_function(
            """() => {
                const cells = jupyterapp.shell.currentWidget.content.widgets.filter((cell) => cell.model.type === "code");
                return cells.every((cell) => cell.model.executionCount !== null && cell.model.executionState !== "running")
                    || cells.some((cell) => cell.model.outputs.toJSON().some((output) => output.output_type === "error"));
            }"""
        )

    @property
    def errors(self) -> list[str]:
        """What cells have raised."""
        found: list[str] = self.page.evaluate(
            """() => jupyterapp.shell.currentWidget.content.widgets.flatMap((cell) => (cell.model.outputs?.toJSON() ?? [])
                .filter((output) => output.output_type === "error").map((output) => `${output.ename}: ${output.evalue}`))"""
        )
        return found

    def cells(self) -> tuple[int, int]:
        """Return how many cells there are, and which is chosen."""
        found: list[int] = self.page.evaluate("() => { const it = jupyterapp.shell.currentWidget.content; return [it.widgets.length, it.activeCellIndex]; }")
        return found[0], found[1]

    def save(self) -> dict[str, Any]:
        """Save the notebook and return what is in the file."""
        self.page.evaluate("async () => { await jupyterapp.shell.currentWidget.context.save(); }")
        found: dict[str, Any] = json.loads((self.server.root / self.name).read_text())
        return found

    # the live view ------------------------------------------------------------------------------------------------

    @property
    def view(self) -> Any:
        """The first live view."""
        return self.page.locator(".mirage-lab").first

    def tab(self, name: str) -> None:
        """Open a tab."""
        self.view.locator(f"[data-tab={name}]").click()
        self.page.wait_for_function("name => document.querySelector('.mirage-lab [data-tab=' + name + ']').getAttribute('aria-selected') === 'true'", arg=name)

    def number(self, selector: str) -> float:
        """Return the first number in the words of an element of the live view."""
        words = self.view.locator(selector).first.inner_text().replace(",", "")
        return float(next(part for part in words.replace("=", " ").split() if part.replace(".", "").isdigit()))

    def line(self) -> str:
        """Return the line of Python that the last button ran."""
        found: str = self.view.locator(".ml-line").text_content()
        return found

    def shot(self, name: str, of: Any = None) -> None:
        """Keep a screenshot of the page, scrolled to a place if one is named."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        if of is not None:  # a notebook draws cells as they come into sight, and moves others for it
            of.evaluate("node => node.scrollIntoView({ block: 'start' })")
            expect(of).to_be_in_viewport()
        self.page.screenshot(path=SHOTS / f"{name}.png")

    def close(self) -> None:
        """End the kernel and close the page; nothing was asked of other hosts and nothing went wrong."""
        trouble = list(self.trouble)  # what JupyterLab says of a kernel that is being ended is its own affair
        self.page.evaluate("async () => { await jupyterapp.shell.currentWidget.context.sessionContext.shutdown(); }")
        self.context.close()
        elsewhere = [url for url in self.asked if urlsplit(url).scheme in ("http", "https", "ws", "wss") and urlsplit(url).hostname != "127.0.0.1"]
        assert not elsewhere, f"asked of other hosts: {elsewhere[:5]}"
        assert not trouble, f"errors in the page: {trouble[:5]}"


@pytest.fixture
def desk(browser: Any, server: Server) -> Iterator[Desk]:
    """A desk for one test."""
    made = Desk(browser, server)
    yield made
    made.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Keep a screenshot of the desks of a test that failed."""
    report: Any = yield
    if report.when == "call" and report.failed:
        desks = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Desk)]
        for desk in desks:
            try:
                desk.shot("failed-" + re.sub(r"\W+", "-", item.name).strip("-"))
            except Exception as error:  # the page may be what has failed
                report.sections.append(("screenshot", f"none: {error}"))
    return report


@pytest.fixture(scope="module")
def demo(browser: Any, server: Server, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A desk on which the demo web server has answered and its lab is shown; shared by the tests of a module."""
    made = Desk(browser, server).open(f"{Path(str(request.path)).stem}.ipynb", notebook(DEMO, "lab", "1 + 1", "2 + 2")).run()
    made.view.locator(".ml-transport").wait_for()
    yield made
    made.close()

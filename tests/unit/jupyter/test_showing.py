"""What a notebook is given for an object of the lab: the widget first, then words and a picture that are kept up to date."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mirage_lab import Lab, seconds
from mirage_lab.jupyter.showing import Showing


class Page:
    """Outputs as a front end gets them."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.updated: list[tuple[str, dict[str, Any]]] = []

    def publish(self, data: dict[str, Any], metadata: Any = None, *, transient: Any = None, update: bool = False) -> None:
        if update:
            self.updated.append((transient["display_id"], data))
        else:
            self.shown.append(data)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    made = Page()
    monkeypatch.delenv("MIRAGE_LAB_PROGRESS", raising=False)
    monkeypatch.setattr("IPython.display.publish_display_data", made.publish)
    return made


def test_a_trace_is_a_widget_then_words_and_a_table_that_follow_the_capture(page: Page) -> None:
    showing = Showing(SimpleNamespace(kernel=object()))
    with Lab.demo("web", seed=1) as lab:
        trace = lab.traces[0]
        showing.show(trace)
        widget, table = page.shown
        assert widget["text/plain"] == "live view (JupyterLab)"
        assert table["text/plain"].startswith("br0: 2 frames") and "<table>" in table["text/html"]
        live = showing._widget("Trace", trace)
        assert live.snapshot["tab"] == "packets" and live.snapshot["data"]["capture"] == "br0"
        lab.fetch("10.0.0.2")
        live.settled()
        assert page.updated[-1][1]["text/plain"].startswith("br0: 14 frames")
        while lab.machine.captures:
            lab.undo()
        live.settled()
        assert page.updated[-1][1] == {"text/plain": "br0: not captured at this time; lab.capture(lan) begins it"}
        live.close()


def test_without_widgets_a_trace_is_words_and_a_table(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRAGE_LAB_PROGRESS", "off")
    with Lab.demo("web", seed=1) as lab:
        Showing(SimpleNamespace(kernel=object())).show(lab.traces[0])
        lab.run(seconds(1))
        assert [sorted(data) for data in page.shown] == [["text/html", "text/plain"]] and not page.updated


def test_a_lab_is_words_then_a_picture_in_every_format(page: Page) -> None:
    with Lab.demo("web", seed=1) as lab:
        Showing(SimpleNamespace(kernel=None)).show(lab)
        assert [sorted(data) for data in page.shown] == [["text/plain"], ["image/png", "image/svg+xml", "text/plain"]]

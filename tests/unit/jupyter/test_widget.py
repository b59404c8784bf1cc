"""The widget's modules as the browser gets them, and the widget as the notebook does."""

from __future__ import annotations

import re

import pytest

from mirage_lab import Lab, configure, devices, unikernel
from mirage_lab.jupyter.widget import MODULES, STATIC, GraphWidget, LabWidget, esm, widget_for
from mirage_lab.lab.views.catalogue import VIEWS
from mirage_lab.signatures import Console


@unikernel
async def hello(console: Console) -> None:
    console.log("hello")


def test_every_module_is_joined_and_no_import_is_left() -> None:
    assert {path.stem for path in STATIC.glob("*.js")} == set(MODULES)
    assert not re.search(r"^(import|export (?!default))", esm(), re.MULTILINE)


def test_a_module_imports_only_what_stands_before_it_and_is_exported_there() -> None:
    exported: dict[str, set[str]] = {}
    for name in MODULES:
        source = (STATIC / f"{name}.js").read_text(encoding="utf-8")
        for names, module in re.findall(r'^import \{([^}]*)\} from "\./(\w+)\.js";', source, re.MULTILINE):
            assert {word.strip() for word in names.split(",") if word.strip()} <= exported[module], (name, module)
        exported[name] = set(re.findall(r"^export (?:async )?(?:function|const|class) (\w+)", source, re.MULTILINE))


def test_names_at_the_top_of_modules_do_not_meet() -> None:
    names = re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", esm(), re.MULTILINE)
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


@pytest.mark.parametrize("word", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "https:", "import("])
def test_nothing_makes_markup_of_words_or_reaches_out(word: str) -> None:
    assert word not in esm().replace("http://www.w3.org/2000/svg", "")
    assert word not in (STATIC / "lab.css").read_text(encoding="utf-8")


def test_the_style_sheet_reaches_nothing_but_the_widget() -> None:
    css = re.sub(r"/\*.*?\*/", "", (STATIC / "lab.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    selectors = [part.strip() for rule in re.findall(r"([^{}]+)\{", css) for part in rule.split(",")]
    strangers = [one for one in selectors if not re.search(r"\.mirage-lab|\.ml-|^@|^(from|to|[\d.]+%)$|\)$", one)]
    assert not strangers and "url(" not in css


def test_a_widget_of_a_lab_shows_its_tabs_and_leaves_when_closed() -> None:
    with Lab.demo("web", seed=1) as lab:
        widget = LabWidget(lab)
        assert widget.snapshot["tab"] == VIEWS[0].name
        assert widget_for("Lab", lab, "").snapshot["tab"] == VIEWS[0].name
        widget.close()
        assert widget.seat not in widget._live._seats


def test_a_widget_of_a_plan_tells_what_a_device_is() -> None:
    for described in (hello, hello(devices.default_console), configure(hello(devices.default_console))):
        widget = GraphWidget(described)
        nodes = widget.snapshot["data"]["graph"]["nodes"]
        widget.heard({"kind": "look", "changes": {"graph.selected": nodes[-1]["id"]}})
        assert widget.snapshot["data"]["selected"]["type"] == "CONSOLE"
        assert nodes[-1]["state"] == ("hole" if described is hello else "waiting")
        widget.heard({"kind": "look", "changes": {"graph.selected": ["nonsense"]}})
        assert widget.snapshot["data"]["selected"] is None
        widget.close()

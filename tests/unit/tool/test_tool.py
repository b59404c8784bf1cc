"""From a description to a plan, an image, and files: what is shown, refused, sealed and written."""

from __future__ import annotations

import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from mirage_lab import configure, devices, unikernel
from mirage_lab.functoria import layout, vertices
from mirage_lab.functoria.picture import unikernel_svg
from mirage_lab.signatures import Clock, Console, KvRo, Random, StackV4, Time
from mirage_lab.signatures.errors import DescriptionError, DeviceTypeError, MirageError, UnknownKey
from mirage_lab.skeleton import heads_and_tails, hello, network, ping, static_website, web
from mirage_lab.tool.building import edited
from mirage_lab.tool.cli import main
from mirage_lab.tool.devices.chance import Random as SeededRandom
from mirage_lab.tool.devices.crunch import Crunched
from mirage_lab.tool.sealing import digest, seal


def by_hand() -> Any:
    net = devices.netif("0")
    eth = devices.etif(net)
    ip = devices.ipv4(eth, devices.arp(eth), address="10.0.0.2/24", gateway="10.0.0.1")
    return devices.direct_stackv4(devices.udpv4(ip), devices.tcpv4(ip))


def ready() -> Any:
    return devices.direct_stackv4_with_default_ipv4(devices.netif("0"))


def test_a_graph_has_each_device_once_and_edges_to_what_it_is_built_on() -> None:
    plan = configure(web(devices.default_console, by_hand()), "web")
    graph = plan.graph
    assert set(graph.edges) == {
        ("web", "default_console"),
        ("web", "direct_stackv4"),
        ("direct_stackv4", "udpv4"),
        ("direct_stackv4", "tcpv4"),
        ("udpv4", "ipv4 10.0.0.2/24"),
        ("tcpv4", "ipv4 10.0.0.2/24"),
        ("ipv4 10.0.0.2/24", "etif"),
        ("ipv4 10.0.0.2/24", "arp"),
        ("arp", "etif"),
        ("etif", "netif 0"),
    }
    assert graph.edges["web", "default_console"]["hole"] == "console"
    order = [vertex.id for vertex in plan.vertices]
    assert all(order.index(below) < order.index(above) for above, below in graph.edges)


def test_a_device_described_twice_is_one_device() -> None:
    @unikernel
    async def two(console: Console, one: StackV4, other: StackV4) -> None: ...

    plan = configure(two(devices.default_console, ready(), ready()), "two")
    assert sum(vertex.module_type == "STACKV4" for vertex in plan.vertices) == 1


@pytest.mark.parametrize("job", [web(devices.default_console, by_hand()), web, static_website, ping])
def test_no_box_of_a_picture_lies_on_another(job: Any) -> None:
    drawn = layout(vertices(job))
    boxes = list(drawn.boxes.values())
    for index, one in enumerate(boxes):
        assert one.x >= 0 and one.x + one.width <= drawn.width and one.y + one.height <= drawn.height
        for other in boxes[index + 1 :]:
            assert one.x + one.width <= other.x or other.x + other.width <= one.x or one.y + one.height <= other.y or other.y + other.height <= one.y
    for edge in drawn.edges:
        for (x1, y1), (x2, y2) in zip(edge.points, edge.points[1:]):
            for box in boxes:
                for step in range(1, 20):
                    x, y = x1 + (x2 - x1) * step / 20, y1 + (y2 - y1) * step / 20
                    inside = box.x < x < box.x + box.width and box.y < y < box.y + box.height
                    assert not inside or box.vertex.id in (edge.above, edge.below)


def test_markup_in_a_name_is_text_in_the_picture() -> None:
    payload = "<img src=x onerror=alert(1)>"
    tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif(payload), address="10.0.0.2/24")
    job = static_website(devices.default_console, devices.crunch({payload: b""}), tcpip)
    assert "<img" not in unikernel_svg(job) and "&lt;img" in unikernel_svg(job)
    assert "<img" not in configure(job, "x")._repr_svg_()


def test_what_does_not_fit_is_told_with_what_would() -> None:
    with pytest.raises(DeviceTypeError, match=r"etif is built on NETWORK, and default_console is CONSOLE; what fits: devices.netif"):
        devices.etif(devices.default_console)
    with pytest.raises(DeviceTypeError, match="the hole stack wants STACKV4, and netif is NETWORK; what fits: devices.direct_stackv4"):
        web(stack=devices.netif("0"))
    with pytest.raises(DescriptionError, match="filled already"):
        web(devices.default_console)(console=devices.default_console)
    with pytest.raises(DescriptionError, match="fill the holes first"):
        configure(web)
    with pytest.raises(DescriptionError, match="no target"):
        configure(hello(devices.default_console), target="kvm")
    with pytest.raises(DescriptionError, match="no profile"):
        configure(hello(devices.default_console), profile="1999")
    with pytest.raises(DescriptionError, match="no name for a domain"):
        configure(hello(devices.default_console), "../etc")
    with pytest.raises(DescriptionError, match="netif is for target xen, not unix: use devices.socket_stackv4"):
        configure(web(devices.default_console, ready()), target="unix")
    with pytest.raises(DescriptionError, match="socket_stackv4 is for target unix, not xen"):
        configure(web(devices.default_console, devices.socket_stackv4()))
    with pytest.raises(DescriptionError, match="not a job|takes a job"):
        configure(5)  # type: ignore[arg-type]
    with pytest.raises(DescriptionError, match="a device already"):
        devices.default_console()
    assert not hasattr(ready(), "listen")


def test_keys_come_from_configure_the_call_or_the_default() -> None:
    job = static_website(devices.default_console, devices.crunch({"a": "b"}), ready())
    assert configure(job).keys == {"port": 80}
    assert configure(job(port=81)).keys == {"port": 81}
    assert configure(job(port=81), keys={"port": 82}).keys == {"port": 82}
    with pytest.raises(DescriptionError, match="no key 'colour'; it has port"):
        configure(job, keys={"colour": 1})
    with pytest.raises(DescriptionError, match="the key port is int"):
        configure(job, keys={"port": "eighty"})


def test_a_plan_tells_what_is_linked_why_and_what_is_left_out() -> None:
    plan = configure(web(devices.default_console, ready()), profile="2014")
    assert repr(plan).splitlines()[0] == "plan web for xen: 3 devices, profile 2014"
    assert "left out: TIME, CLOCK, RANDOM, KV_RO" in repr(plan)
    assert "mirage_lab.xen.guest.netfront  (netif 0: sends and receives Ethernet frames over two shared rings)" in plan.describe()
    image = plan.build()
    assert image.manifest["address"] == "10.0.0.2/24" and image.manifest["profile"] == "2014" and image.manifest["netifs"] == ["0"]


def test_sealing_copies_what_is_named_and_nothing_else() -> None:
    namespace: dict[str, Any] = {"greeting": "hello", "unused": 1}
    exec("def helper():\n    return greeting\ndef main():\n    return helper()\n", namespace)
    sealed = seal(namespace["main"])
    assert set(sealed.names) == {"helper", "greeting"}
    namespace["greeting"] = "changed"
    first, second = sealed.start(print), sealed.start(print)
    assert first() == second() == "hello" and first.__globals__ is not second.__globals__


def test_the_digest_is_of_the_code_and_not_of_its_place() -> None:
    def compiled(text: str) -> Any:
        namespace: dict[str, Any] = {}
        exec(text, namespace)
        return namespace["f"]

    one = compiled("def f():\n    return 1\n")
    assert digest(one) == digest(compiled("\n\n\ndef f():\n    return 1\n")) != digest(compiled("def f():\n    return 2\n"))
    helper = "def g():\n    return {}\ndef f():\n    return g()\n"
    assert digest(compiled(helper.format(1))) != digest(compiled(helper.format(2)))


def test_an_image_of_the_library_is_never_edited() -> None:
    assert edited(configure(hello(devices.default_console)).build()) == ""


async def check_kv_ro(store: KvRo) -> None:
    assert await store.read("a") == b"hello" and await store.read("a", 1, 3) == b"ell" and await store.read("a", 4, 10) == b"o"
    assert await store.size("a") == 5 and await store.read("b") == b"\xff"
    with pytest.raises(UnknownKey):
        await store.read("../a")


def test_crunch_is_a_kv_ro(tmp_path: Path) -> None:
    coro = check_kv_ro(Crunched({"a": b"hello", "b": b"\xff"}))
    with pytest.raises(StopIteration):
        coro.send(None)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.txt").write_text("x")
    assert dict(devices.crunch(tmp_path).keys["files"]) == {"sub/x.txt": b"x"}
    with pytest.raises(DescriptionError, match="not a directory"):
        devices.crunch(tmp_path / "nothing")


def test_chance_and_clock_keep_the_promises_of_v1() -> None:
    import random

    chance = SeededRandom(random.Random(1))
    assert all(0 <= chance.int(7) < 7 for _ in range(100))
    for bad in (0, -1, 1 << 30):
        with pytest.raises(ValueError, match="bound"):
            chance.int(bad)


def test_signatures_are_fulfilled_by_what_is_connected() -> None:
    from mirage_lab import Lab, seconds

    seen: dict[str, bool] = {}

    @unikernel
    async def checker(console: Console, time: Time, clock: Clock, random: Random, stack: StackV4) -> None:
        for name, device, signature in (("console", console, Console), ("time", time, Time), ("stack", stack, StackV4)):
            seen[name] = isinstance(device, signature)
        seen["year"] = clock.gmtime(clock.time()).tm_year == 114
        console.log(str(random.int(10)))

    job = checker(devices.default_console, devices.default_time, devices.default_clock, devices.default_random, by_hand())
    with Lab(seed=1, name="tool") as lab:
        lab.create(job, vif=[lab.lan("br0")]).unpause()
        lab.run(seconds(1))
        assert lab.vm("checker").state == "shutdown", lab.vm("checker").why()
    assert seen == {"console": True, "time": True, "stack": True, "year": True}


def test_examples_run_as_their_first_line_says() -> None:
    from mirage_lab import Lab, seconds

    with Lab(seed=1, name="tool") as lab:
        lan = lab.lan("br0")
        lab.create(heads_and_tails(devices.default_console, devices.default_time)).unpause()
        target = ping(devices.default_console, devices.default_time, devices.default_clock, ready(), count=2)
        lab.create(target, vif=[lan]).unpause()
        echo = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.3/24")
        lab.create(network(devices.default_console, echo), vif=[lan]).unpause()
        lab.run(seconds(4))
        assert lab.vm("heads_and_tails").console.lines == ["Heads", "Tails", "Finished"]
        assert [line.split(" time=")[0] for line in lab.vm("ping").console.lines] == [f"10.0.0.1 port 7: seq={n} refused" for n in (0, 1)]
        assert lab.vm("network").console.lines == ["echo on port 8080"]


def test_the_same_unikernel_answers_on_unix() -> None:
    plan = configure(web(devices.default_console, devices.socket_stackv4()), target="unix")
    with plan.start() as running:
        assert urllib.request.urlopen(running.url(80), timeout=10).read() == b"hello\n"
        assert "listening on port 80" in running.console
    assert configure(hello(devices.default_console), target="unix").run().splitlines()[:2] == ["hello", "world"]
    with pytest.raises(DescriptionError, match="has no image"):
        plan.build()
    with pytest.raises(DescriptionError, match="configured for xen"):
        configure(hello(devices.default_console)).run()


def test_a_crash_on_unix_names_the_line() -> None:
    @unikernel
    async def broken(console: Console) -> None:
        raise KeyError("lost")

    with pytest.raises(MirageError, match=r"broken crashed: KeyError: 'lost' \(test_tool.py, line"):
        configure(broken(devices.default_console), target="unix").run()


CONFIG = """\
from mirage_lab import devices
from mirage_lab.tool import register
from unikernel import main

register("greeter", [main(devices.default_console)])
"""
UNIKERNEL = """\
from mirage_lab import unikernel
from mirage_lab.signatures import Console

@unikernel
async def main(console: Console) -> None:
    console.log("hello from make run")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "config.py").write_text(CONFIG)
    (tmp_path / "unikernel.py").write_text(UNIKERNEL)
    return tmp_path


@pytest.mark.parametrize("target", ["--xen", "--unix"])
def test_the_command_line_configures_builds_runs_and_cleans(project: Path, target: str, capfd: pytest.CaptureFixture[str]) -> None:
    config = str(project / "config.py")
    before = sorted(path.name for path in project.iterdir())
    assert main(["configure", "-f", config, target]) == 0
    assert {"Makefile", "main.py", "greeter.xl"} <= {path.name for path in project.iterdir()}
    makefile = (project / "Makefile").read_text()
    assert all(f"{name}:" in makefile for name in ("all", "depend", "build", "run", "clean"))
    assert main(["build", "-f", config, target]) == 123
    assert capfd.readouterr().out.splitlines()[-1] == "the dependencies were not looked at yet; next: make depend"
    assert main(["depend", "-f", config, target]) == 0
    assert main(["build", "-f", config, target]) == 0
    assert main(["run", "-f", config, target]) == 0
    out = capfd.readouterr().out
    assert "hello from make run" in out and "\x1b[" not in out
    assert main(["describe", "-f", config]) == 0 and "Name       greeter" in capfd.readouterr().out
    assert main(["clean", "-f", config]) == 0
    assert sorted(path.name for path in project.iterdir() if path.name != "__pycache__") == before


def test_a_mistake_in_a_config_is_told_with_its_own_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "config.py").write_text(CONFIG.replace("main(devices.default_console)", "main(devices.netif('0'))"))
    assert main(["configure", "-f", str(project / "config.py")]) == 123
    said = capsys.readouterr().err
    assert "config.py, line 5: register(" in said and "wants CONSOLE, and netif is NETWORK" in said and "Traceback" not in said
    assert main(["configure", "-f", str(project / "nothing.py")]) == 123
    assert "is not here" in capsys.readouterr().err


def test_configure_can_only_say_what_it_would_do(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configure", "-f", str(project / "config.py"), "--dry-run"]) == 0
    assert "write Makefile" in capsys.readouterr().out and not (project / "Makefile").exists()


def test_make_depend_make_and_make_run(project: Path) -> None:
    assert main(["configure", "-f", str(project / "config.py")]) == 0
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for words in (["depend"], [], ["run"]):
        done = subprocess.run(["make", "-s", f"PYTHON={sys.executable}", *words], cwd=project, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr + done.stdout
    assert b"hello from make run" in done.stdout

"""A lab as people use it: again and again, with mistakes, forward and back in time."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mirage_lab import Lab, configure, devices, ms, seconds, unikernel
from mirage_lab.lab import LabError, Vm
from mirage_lab.signatures import Console, StackV4, Time
from mirage_lab.signatures.errors import DescriptionError, DeviceTypeError, MirageError
from mirage_lab.signatures.units import Ns
from mirage_lab.skeleton import hello, web
from mirage_lab.tracing.savefile import load

ADDRESS = "10.0.0.2/24"


def stack(address: str = ADDRESS) -> Any:
    return devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address=address, gateway="10.0.0.1")


@contextlib.contextmanager
def lab_of(seed: int = 1, name: str = "test") -> Iterator[Lab]:
    with Lab(seed=seed, name=name) as lab:
        yield lab


def web_in(lab: Lab, **how: Any) -> Vm:
    lan = lab.lan("br0", latency=ms(1))
    lab.capture(lan)
    vm = lab.create(web(devices.default_console, stack()), vif=[lan], **how)
    vm.unpause()
    return vm


@unikernel
async def spinner(console: Console) -> None:
    console.log("spinning")
    while True:
        pass


@unikernel
async def yielder(console: Console) -> None:
    from mirage_lab.runtime.tasks import checkpoint

    while True:
        await checkpoint()


@unikernel
async def ticker(console: Console, time: Time) -> None:
    while True:
        await time.sleep(ms(100))
        console.log("tick")


# running a cell again ------------------------------------------------------------------------------------------------


def test_again_a_new_lab_closes_the_older_one_of_its_name_when_it_is_used() -> None:
    first = Lab(seed=1, name="again")
    first.lan("br0")
    second = Lab(seed=1, name="again")
    assert not first.closed
    second.lan("br0")
    assert first.closed
    assert any("older lab 'again' (seed 1) was closed" in str(report) for report in second.machine.world.take_reports())
    with pytest.raises(LabError, match="closed"):
        first.run(seconds(1))
    second.close()


def test_again_a_lan_and_a_capture_are_the_same_and_changes_are_applied() -> None:
    with lab_of() as lab:
        lan = lab.lan("br0", latency=ms(1))
        trace = lab.capture(lan)
        assert lab.lan("br0", latency=ms(5)).segment is lan.segment
        assert lan.segment.latency == ms(5)
        assert lab.capture(lan).capture is trace.capture
        assert lan.set(loss=0.25) == "br0 at t = 0: loss 0.0 -> 0.25"
        assert lan.set(loss=0.25) == "br0 at t = 0: nothing changed"


def test_again_create_replaces_the_domain_and_says_so_and_xl_does_not() -> None:
    with lab_of() as lab:
        vm = web_in(lab)
        lab.run(seconds(1))
        again = lab.create(web(devices.default_console, stack()))
        assert [str(report) for report in lab.machine.world.take_reports()] == ["web: domid 1 destroyed, now domid 2"] or again.domid == 2
        assert vm.domid == 2 and [domain.name for domain in lab.domains] == ["web"]
        with pytest.raises(LabError, match="exists"):
            lab.create(web(devices.default_console, stack()), strict=True)


def test_again_a_forward_is_the_same_and_follows_a_replaced_domain() -> None:
    with lab_of() as lab:
        vm = web_in(lab)
        lab.run(seconds(1))
        site = lab.forward(vm, 80)
        port = site.host_port
        assert lab.forward(vm, 80).host_port == port
        lab.create(web(devices.default_console, stack())).unpause()
        lab.run(seconds(1))
        with lab.playing_meanwhile():
            assert urllib.request.urlopen(site.url, timeout=10).read() == b"hello\n"


def test_again_unpause_and_play_say_that_nothing_changed() -> None:
    with lab_of() as lab:
        vm = web_in(lab)
        assert "nothing changed" in vm.unpause()
        assert lab.play().startswith("playing from")
        assert lab.play().startswith("playing already")
        assert lab.pause().startswith("paused at")
        assert "nothing changed" in lab.pause()


def test_again_run_runs_one_more_second() -> None:
    with lab_of() as lab:
        web_in(lab)
        assert lab.run(seconds(1)) == "t = 0 -> 1.000 s · 2 frames · web: listening on port 80 · next: lab.forward(vm, 80)"
        assert lab.run(seconds(1)).startswith("t = 1.000 s -> 2.000 s · 0 frames")


# mistakes ------------------------------------------------------------------------------------------------------------


def crash_of(unikernel_: Any, lab: Lab, **kwargs: Any) -> str:
    vm = lab.create(unikernel_, **kwargs)
    vm.unpause()
    return str(lab.run(seconds(1)))


def test_mistake_an_uncaught_exception_crashes_the_domain_with_the_persons_line() -> None:
    @unikernel
    async def broken(console: Console) -> None:
        numbers = [1]
        numbers[3]  # noqa: B018

    with lab_of() as lab:
        said = crash_of(broken(devices.default_console), lab)
        assert "IndexError: list index out of range (test_lab.py, line" in said and "numbers[3]" in said
        assert lab.vm("broken").state == "crashed"
        assert "crashed: IndexError" in lab.vm("broken").why()


def test_mistake_an_exception_in_serve_ends_that_connection_only() -> None:
    @unikernel
    async def fragile(console: Console, stack: StackV4) -> None:
        async def serve(flow: Any) -> None:
            request = await flow.read()
            if b"bad" in request:
                raise KeyError("bad")
            await flow.write(b"HTTP/1.0 200 OK\r\n\r\nfine")
            await flow.close()

        stack.listen_tcpv4(80, serve)
        await stack.listen()

    with lab_of() as lab:
        lan = lab.lan("br0")
        vm = lab.create(fragile(devices.default_console, stack()), vif=[lan])
        vm.unpause()
        lab.run(seconds(1))
        with pytest.raises(LabError, match="not HTTP"):
            lab.fetch("http://10.0.0.2/bad")
        assert vm.state == "blocked"
        assert lab.fetch("http://10.0.0.2/good").body == b"fine"


def test_mistake_a_missing_await_is_named() -> None:
    @unikernel
    async def forgetful(console: Console, stack: StackV4) -> None:
        async def serve(flow: Any) -> None:
            await flow.read()
            flow.write(b"lost")
            await flow.close()

        stack.listen_tcpv4(80, serve)
        await stack.listen()

    with lab_of() as lab:
        lan = lab.lan("br0")
        lab.create(forgetful(devices.default_console, stack()), vif=[lan]).unpause()
        lab.run(seconds(1))
        lab.command("fetch", lan="br0", address="10.0.0.2", port=80, request=b"x")
        said = lab.run(seconds(1))
        assert "flow.write(...) was never awaited (test_lab.py, line" in said and "nothing was sent" in said


def test_mistake_print_goes_to_the_domains_console() -> None:
    @unikernel
    async def printer(console: Console) -> None:
        print("to", "the", "console", sep="-")

    with lab_of() as lab:
        crash_of(printer(devices.default_console), lab)
        assert lab.vm("printer").console.text == "to-the-console\n"


import asyncio  # noqa: E402 - what a person's notebook has at this point
import time  # noqa: E402


def test_mistake_sleeping_by_the_host_is_told_what_to_use() -> None:
    @unikernel
    async def sleeper(console: Console) -> None:
        time.sleep(1)

    @unikernel
    async def aio(console: Console) -> None:
        await asyncio.sleep(1)

    @unikernel
    async def local(console: Console) -> None:
        from time import sleep

        sleep(1)

    with lab_of() as lab:
        for mistake in (sleeper, aio, local):
            said = crash_of(mistake(devices.default_console), lab)
            assert "take a Time device: await time.sleep(seconds(1))" in said


def test_mistake_a_description_is_not_a_program() -> None:
    with pytest.raises(DescriptionError, match="a description, not a running program"):
        web()

    async def awaiting() -> None:
        await web(devices.default_console, stack())

    coro = awaiting()
    with pytest.raises(DescriptionError, match="a description, not a running program"):
        coro.send(None)
    with pytest.raises(DescriptionError, match="a description of a STACKV4; only the running unikernel has ports"):
        stack().listen_tcpv4(80, None)


def test_mistake_a_vif_that_is_not_plugged_in_is_named_with_the_lans() -> None:
    with lab_of() as lab:
        lab.lan("br0")
        with pytest.raises(LabError, match=r"netif\('0'\) that is plugged into no lan.*vif=\[br0\].*lans: br0"):
            lab.create(web(devices.default_console, stack()))


def test_mistake_a_wrong_type_is_an_error_at_the_call() -> None:
    with pytest.raises(DeviceTypeError, match="the hole console wants CONSOLE, and netif is NETWORK; what fits: devices.default_console"):
        web(devices.netif("0"))


def test_an_image_older_than_the_function_says_so() -> None:
    namespace: dict[str, Any] = {"unikernel": unikernel, "Console": Console}
    text = "@unikernel\nasync def notebook(console: Console) -> None:\n    console.log({!r})\n"
    exec(compile(text.format("one"), "cell", "exec"), namespace)
    image = configure(namespace["notebook"](devices.default_console)).build()
    exec(compile("\n\n" + text.format("one"), "cell", "exec"), namespace)
    with lab_of() as lab:
        lab.create(image)
        assert not any("edited" in str(report) for report in lab.machine.world.take_reports())
        exec(compile(text.format("two"), "cell", "exec"), namespace)
        lab.create(image).unpause()
        said = lab.run(seconds(1))
        assert lab.vm("notebook").console.text == "one\n"
        assert "notebook was edited after this image was built; re-run job, plan and image, or lab.create(job)" in said


def test_a_mutable_global_is_a_warning() -> None:
    namespace: dict[str, Any] = {"unikernel": unikernel, "Console": Console, "seen": []}
    exec("@unikernel\nasync def keeper(console: Console) -> None:\n    seen.append(1)\n", namespace)
    plan = configure(namespace["keeper"](devices.default_console))
    assert "keeper uses the list seen of the notebook" in repr(plan)


# guests that do not wait ---------------------------------------------------------------------------------------------


def test_a_domain_that_only_yields_lets_run_end_and_others_be_on_time() -> None:
    with lab_of() as lab:
        lab.create(yielder(devices.default_console)).unpause()
        lab.create(ticker(devices.default_console, devices.default_time)).unpause()
        lab.run(ms(950))
        ticks = [event.t for event in lab.events("console.line", "ticker")]
        assert [t // ms(100) for t in ticks] == list(range(1, 10)) and all(t % ms(100) < 100_000 for t in ticks)


@pytest.mark.parametrize("how", ["run", "play"])
def test_a_guest_that_spins_is_stopped_and_named_and_the_others_go_on(how: str) -> None:
    with lab_of() as lab:
        lab.create(spinner(devices.default_console)).unpause()
        lab.create(ticker(devices.default_console, devices.default_time)).unpause()
        if how == "run":
            said = str(lab.run(seconds(1)))
        else:
            lab.play(speed=20)
            done = threading.Event()
            for _ in range(400):
                if lab.vm("spinner").state == "crashed" and lab.events("console.line", "ticker"):
                    break
                done.wait(0.02)
            said = "\n".join(map(str, lab.machine.world.take_reports()))
            lab.pause()
        assert "did not yield for 1 s (test_lab.py, line" in said and "while True" in said
        assert "Await something" in said
        assert lab.vm("spinner").state == "crashed" and lab.events("console.line", "ticker")
        assert lab.badge.startswith("not reproducible")


# forward and back ----------------------------------------------------------------------------------------------------


def pcap(lab: Lab, path: Path) -> bytes:
    lab.traces[0].save(path)
    return path.read_bytes()


def test_the_same_seed_gives_the_same_pcap_and_another_seed_another(tmp_path: Path) -> None:
    def story(seed: int) -> bytes:
        with lab_of(seed) as lab:
            web_in(lab)
            lab.lan("br0", loss=0.2)
            lab.run(seconds(1))
            lab.fetch("10.0.0.2")
            return pcap(lab, tmp_path / "a.pcapng")

    assert story(1) == story(1) != story(2)


def test_rewind_reset_and_undo_build_the_same_world_again(tmp_path: Path) -> None:
    with lab_of() as lab:
        vm = web_in(lab)
        lab.run(seconds(1))
        lab.fetch("10.0.0.2")
        lab.run(seconds(1))
        before, t = pcap(lab, tmp_path / "a.pcapng"), lab.now
        lab.rewind(lab.now)
        assert lab.now == t and pcap(lab, tmp_path / "b.pcapng") == before
        lab.rewind(ms(500))
        assert lab.now == ms(500) and len(lab.traces[0]) == 2 and vm.state == "blocked"
        lab.lan("br0", loss=0.5)
        assert lab.undo().startswith("undone: br0.set(loss=0.5)")
        assert lab.lan("br0").segment.loss == 0
        assert lab.reset() == "reset: t = 0, 1 domain as assembled"
        assert lab.now == 0
        with pytest.raises(LabError, match="has not come yet"):
            lab.rewind(seconds(100))


def test_a_forward_lives_through_a_rewind_and_answers_again(tmp_path: Path) -> None:
    with lab_of() as lab:
        vm = web_in(lab)
        lab.run(seconds(1))
        site = lab.forward(vm, 80)
        with lab.playing_meanwhile():
            assert urllib.request.urlopen(site.url, timeout=10).read() == b"hello\n"
        before = [(frame.t, frame.data) for frame in lab.traces[0]]
        assert lab.badge.startswith("replayable:")
        lab.rewind(lab.now)
        assert [(frame.t, frame.data) for frame in lab.traces[0]] == before
        with lab.playing_meanwhile():
            assert urllib.request.urlopen(site.url, timeout=10).read() == b"hello\n"


def test_closing_gives_the_port_back() -> None:
    with lab_of() as lab:
        vm = web_in(lab)
        lab.run(seconds(1))
        port = lab.forward(vm, 80).host_port
    with lab_of() as lab:
        vm = web_in(lab)
        assert lab.forward(vm, 80, host_port=port).host_port == port


def test_urllib_in_a_blocking_cell_is_answered_while_playing() -> None:
    with lab_of() as lab:
        vm = web_in(lab)
        lab.run(seconds(1))
        site = lab.forward(vm, 80)
        lab.play()
        for _ in range(3):
            assert urllib.request.urlopen(site.url, timeout=10).read() == b"hello\n"
        lab.pause()
        assert site.statistics().connections == 3


def test_step_run_until_and_fetch() -> None:
    with lab_of() as lab:
        web_in(lab)
        assert lab.run_until("tcp.listen", within=seconds(1)).startswith("t = 0 -> ")
        with pytest.raises(LabError, match="no tcp.established within 1.000 s"):
            lab.run_until("tcp.established", within=seconds(1))
        assert len(lab.step(3)) >= 0
        reply = lab.fetch("10.0.0.2:80")
        assert (reply.status, reply.body) == (200, b"hello\n")
        with pytest.raises(LabError, match="on no lan"):
            lab.fetch("192.168.9.9")


def test_the_script_of_a_lab_makes_the_same_packets(tmp_path: Path) -> None:
    with lab_of() as lab:
        web_in(lab)
        lab.run(seconds(1))
        lab.lan("br0", loss=0.1)
        lab.run(seconds(1))
        before, text = pcap(lab, tmp_path / "a.pcapng"), lab.script()
        notebook = json.loads(lab.script("ipynb"))
        assert "\n".join(cell["source"] for cell in notebook["cells"]) + "\n" == text
        with pytest.raises(LabError, match="py or ipynb"):
            lab.script("txt")
    namespace: dict[str, Any] = {}
    exec(compile(text, "script", "exec"), namespace)
    again = namespace["lab"]
    assert pcap(again, tmp_path / "b.pcapng") == before
    again.close()


def test_traces_are_saved_tabulated_and_lead_to_their_causes(tmp_path: Path) -> None:
    with lab_of() as lab:
        web_in(lab)
        lab.run(seconds(1))
        lab.fetch("10.0.0.2")
        trace = lab.traces[0]
        trace.save(tmp_path / "x.pcap")
        assert len(load(tmp_path / "x.pcap")) == len(trace)
        frame = trace.to_dataframe()
        assert list(frame.columns) == ["n", "time", "source", "destination", "protocol", "length", "info", "fate"] and len(frame) == len(trace)
        for n in range(1, len(trace) + 1):
            kinds = [(event.kind, event.source) for event in trace.causes(n)]
            if trace[n].port == "web":
                assert ("xen.hypercall", "web") in kinds
        with pytest.raises(LabError, match="has no frame 999"):
            trace[999]


def test_what_cannot_be_created_is_told() -> None:
    with lab_of() as lab:
        with pytest.raises(LabError, match="takes an image, a plan or a job, not int"):
            lab.create(5)
        with pytest.raises(LabError, match="still needs"):
            lab.create(web)
        with pytest.raises(LabError, match="plugged into nowhere: there is no such lan"):
            lab.create(web(devices.default_console, stack()), vif=["nowhere"])  # type: ignore[list-item]
        with pytest.raises(LabError, match="there is no domain web"):
            lab.vm("web")
        lab.create(hello(devices.default_console))
        with pytest.raises(MirageError, match="on no lan"):
            lab.forward("hello", 80)
        with pytest.raises(LabError, match="only goes forward"):
            lab.run(Ns(-1))


def test_a_demo_is_a_running_world_in_one_line() -> None:
    with Lab.demo("web", seed=1) as lab:
        assert lab.now == seconds(1) and lab.vm("web").state == "blocked"
        assert repr(lab).splitlines()[0] == "lab: seed 1, t = 1.000 s (2014-07-22 00:00:01 UTC), paused"
    with pytest.raises(LabError, match="there is no demo"):
        Lab.demo("nothing")


def test_a_domain_is_a_place_to_capture_too() -> None:
    with lab_of() as lab:
        vm = web_in(lab)
        other = lab.create(web(devices.default_console, stack("10.0.0.3/24")), vif=["br0"], name="other")  # type: ignore[list-item]
        other.unpause()
        at_web = lab.capture(vm)
        lab.run(seconds(1))
        lab.fetch("10.0.0.2")
        everything, mine = lab.traces
        assert mine.name == at_web.name == "web" and 0 < len(mine) < len(everything) + 2
        assert {frame.port for frame in mine} == {"web", "lan"}
        lab.fetch("10.0.0.3")
        assert len(lab.traces[1]) < len(lab.traces[0]) - 8
        alone = lab.create(hello(devices.default_console))
        with pytest.raises(LabError, match="nothing to capture"):
            lab.capture(alone)


def test_a_long_run_shows_where_it_is_and_wipes_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from mirage_lab.lab import running

    lines: list[str] = []
    monkeypatch.setattr(running, "PATIENCE", 0)
    monkeypatch.setattr(Lab, "progress", staticmethod(lines.append))
    with lab_of() as lab:
        lab.create(yielder(devices.default_console)).unpause()
        lab.run(ms(200))
    assert lines[-1] == "" and "t = " in lines[0] and "the world stays whole" in lines[0]


def test_an_interrupt_leaves_the_world_whole() -> None:
    with lab_of() as lab:
        lab.create(ticker(devices.default_console, devices.default_time)).unpause()
        lab.machine.world.call_at(ms(350), signal.raise_signal, signal.SIGINT)
        lab.create(yielder(devices.default_console)).unpause()
        said = str(lab.run(seconds(1)))
        assert said.startswith("stopped at t = 3") and "the world is whole; lab.run(...) continues" in said
        lab.run(seconds(1))
        assert len(lab.events("console.line", "ticker")) >= 12


def test_the_congestion_window_is_told_when_asked_for() -> None:
    with lab_of() as lab:
        web_in(lab)
        lab.machine.world.recorder.enable("tcp.cwnd")
        lab.run(seconds(1))
        lab.fetch("10.0.0.2")
        phases = {event.fields["phase"] for event in lab.events("tcp.cwnd")}
        assert phases == {"slow start"}


def test_an_error_that_cannot_be_told_is_told_as_that() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    @unikernel
    async def mute(console: Console) -> None:
        raise Mute

    with lab_of() as lab:
        assert "Mute: its message cannot be shown (RuntimeError)" in crash_of(mute(devices.default_console), lab)


def test_odd_addresses_and_plugs_are_warned_of() -> None:
    with lab_of() as lab:
        lan = lab.lan("br0", subnet="192.168.1.0/24")
        with pytest.raises(LabError, match=r"vif is a list.*vif=\[br0\]"):
            lab.create(web(devices.default_console, stack()), vif=lan)  # type: ignore[arg-type]
        with pytest.raises(LabError, match=r"not 0.5: lab.run\(seconds\(0.5\)\)"):
            lab.run(0.5)  # type: ignore[arg-type]

        def warned(address: str, name: str) -> str:
            lab.create(web(devices.default_console, stack(address)), vif=[lan], name=name)
            return "\n".join(map(str, lab.machine.world.take_reports()))

        assert "not in 192.168.1.0/24 of br0" in warned("10.0.0.2/24", "far")
        assert warned("192.168.1.2/24", "near") == ""
        assert "and near has it already" in warned("192.168.1.2/24", "twin")
        assert "which is the lab's own" in warned("192.168.1.1/24", "thief")


def test_a_domain_with_two_interfaces_is_on_two_lans() -> None:
    @unikernel
    async def router(console: Console, left: StackV4, right: StackV4) -> None:
        console.log(f"{left.ipv4.get_ip()} {right.ipv4.get_ip()}")
        await left.listen()

    with lab_of() as lab:
        lans = [lab.lan("left"), lab.lan("right", subnet="10.0.1.0/24")]
        left = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24")
        right = devices.direct_stackv4_with_static_ipv4(devices.netif("1"), address="10.0.1.2/24")
        vm = lab.create(router(devices.default_console, left, right), vif=lans)
        vm.unpause()
        lab.run(seconds(1))
        assert vm.console.text == "10.0.0.2 10.0.1.2\n"
        assert [lan.statistics().ports for lan in lans] == [("gateway", "router"), ("gateway", "router.1")]


def test_ping_takes_the_round_trip_of_the_lan_and_counts_what_is_lost() -> None:
    with lab_of() as lab:
        web_in(lab)
        lab.run(seconds(1))
        assert lab.ping("10.0.0.2").startswith("10.0.0.2: 3 of 3 answered · 4.00")
        assert lab.ping("10.0.0.2", 1).startswith("10.0.0.2: 1 of 1 answered · 2.00")
        assert lab.ping("10.0.0.77", 2) == "10.0.0.77: 0 of 2 answered · no answer, no answer"
        lab.lan("br0", loss=1.0)
        assert "0 of 2 answered" in lab.ping("10.0.0.2", 2)
        with pytest.raises(LabError, match="1 to 1,000"):
            lab.ping("10.0.0.2", 0)


def test_a_fetch_that_fails_says_why_and_when() -> None:
    with lab_of() as lab:
        web_in(lab)
        lab.run(seconds(1))
        with pytest.raises(LabError, match=r"10.0.0.2:81 refused the connection.*after [0-9.]+ ms"):
            lab.fetch("10.0.0.2:81")
        lab.lan("br0", loss=1.0)
        with pytest.raises(LabError, match=r"did not answer \(connecting\) \(after 123"):
            lab.fetch("10.0.0.2", within=seconds(200))


def test_more_mistakes_are_met_by_name() -> None:
    @unikernel
    async def asks(console: Console) -> None:
        input("name? ")

    @unikernel
    async def two_calls(console: Console, stack: StackV4) -> None:
        stack.listen_tcpv4(80, print); stack.listen()  # noqa: E702

    @unikernel
    async def no_service(stack: StackV4) -> None:
        stack.listen_tcpv4(80, None)

    @unikernel
    async def plain(stack: StackV4) -> None:
        stack.listen_tcpv4(80, lambda flow: None)
        await stack.listen()

    with lab_of() as lab:
        lan = lab.lan("br0")
        assert "a unikernel has its console, await console.read()" in crash_of(asks(devices.default_console), lab)
        assert "stack.listen(...) was never awaited" in crash_of(two_calls(devices.default_console, stack()), lab, vif=[lan])
        assert "None is no service: write async def serve(flow)" in crash_of(no_service(stack()), lab, vif=[lan])
        vm = lab.create(plain(stack("10.0.0.9/24")), vif=[lan])
        vm.unpause()
        lab.run(seconds(1))
        with pytest.raises(LabError):
            lab.fetch("10.0.0.9", within=seconds(1))
        assert "the service of port 80 is not async" in str(lab.events("task.crashed", "plain")[0].fields["text"])


def test_units_and_texts_that_were_meant_otherwise_are_told() -> None:
    @unikernel
    async def short(console: Console, time: Time) -> None:
        await time.sleep(1)
        console.log("up")

    @unikernel
    async def fraction(console: Console, time: Time) -> None:
        await time.sleep(0.25)  # type: ignore[arg-type]

    @unikernel
    async def number(console: Console) -> None:
        console.log(3)  # type: ignore[arg-type]

    with lab_of() as lab:
        assert str(lab.run(1)).endswith("that was 1 ns: lab.run(seconds(1)) runs a second each")  # type: ignore[arg-type]
        lab.create(short(devices.default_console, devices.default_time)).unpause()
        assert "sleep(1) waits 1 ns: seconds(1) is a second each" in lab.run(seconds(1))
        assert "await time.sleep(seconds(0.25))" in crash_of(fraction(devices.default_console, devices.default_time), lab)
        assert "a console prints text, not 3" in crash_of(number(devices.default_console), lab)

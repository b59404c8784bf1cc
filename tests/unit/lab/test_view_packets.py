"""The Packets tab: the index of a filter grows a bounded step at a time, rows and frames are bounded and plain text, and
a frame leads back to what woke its sender."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mirage_lab import Lab, devices, seconds, unikernel
from mirage_lab.lab.said import LabError
from mirage_lab.lab.views import packets, packets_frame, packets_index
from mirage_lab.lab.views.packets_index import Index
from mirage_lab.runtime import tasks
from mirage_lab.signatures import Console, StackV4
from mirage_lab.skeleton import web
from mirage_lab.tracing.capture import Capture

PAYLOAD = b"<img src=x onerror=alert(1)>\x00\xe2\x80\xae"
ARP = bytes.fromhex("ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002")


def udp(number: int, data: bytes = b"") -> bytes:
    """A frame with a UDP datagram from port `number`; its checksum is 0, which is none."""
    size = 8 + len(data)
    head = bytes.fromhex("4500") + (20 + size).to_bytes(2, "big") + bytes.fromhex("0000 0000 40 11 0000 0a000001 0a000002")
    total = sum(int.from_bytes(head[at : at + 2], "big") for at in range(0, 20, 2))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + (0xFFFF - total & 0xFFFF).to_bytes(2, "big") + head[12:]
    return bytes.fromhex("020000000002 020000000001 0800") + head + number.to_bytes(2, "big") + b"\x00\x07" + size.to_bytes(2, "big") + b"\x00\x00" + data


def lab_with(frames: list[bytes], limit: int = 1 << 30) -> tuple[Lab, Capture]:
    """A lab whose only capture holds `frames`, a millisecond apart."""
    lab = Lab(seed=1, name="packets")
    lab.lan("br0")
    trace = lab.capture("br0", name="made", limit_bytes=limit)
    for number, data in enumerate(frames):
        trace.capture.frame(number * 1_000_000, data, 0, "somebody")
    return lab, trace.capture


def ask(lab: Lab, name: str, **args: Any) -> Any:
    answer = packets.VIEW.asks[f"packets.{name}"](lab, {"capture": "made", "filter": "", **args})
    json.dumps(answer, allow_nan=False)
    return answer


def scanned(lab: Lab, text: str) -> list[dict[str, Any]]:
    """Every answer until the filter has looked at all."""
    told = [ask(lab, "scan", filter=text)]
    while not told[-1]["done"]:
        told.append(ask(lab, "scan", filter=text))
    return told


def test_rows_come_by_page_and_a_frame_is_found_by_its_number() -> None:
    lab, _ = lab_with([udp(1_000 + number) for number in range(950)])
    with lab:
        told = ask(lab, "rows", start=300, count=100)
        assert [row[0] for row in told["rows"]] == list(range(301, 401)) and told["matching"] == 950
        assert told["rows"][0][1:] == [300_000_000, "10.0.0.1", "gateway", "10.0.0.2", "", "UDP", 42, "1300 -> 7 Len=0", "delivered"]
        found = ask(lab, "rows", n=777, count=100)
        assert found["at"] == 776 and found["start"] == 700 and found["rows"][76][0] == 777
        assert ask(lab, "rows", n=5_000, count=100)["at"] == 949
        assert ask(lab, "rows", start=10_000, count=10)["rows"] == []


def test_a_filter_looks_a_bounded_number_of_frames_further_at_each_look() -> None:
    lab, capture = lab_with([udp(7) if number % 10 else ARP for number in range(20_000)])
    with lab:
        look = {"packets.capture": "made", "packets.filter": "arp"}
        first, second = packets.snapshot(lab, look), packets.snapshot(lab, look)
        assert (first["scanned"], second["scanned"]) == (packets.STEP_FRAMES, 2 * packets.STEP_FRAMES)
        assert first["matching"] == packets.STEP_FRAMES // 10 and not first["done"]
        steps = [told["scanned"] for told in scanned(lab, "arp")]
        assert all(after - before <= packets.ASK_FRAMES for before, after in pairwise(steps))
        assert steps[-1] == 20_000 and len(steps) == -(-(20_000 - 2 * packets.STEP_FRAMES) // packets.ASK_FRAMES)
        told = ask(lab, "rows", filter="arp", n=9_999, count=100)
        assert told["matching"] == 2_000 and told["rows"][told["at"] - told["start"]][0] == 10_001
        capture.frame(30_000_000_000, ARP, 0, "somebody")
        assert packets.snapshot(lab, look)["matching"] == 2_001


def test_nothing_is_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    class Counting:
        def matches(self, n: int, t_ns: int, frame: bytes) -> bool:
            looked.append(n)
            return True

    monkeypatch.setattr(packets_index, "compile_filter", lambda text: Counting())
    lab, _ = lab_with([ARP] * 12_000)
    with lab:
        scanned(lab, "arp")
        for start in (0, 5_000, 11_900):
            ask(lab, "rows", filter=" arp ", start=start, count=200)
        assert looked == list(range(1, 12_001))


def test_only_the_last_few_filters_are_remembered() -> None:
    lab, capture = lab_with([ARP])
    with lab:
        for number in range(50):
            ask(lab, "scan", filter=f"frame.number == {number}")
        assert len(Index.of(capture).matches) == packets_index.FILTERS


def test_frames_that_the_capture_dropped_leave_the_index() -> None:
    frames = [udp(7) if number % 2 else ARP for number in range(1_000)]
    lab, capture = lab_with(frames, limit=100_000)
    with lab:
        assert capture.dropped
        scanned(lab, "arp")
        for number in range(600):
            capture.frame(number, frames[number], 0, "somebody")
        told = scanned(lab, "arp")[-1]
        kept = [frame.n for frame in capture.frames if frame.data == ARP]
        assert told["matching"] == len(kept) and told["first"] == capture.dropped + 1
        assert [row[0] for row in ask(lab, "rows", filter="arp", start=0, count=200)["rows"]] == kept[:200]
        with pytest.raises(LabError, match=f"no frame 1: it holds {capture.dropped + 1:,} to {capture.last:,}"):
            ask(lab, "packet", n=1)


def test_a_lab_that_went_back_has_another_index() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.fetch("10.0.0.2")
        before = packets.snapshot(lab, {"packets.filter": "tcp"})
        assert before["frames"] == 14 and before["matching"] == 10
        lab.rewind(seconds(1))
        after = packets.snapshot(lab, {"packets.filter": "tcp"})
        assert after["serial"] != before["serial"] and after["matching"] == 0 and after["frames"] < 14
        lab.rewind(0)
        lab.undo()
        lab.undo()
        json.dumps(packets.snapshot(lab, {}))


def test_sequence_numbers_count_from_the_first_of_their_direction_wherever_one_looks() -> None:
    from mirage_lab.plot.frames import read

    with Lab.demo("web", seed=1) as lab:
        for _ in range(3):
            lab.fetch("10.0.0.2")
        capture = lab.traces[0].capture
        packets.snapshot(lab, {})
        rows = packets.VIEW.asks["packets.rows"](lab, {"capture": "br0", "filter": "", "start": 0, "count": 200})["rows"]
        assert [row[8] for row in rows] == [seen.info for seen in read(capture)] and len(rows) > 30


def test_streams_are_remembered_up_to_a_bound_and_numbers_beyond_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.fetch("10.0.0.2")
        syn = lab.traces[0][5].data
        monkeypatch.setattr(packets_index, "STREAMS", 10)
        capture = Capture("many")
        for port in range(20):
            capture.frame(port, syn[:34] + port.to_bytes(2, "big") + syn[36:])
        streams = packets_index.Streams()
        streams.advance(capture, 100)
        first = int.from_bytes(syn[38:42], "big")
        assert [streams.bases(n, capture.frames[n - 1].data)[0] for n in (1, 10, 11, 20)] == [first, first, 0, 0]


def test_a_wrong_filter_is_told_in_words_and_every_frame_is_shown() -> None:
    lab, _ = lab_with([ARP, udp(7)])
    with lab:
        told = packets.snapshot(lab, {"packets.capture": "made", "packets.filter": "tcp.prot == 80"})
        assert told["wrong"].splitlines() == ["no field tcp.prot; near it: tcp.port, ip.proto, tcp.srcport", "  tcp.prot == 80", "  ^~~~~~~~"]
        assert told["matching"] == 2
        for odd in ("\x00", "\u202e", "<img>"):
            error = packets.snapshot(lab, {"packets.capture": "made", "packets.filter": f"tcp {odd}"})["wrong"]
            assert error and "\u202e" not in error and "\x00" not in error
        assert "cannot be read" in packets.words(lab, {"packets.capture": "made", "packets.filter": "(("})
        with pytest.raises(LabError, match="no field tcp.prot"):
            ask(lab, "scan", filter="tcp.prot")


def test_the_examples_are_filters_and_most_of_them_find_something_in_the_demo() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.fetch("10.0.0.2")
        found = [packets.snapshot(lab, {"packets.filter": text}) for text in packets.EXAMPLES]
        assert not any(told["wrong"] for told in found)
        assert [told["matching"] for told in found] == [10, 4, 2, 2, 10, 1, 0]


@pytest.mark.parametrize(
    ("name", "args", "told"),
    [
        ("rows", {"start": 0, "count": 201}, "count is a whole number from 1 to 200"),
        ("rows", {"start": 0, "count": 0}, "count is a whole number"),
        ("rows", {"start": -1, "count": 10}, "start is a whole number"),
        ("rows", {"start": 0.5, "count": 10}, "start is a whole number"),
        ("rows", {"start": True, "count": 10}, "start is a whole number"),
        ("rows", {"n": "1", "count": 10}, "n is a whole number"),
        ("rows", {"start": 0, "count": 10, "filter": 7}, "filter is a text"),
        ("rows", {"start": 0, "count": 10, "filter": "a" * 5_000}, "filter is a text of at most"),
        ("rows", {"start": 0, "count": 10, "capture": "nowhere"}, "has not begun"),
        ("rows", {"start": 0, "count": 10, "capture": ["made"]}, "capture is a text"),
        ("packet", {}, "n is a whole number"),
        ("packet", {"n": 3}, "has no frame 3: it holds 1 to 2"),
        ("packet", {"n": 0}, "has no frame 0"),
        ("scan", {"filter": None}, "filter is a text"),
    ],
)
def test_questions_of_a_browser_are_checked(name: str, args: dict[str, Any], told: str) -> None:
    lab, _ = lab_with([ARP, ARP])
    with lab, pytest.raises(LabError, match=told):
        ask(lab, name, **args)


@pytest.mark.parametrize("selected", [None, 0, -1, 3, 1e300, "x", True, 1 << 60, 2.5])
def test_whatever_is_looked_at_the_view_is_json_and_words(selected: Any) -> None:
    lab, _ = lab_with([ARP, udp(7, PAYLOAD)])
    with lab:
        for name in ("made", "nowhere", None):
            look = {"packets.capture": name, "packets.selected": selected, "packets.filter": selected}
            json.dumps(packets.snapshot(lab, look))
            assert len(packets.words(lab, look).splitlines()) <= 8
            assert "<img" not in str(packets.picture(lab, look))


def test_hostile_frames_stay_text_and_the_view_stands() -> None:
    rng = random.Random(7)
    whole = [udp(7, PAYLOAD * 3), ARP, udp(7)[:30], b"", b"\x00", bytes(65_549)]
    noise = [bytes(rng.randrange(256) for _ in range(rng.randrange(80))) for _ in range(60)]
    bent = [bytes(byte if rng.random() > 0.05 else rng.randrange(256) for byte in udp(7, PAYLOAD)) for _ in range(60)]
    lab, capture = lab_with(whole + noise + bent)
    with lab:
        rows = ask(lab, "rows", start=0, count=200)["rows"]
        assert len(rows) == len(capture)
        for frame in capture.frames:
            told = ask(lab, "packet", n=frame.n)
            assert bytes.fromhex(told["hex"]) == frame.data
            for layer in told["layers"]:
                for field in layer["fields"]:
                    assert 0 <= field["offset"] <= field["offset"] + field["length"] <= max(len(frame.data), 1)
            said = json.dumps(told, ensure_ascii=False)
            assert "\x00" not in said and "\\u0000" not in said and "\u202e" not in said and len(said) < 300_000
        assert "<img" not in str(packets.picture(lab, {"packets.capture": "made", "packets.selected": 1}))


def test_a_byte_lies_in_the_field_that_names_it() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.fetch("10.0.0.2")
        told = packets.VIEW.asks["packets.packet"](lab, {"capture": "br0", "n": 10})
        fields = {(layer["name"], field["name"]): field for layer in told["layers"] for field in layer["fields"]}
        ttl = fields["IPv4", "TTL"]
        assert (ttl["offset"], ttl["length"]) == (22, 1) and int(told["hex"][44:46], 16) == int(ttl["value"])
        port = fields["TCP", "source port"]
        assert bytes.fromhex(told["hex"])[port["offset"] :][:2] == (80).to_bytes(2, "big") and port["value"] == "80"
        assert told["lines"] == ["lab.traces[0].packet(10)", "lab.traces[0].causes(10)"]
        assert eval(told["lines"][0], {"lab": lab}).protocol == "TCP"  # the very line is the claim


def story(lab: Lab, n: int) -> list[tuple[str, str]]:
    told = packets.VIEW.asks["packets.packet"](lab, {"capture": "br0", "n": n})
    return [(step["what"], step["words"]) for step in told["story"]]


def test_a_reply_leads_back_to_its_slot_its_grant_its_hypercall_and_what_woke_the_domain() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.fetch("10.0.0.2")
        steps = story(lab, 10)
        assert [what for what, _ in steps] == ["ring slot", "grant", "wake-up", "upcall", "hypercall", "ring slot", "grant", "this frame", "arrival"]
        words = [told for _, told in steps]
        assert words[0] == "the back end puts 143 bytes into slot 4 of 256 of the rx ring of web"
        assert words[2].startswith("dom0 notifies port 3 of web") and "event_channel_op.send, port 3" in words[4]
        assert words[5] == "the back end takes 129 bytes from slot 4 of 256 of the tx ring of web"
        assert "of its memory, granted to dom0, read only" in words[6] and "granted to dom0" in words[1] and "read only" not in words[1]
        assert "gateway of br0" in words[8]


def test_the_grant_that_is_told_is_the_page_the_frame_was_in() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.fetch("10.0.0.2")
        sent = next(event for event in lab.traces[0].causes(10) if event.kind == "net.tx")
        page = int(dict(story(lab, 10)[5:])["grant"].split("page ")[1].split()[0], 16)
        memory = lab.machine.toolstack.domain(lab.vm("web").domid).memory
        assert bytes(memory.view[page << 12 :][: sent.fields["length"]]) == lab.traces[0][10].data


def test_a_frame_of_the_gateway_names_the_frame_it_answers_and_where_it_arrived() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.fetch("10.0.0.2")
        told = packets.VIEW.asks["packets.packet"](lab, {"capture": "br0", "n": 7})
        because = next(step for step in told["story"] if step["what"] == "because")
        assert because["frame"] == 6 and "gateway has no ring" in because["words"]
        assert told["story"][-3]["words"] == "the back end puts 66 bytes into slot 3 of 256 of the rx ring of web"
        both = packets.VIEW.asks["packets.packet"](lab, {"capture": "br0", "n": 8})
        assert "slot 4 of 256" in both["story"][-2]["words"]


def test_a_segment_tells_the_move_it_made_and_only_that() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.fetch("10.0.0.2")
        lab.run(seconds(1))
        made = [[told for what, told in story(lab, n) if what == "transition"] for n in range(1, len(lab.traces[0]) + 1)]
        assert [(n, *moves) for n, moves in enumerate(made, 1) if moves] == [
            (5, "web: CLOSED to SYN_RECEIVED, by SYN to a listener"),
            (6, "gateway: SYN_SENT to ESTABLISHED, by our SYN acknowledged"),
            (7, "web: SYN_RECEIVED to ESTABLISHED, by our SYN acknowledged"),  # 8 arrived with it, and 7 was first
            (11, "gateway: ESTABLISHED to CLOSE_WAIT, by FIN"),
            (13, "web: FIN_WAIT_1 to FIN_WAIT_2, by our FIN acknowledged"),
            (14, "web: FIN_WAIT_2 to TIME_WAIT, by FIN"),
            (15, "gateway: LAST_ACK to CLOSED, by our FIN acknowledged"),
        ]


def test_a_broadcast_reaches_every_ring_but_the_senders() -> None:
    with Lab.demo("web", seed=1) as lab:
        one = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.3/24")
        lab.create(web(devices.default_console, one), vif=[lab.lans[0]], name="other").unpause()
        lab.run(seconds(1))
        number = len(lab.traces[0])
        assert lab.traces[0][number].port == "other" and lab.traces[0].packet(number).protocol == "ARP"
        arrived = [told for what, told in story(lab, number) if what == "ring slot" and "puts" in told]
        assert [told.rpartition(" ")[2] for told in arrived] == ["web"]


def test_a_domain_that_slept_since_it_was_woken_sends_because_of_a_timer() -> None:
    @unikernel
    async def talks(console: Console, stack: StackV4) -> None:
        while True:
            stack.udpv4.write("10.0.0.1", 9, b"tick")
            await tasks.sleep(seconds(1) // 2)

    with Lab(seed=1, name="packets") as lab:
        lan = lab.lan("br0")
        trace = lab.capture(lan)
        tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24")
        lab.create(talks(devices.default_console, tcpip), vif=[lan]).unpause()
        lab.run(seconds(3))
        ticks = [frame.n for frame in trace if trace.packet(frame.n).protocol == "UDP"]
        first, later = story(lab, ticks[0]), story(lab, ticks[-1])
        assert "timer" not in dict(first) and "upcall" in dict(first)
        assert "upcall" not in dict(later) and "talks had gone to sleep" in dict(later)["timer"]
        assert dict(later)["arrival"].startswith("the gateway of br0 takes it")


def test_what_the_history_no_longer_holds_is_said_to_be_forgotten() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.fetch("10.0.0.2")
        recorder = lab.machine.world.recorder
        whole = len(story(lab, 10))
        recorder.limit = len(recorder)
        while recorder.event(370) is not None:
            recorder.kind("console.line").emit(lab.now, "web", 0, {"text": "more"})
        steps = story(lab, 10)
        assert len(steps) < whole and packets_frame.FORGOTTEN in [told for _, told in steps]
        assert dict(story(lab, 1))["arrival"] == packets_frame.FORGOTTEN
        for n in (2, 5):
            assert {told for what, told in story(lab, n) if what in ("because", "arrival")} == {packets_frame.FORGOTTEN}, n


def test_at_a_domains_own_port_frames_of_the_gateway_are_the_gateways() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.capture(lab.vm("web"))
        lab.fetch("10.0.0.2")
        ask_packet = packets.VIEW.asks["packets.packet"]
        told = [ask_packet(lab, {"capture": "web", "n": n}) for n in range(1, len(lab.traces[1]) + 1)]
        answers = [each for each in told if each["src"] == "10.0.0.1" and each["protocol"] == "TCP"]
        assert len(answers) == 3
        for each in answers:
            assert any("gateway has no ring" in step["words"] for step in each["story"])
            assert "into slot" in [step["words"] for step in each["story"] if step["what"] == "ring slot"][-1]


def test_a_lost_frame_says_why_and_has_no_arrival() -> None:
    with Lab.demo("web", seed=1) as lab:
        lab.set_lan("br0", loss=1.0)
        lab.ping("10.0.0.2", 1)
        told = packets.VIEW.asks["packets.packet"](lab, {"capture": "br0", "n": len(lab.traces[0])})
        assert told["fate"] == "lost: loss" and told["story"][-1]["what"] == "lost"
        assert "[lost: loss]" in packets.words(lab, {"packets.selected": len(lab.traces[0])})


def test_buttons_run_their_line_and_take_no_path_from_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Lab.demo("web", seed=1) as lab:
        act = packets.VIEW.actions["packets.capture"](lab, {"domain": "web"})
        assert act.line == "lab.capture(lab.vm('web'))" and [trace.name for trace in lab.traces] == ["br0", "web"]
        act = packets.VIEW.actions["packets.save"](lab, {"capture": "br0", "path": "/etc/passwd"})
        assert act.line == "lab.traces[0].save('br0.pcapng')" and [path.name for path in tmp_path.iterdir()] == ["br0.pcapng"]
        lab.capture("br0", name="../up")
        with pytest.raises(LabError, match="no name for a file"):
            packets.VIEW.actions["packets.save"](lab, {"capture": "../up"})
        with pytest.raises(LabError, match="no lan"):
            packets.VIEW.actions["packets.capture"](lab, {"lan": "nowhere"})


def test_words_and_picture_show_the_chosen_frame_among_its_neighbours() -> None:
    lab, _ = lab_with([udp(1_000 + number) for number in range(400)])
    with lab:
        look = {"packets.capture": "made", "packets.selected": 300, "packets.filter": "udp"}
        lines = packets.words(lab, look).splitlines()
        assert lines[0] == "made: 400 frames; 400 match udp" and any(line.startswith("  300 ") for line in lines)
        picture = str(packets.picture(lab, look))
        assert "1299 -&gt; 7" in picture and "source port 1299" in picture
        assert packets.words(Lab(seed=2), {}) == "no capture yet: lab.capture(lan) begins one"

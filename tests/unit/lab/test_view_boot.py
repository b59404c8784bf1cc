"""The Boot tab: what it shows of a domain is true, bounded, and plain text whatever guests do."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise

import pytest

from mirage_lab import Lab, configure, devices, ms, seconds, unikernel
from mirage_lab.lab.said import LabError
from mirage_lab.lab.views import boot_bytes, boot_memory, boot_timeline
from mirage_lab.lab.views.boot import ACTIONS, ASKS, VIEW
from mirage_lab.signatures import Console
from mirage_lab.signatures.units import Ns
from mirage_lab.tracing.png import png
from mirage_lab.xen.abi import grant_table, shared_info, start_info
from mirage_lab.xen.abi import xen as abi
from mirage_lab.xen.guest.minios import MiniOS

PAYLOAD = '<img src=x onerror="alert(1)">\x1b[31m\u202e'


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab.demo("web") as lab:
        yield lab


def guest_lab(entry: object, memory_mib: int = 32) -> Lab:
    """A lab in which `entry(os)`, code with the kernel in its hands, ran for a millisecond."""
    from mirage_lab.xen.dom0.image import Image

    lab = Lab(seed=1, name="guests")
    lab.command("create", image=Image("guest", entry=entry, memory_mib=memory_mib), name="guest", vif=(), memory_mib=memory_mib, profile="today")  # type: ignore[arg-type]
    lab.unpause("guest")
    lab.run(ms(1))
    return lab


def rows(data: dict[str, object], domain: str) -> dict[str, list[list[object]]]:
    lane = next(lane for lane in data["timeline"]["lanes"] if lane["domain"] == domain)  # type: ignore[index]
    return {row["name"]: row["marks"] for row in lane["rows"]}


# the timeline -------------------------------------------------------------------------------------------------------


def test_each_mark_stands_for_events_of_its_domain_kind_and_moment(lab: Lab) -> None:
    data = VIEW.snapshot(lab, {})
    line = data["timeline"]
    recorder = lab.machine.world.recorder
    for lane in line["lanes"]:
        for row in lane["rows"]:
            kinds = dict(boot_timeline.ROWS)[row["name"]]
            assert sum(mark[1] for mark in row["marks"]) == row["count"]
            for column, _, id, *_ in row["marks"]:
                event = recorder.event(id)
                assert event is not None and event.source == lane["domain"]
                assert event.kind in kinds or row["name"] == "other"
                at = line["start"] + column / line["columns"] * (line["stop"] - line["start"])
                assert abs(event.t - at) <= (line["stop"] - line["start"]) / line["columns"]
    shown = [event for event in recorder.events("xen.hypercall", "web") if line["start"] <= event.t <= line["stop"]]
    assert sum(mark[1] for mark in rows(data, "web")["hypercalls"]) == len(shown) > 20


def test_the_console_and_the_xenbus_states_have_words(lab: Lab) -> None:
    found = rows(VIEW.snapshot(lab, {}), "web")
    assert [mark[3] for mark in found["console"]] == ["listening on port 80"]
    assert [mark[3] for mark in found["xenbus"]] == ["3", "4"]


def test_zooming_shows_what_lies_between_two_moments_only(lab: Lab) -> None:
    data = VIEW.snapshot(lab, {"boot.from": 36_000, "boot.to": 37_000})
    assert data["timeline"]["start"], data["timeline"]["stop"] == (36_000, 37_000)
    events = [event for event in lab.events() if 36_000 <= event.t <= 37_000]
    assert data["timeline"]["events"] == len(events) > 0
    assert VIEW.snapshot(lab, {"boot.from": 37_000, "boot.to": 36_000})["timeline"]["start"] == 0


def test_in_order_of_events_what_happened_in_one_moment_comes_apart(lab: Lab) -> None:
    by_time = rows(VIEW.snapshot(lab, {}), "web")["hypercalls"]
    by_order = rows(VIEW.snapshot(lab, {"boot.axis": "order"}), "web")["hypercalls"]
    assert len(by_order) > 2 * len(by_time)
    assert [mark[2] for mark in by_order] == sorted(mark[2] for mark in by_order)


def test_following_ends_at_the_present(lab: Lab) -> None:
    look = {"boot.follow": True, "boot.span": 2_000_000}
    before = VIEW.snapshot(lab, look)["timeline"]
    lab.run(ms(5))
    after = VIEW.snapshot(lab, look)["timeline"]
    assert (after["stop"], after["stop"] - after["start"]) == (lab.now, 2_000_000)
    assert after["stop"] - before["stop"] == 5_000_000 and after["now"] == after["columns"]


def test_the_chosen_event_leads_back_to_what_caused_it(lab: Lab) -> None:
    upcall = lab.events("evtchn.upcall", source="web")[1]
    told = VIEW.snapshot(lab, {"boot.event": upcall.id})["timeline"]["selected"]
    assert (told["id"], told["source"], told["kind"]) == (upcall.id, "web", "evtchn.upcall")
    assert [cause["kind"] for cause in told["causes"][:2]] == ["evtchn.notify", "xen.hypercall"]
    assert told["causes"][0]["source"] == "dom0"
    assert [cause["id"] for cause in told["causes"]] == [event.id for event in lab.machine.world.recorder.causes(upcall.id)[1:]][:12]
    assert VIEW.snapshot(lab, {"boot.event": 10**9})["timeline"]["selected"] is None


def test_a_domain_that_never_ran_and_a_lab_without_domains_are_shown() -> None:
    with Lab(seed=1, name="empty") as lab:
        assert VIEW.snapshot(lab, {})["domain"] is None
        assert VIEW.picture(lab, {}) is None
        assert VIEW.words(lab, {}) == "no domain yet: lab.create(image) makes one"

        @unikernel
        async def quiet(console: Console) -> None:
            console.log("hello")

        lab.create(configure(quiet(devices.default_console), name="quiet", target="xen"))
        data = VIEW.snapshot(lab, {})
        assert data["domains"][1] == {"name": "quiet", "domid": 1, "state": "paused"}
        assert data["timeline"]["events"] >= 0
        assert VIEW.picture(lab, {}) is not None


# memory -------------------------------------------------------------------------------------------------------------


def test_the_map_names_every_page_once(lab: Lab) -> None:
    data = VIEW.snapshot(lab, {})["memory"]
    ram = [run for run in data["runs"] if run[0] < data["nr_pages"]]
    assert ram[0][0] == 0
    for before, after in pairwise(ram):
        assert before[0] + before[1] == after[0]
    assert ram[-1][0] + ram[-1][1] == data["nr_pages"] == 8_192
    assert sum(count for _, count in data["counts"]["type"]) == sum(run[1] for run in data["runs"])


def test_the_builders_pages_rings_and_mappings_are_where_start_info_and_xenstore_say(lab: Lab) -> None:
    runs = {run[2]: run for run in VIEW.snapshot(lab, {})["memory"]["runs"]}
    domain = lab.machine.toolstack.domain(1)
    info = start_info.StartInfo.decode(domain.memory.page(abi.Pfn(runs["start_info"][0])))
    assert runs["xenstore ring"][0] == info.store_mfn - domain.memory.base
    assert runs["console ring"][0] == info.console_mfn - domain.memory.base
    assert runs["pfn list"][:2] == [info.mfn_list >> 12, 16]
    assert runs["vif/0 tx ring"][4:] == ["granted, in use", "dom0", int(lab.vm("web").xenstore.read("device/vif/0/tx-ring-ref"))]
    assert (runs["shared_info"][3], runs["grant table"][1]) == ("Xen", 4)
    dom0 = VIEW.snapshot(lab, {"boot.domain": "dom0"})["memory"]
    mapped = [run for run in dom0["runs"] if run[2] == "mapped by grant"]
    assert {run[3] for run in mapped} == {"web"} and sum(run[1] for run in mapped) == 4


def test_a_page_is_read_by_number_and_one_that_is_not_there_is_refused(lab: Lab) -> None:
    page = ASKS["boot.page"](lab, {"domain": "web", "pfn": 16})
    assert bytes.fromhex(page["rows"][0][1]).startswith(b"xen-3.0-x86_64")
    for args in ({"domain": "web", "pfn": 8_192}, {"domain": "web", "pfn": -1}, {"domain": "nobody", "pfn": 1}, {"domain": "web", "pfn": "1"}, {}):
        with pytest.raises(LabError):
            ASKS["boot.page"](lab, args)


def test_a_hostile_grant_table_stays_bounded_and_grants_of_foreign_frames_do_not_count() -> None:
    async def entry(os: MiniOS) -> None:
        table = os.memory.at(int(os.memory.demand) + abi.PAGE_SIZE)
        for ref in range(8, 512):
            frame = os.memory.mfn(abi.Pfn(ref * 2)) if ref < 500 else abi.Mfn(0)
            grant_table.ENTRY.pack_into(table, ref * 8, grant_table.GTF_PERMIT_ACCESS | (ref & 1) << 2, ref % 7, frame)
        os.console.log(PAYLOAD)
        await os.xs.write("device/vif/0/tx-ring-ref", "99999999999999999999")

    with guest_lab(entry) as lab:
        data = VIEW.snapshot(lab, {"boot.domain": "guest"})["memory"]
        assert len(data["runs"]) == boot_memory.RUNS < data["left_out"] + boot_memory.RUNS
        assert sum(count for name, count in data["counts"]["grant"] if name.startswith("granted")) == 492 + 1
        assert len(json.dumps(VIEW.snapshot(lab, {}))) < 100_000


# event channels -----------------------------------------------------------------------------------------------------


def test_both_ends_of_each_channel_and_what_it_is_for_are_named(lab: Lab) -> None:
    data = VIEW.snapshot(lab, {"boot.part": "channels"})["channels"]
    assert [(row["port"], row["purpose"], row["remote"], row["remote_port"]) for row in data["ports"]] == [
        (1, "xenstore", "dom0", 1),
        (2, "console", "dom0", 2),
        (3, "vif/0", "dom0", 3),
    ]
    assert not any(row["pending"] or row["masked"] for row in data["ports"])
    other = VIEW.snapshot(lab, {"boot.part": "channels", "boot.domain": "dom0"})["channels"]
    assert [(row["purpose"], row["remote"]) for row in other["ports"]] == [("xenstore", "web"), ("console", "web"), ("vif/0", "web")]


def test_a_pending_and_masked_port_is_shown_so_with_the_event_that_made_it_pending(lab: Lab) -> None:
    domain = lab.machine.toolstack.domain(1)
    domain.shared_words[shared_info.MASK_WORD] |= 1 << 2
    domain.shared_words[shared_info.PENDING_WORD] |= 1 << 2
    domain.causes[2] = 77
    row = VIEW.snapshot(lab, {"boot.part": "channels"})["channels"]["ports"][1]
    assert (row["port"], row["pending"], row["masked"], row["cause"]) == (2, True, True, 77)
    assert "2 console (pending)" in VIEW.words(lab, {})


# bytes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", boot_bytes.PAGES)
def test_every_field_lies_in_its_bytes(lab: Lab, which: str) -> None:
    data = VIEW.snapshot(lab, {"boot.part": which})["bytes"]
    there = {at + place for at, octets, _ in data["rows"] for place in range(len(octets) // 2)}
    for name, at, size, value, _ in data["fields"]:
        assert at in there, name
        assert at + size <= data["size"] and value
    ends = [(at, at + size) for _, at, size, *_ in data["fields"]]
    assert all(before[1] <= after[0] for before, after in pairwise(ends))


def test_the_table_of_fields_of_start_info_is_its_layout() -> None:
    blank = start_info.StartInfo.decode(bytes(start_info.SIZE))
    for name, at, size in start_info.FIELDS:
        raw = bytearray(start_info.SIZE)
        raw[at : at + size] = b"\x41" * (size - 1) + b"\0" if size > 8 else (1).to_bytes(size, "little")
        read = start_info.StartInfo.decode(raw)
        attribute = name.replace("console.domU.", "console_")
        names = [field.name for field in fields(start_info.StartInfo)]
        assert [field for field in names if getattr(read, field) != getattr(blank, field)] == [attribute]


def test_what_the_fields_say_is_what_the_domain_has(lab: Lab) -> None:
    said = {name: (value, meaning) for name, _, _, value, meaning in VIEW.snapshot(lab, {"boot.part": "start_info"})["bytes"]["fields"]}
    assert said["nr_pages"] == ("8,192", "pages of 4 KiB: 32 MiB")
    assert said["store_mfn"][1] == "machine frame: page 17 of this domain, the xenstore ring"
    lab.machine.toolstack.domain(1).shared_words[shared_info.MASK_WORD + 1] |= 0b101
    said = {name: (value, meaning) for name, _, _, value, meaning in VIEW.snapshot(lab, {"boot.part": "shared_info"})["bytes"]["fields"]}
    assert said["evtchn_mask"][0] == "ports 64, 66"
    assert said["wc_sec"][1] == "wall clock at system time 0: 2014-07-22 00:00:00 UTC"


def test_a_guest_that_overwrites_its_start_info_changes_what_is_said_and_nothing_else(lab: Lab) -> None:
    lab.machine.toolstack.domain(1).memory.page(abi.Pfn(16))[:] = b"\xff" * abi.PAGE_SIZE
    data = VIEW.snapshot(lab, {"boot.part": "start_info"})["bytes"]
    assert {field[0]: field[4] for field in data["fields"]}["store_mfn"] == "not a frame of this domain"
    assert len(json.dumps(data)) < 30_000


# actions ------------------------------------------------------------------------------------------------------------


def test_each_button_is_a_line_of_python_and_what_it_said(lab: Lab) -> None:
    assert ACTIONS["boot.step"](lab, {}).said == "nothing is due: the world is at rest"
    lab.rewind(Ns(20_000))
    before = lab.machine.world.events
    act = ACTIONS["boot.step"](lab, {})
    assert act.line == "lab.step()" and lab.machine.world.events == before + 1 and "evtchn" in act.said
    act = ACTIONS["boot.until"](lab, {"kind": "xen.hypercall", "source": "web", "seconds": 100})
    assert act.line == "lab.run_until('xen.hypercall', within=seconds(100), source='web')"
    assert lab.events("xen.hypercall", source="web")[-1].t == lab.now
    now = lab.now
    assert ACTIONS["boot.run_to"](lab, {"t": now + 5_000}).line == "lab.run(5_000)" and lab.now == now + 5_000
    assert ACTIONS["boot.run_to"](lab, {"t": 22_000}).line == "lab.rewind(22_000)" and lab.now == 22_000


def test_the_line_a_button_shows_does_what_the_button_did() -> None:
    with Lab.demo("web") as lab:
        lab.rewind(Ns(20_000))
        line = ACTIONS["boot.until"](lab, {"kind": "xenbus.state"}).line
        by_button = lab.now
        lab.rewind(Ns(20_000))
        eval(line, {"lab": lab, "seconds": seconds})
        assert lab.now == by_button > 20_000


def test_a_quiet_kind_is_recorded_when_asked(lab: Lab) -> None:
    recorder = lab.machine.world.recorder
    assert ACTIONS["boot.record"](lab, {"kind": "tcp.cwnd", "on": True}).line == "lab.machine.world.recorder.enable('tcp.cwnd')"
    assert recorder.kind("tcp.cwnd").on
    assert {row["kind"]: row["on"] for row in VIEW.snapshot(lab, {})["quiet"]}["tcp.cwnd"] is True
    ACTIONS["boot.record"](lab, {"kind": "tcp.cwnd", "on": False})
    assert not recorder.kind("tcp.cwnd").on


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("boot.until", {}),
        ("boot.until", {"kind": "__import__('os')"}),
        ("boot.until", {"kind": "*"}),
        ("boot.until", {"kind": "xen.hypercall", "seconds": -1}),
        ("boot.until", {"kind": "xen.hypercall", "seconds": float("nan")}),
        ("boot.until", {"kind": "xen.hypercall", "source": ["web"]}),
        ("boot.run_to", {"t": -1}),
        ("boot.run_to", {"t": 1e30}),
        ("boot.run_to", {"t": 10**15}),
        ("boot.run_to", {"t": "now"}),
        ("boot.record", {"kind": "xen.*", "on": True}),
    ],
)
def test_arguments_from_a_browser_are_checked(lab: Lab, name: str, args: dict[str, object]) -> None:
    now = lab.now
    with pytest.raises(LabError):
        ACTIONS[name](lab, args)
    assert lab.now == now


# words, pictures, bounds --------------------------------------------------------------------------------------------


def test_the_words_are_the_same_every_time_and_few(lab: Lab) -> None:
    told = VIEW.words(lab, {})
    assert told == VIEW.words(lab, {"boot.event": 5}) and len(told.split("\n")) <= 8
    assert told.startswith("web (domid 1), from t = 0.000000 s: 76 hypercalls, 42 notifies")
    assert "memory: 8,192 pages, 516 granted (4 in use), 5 mapped beyond RAM" in told
    assert "event channels: 1 xenstore, 2 console, 3 vif/0" in told


@pytest.mark.parametrize("part", ["memory", "channels", "start_info", "shared_info"])
def test_each_part_has_a_picture_also_as_png(lab: Lab, part: str) -> None:
    picture = VIEW.picture(lab, {"boot.part": part})
    assert picture is not None and ET.fromstring(picture).get("role") == "img"
    assert png(picture).startswith(b"\x89PNG")
    heading = {"memory": "memory of web", "channels": "event channels of web"}.get(part, f"{part} of web")
    assert heading in "".join(ET.fromstring(picture).itertext())


def test_what_a_guest_prints_and_writes_is_text() -> None:
    async def entry(os: MiniOS) -> None:
        os.console.log(PAYLOAD)
        await os.xs.write("data/x", PAYLOAD)
        await os.xs.write("device/vif", PAYLOAD)

    with guest_lab(entry) as lab:
        for part in ("memory", "channels", "start_info", "shared_info"):
            look = {"boot.part": part, "boot.event": lab.events("console.line")[0].id}
            sent = json.dumps(VIEW.snapshot(lab, look), ensure_ascii=False)
            assert "\x1b" not in sent and "\u202e" not in sent
            picture = VIEW.picture(lab, look)
            assert picture is not None and "<img" not in picture
            ET.fromstring(picture)


def test_a_look_of_any_kind_is_survived(lab: Lab) -> None:
    odd: list[object] = [None, True, -1, 1e300, float("nan"), float("inf"), "", PAYLOAD, 2**62, "dom0", 0]
    keys = ("domain", "part", "from", "to", "axis", "follow", "span", "event", "colour", "run", "field")
    for value in odd:
        look = {f"boot.{key}": value for key in keys}
        json.dumps(VIEW.snapshot(lab, look))  # type: ignore[arg-type]
        VIEW.words(lab, look)  # type: ignore[arg-type]
        VIEW.picture(lab, look)  # type: ignore[arg-type]


def test_a_busy_world_is_shown_in_part_and_says_what_it_left_out() -> None:
    async def entry(os: MiniOS) -> None:
        for _ in range(40_000):
            os.gate.call(abi.XEN_VERSION, 0)
        for _ in range(4_000):
            os.events.alloc_unbound(abi.Domid(0))

    with guest_lab(entry) as lab:
        lab.run(ms(100))
        assert len(lab.machine.world.recorder) > 40_000
        for look in ({}, {"boot.axis": "order"}, {"boot.from": 0, "boot.to": lab.now}, {"boot.follow": True, "boot.span": lab.now}, {"boot.part": "channels"}):
            data = VIEW.snapshot(lab, look)
            assert len(json.dumps(data)) < 100_000
            looked = data["timeline"]["events"] - data["timeline"]["left_out"]
            assert looked <= boot_timeline.LIMIT
        wide = VIEW.snapshot(lab, {"boot.from": 0, "boot.to": lab.now})["timeline"]
        assert wide["left_out"] == wide["events"] - boot_timeline.LIMIT > 0
        assert len(VIEW.snapshot(lab, {"boot.part": "channels"})["channels"]["ports"]) == 64

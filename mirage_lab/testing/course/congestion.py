"""Exercises of 07-congestion, the two unikernels of a transfer, and what is measured of it."""

from __future__ import annotations

from typing import Any, Final

from mirage_lab.runtime import tasks
from mirage_lab.signatures import Console, StackV4, unikernel
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import ms
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import story
from mirage_lab.testing.story import Story
from mirage_lab.tool import devices

__all__ = ["BOTTLENECK", "check_disciplines", "check_kept", "check_queue", "machines", "measured", "sink", "source"]

PORT: Final = 5_001
BOTTLENECK: Final[dict[str, Any]] = {"latency": ms(20), "rate": 10_000_000, "queue": 40}
"""A lan of 10 Mbit/s and 40 ms there and back, with room for 40 frames: 50,000 bytes fit in the wire, 60,000 in the queue."""

KEPT: Final = {"newreno": 0.5, "cubic": 0.7}
"""What remains of the window after a loss: RFC 5681 section 3.1, RFC 9438 section 4.6."""
NEAR: Final = 0.05
QUICK: Final = 1.2
SHORT: Final = 35.0
"""Seconds a transfer of exercise 2 may take, and milliseconds a frame may wait."""
DISCIPLINES: Final = ("droptail", "red", "codel")


@unikernel
async def sink(console: Console, stack: StackV4) -> None:
    """Read what comes to port 5001, and say how much it was."""

    async def take(flow: TcpFlow) -> None:
        count = 0
        while data := await flow.read():
            count += len(data)
        await flow.close()
        console.log(f"{count:,} bytes")

    stack.listen_tcpv4(PORT, take)
    await stack.listen()


@unikernel
async def source(console: Console, stack: StackV4, *, kib: int = 2_000, server: str = "10.0.0.2") -> None:
    """Send `kib` KiB, and say how long it took until the other side had read them all."""
    flow = await stack.tcpv4.create_connection((server, PORT))
    began = await tasks.now()
    await flow.write(bytes(kib << 10))
    await flow.close()
    while await flow.read():
        pass
    console.log(f"done in {(await tasks.now() - began) / 1e9:.3f} s")


def machines(congestion: str, kib: int = 2_000) -> list[Any]:
    """Return two jobs, to be created in this order: `sink` at 10.0.0.2, `source` at 10.0.0.3."""

    def stack(address: str) -> Any:
        return devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address=address, congestion=congestion)

    return [
        sink(devices.default_console, stack("10.0.0.2/24")),
        source(devices.default_console, stack("10.0.0.3/24"), kib=kib),
    ]


def measured(lab: Any) -> dict[str, Any]:
    """Return what a transfer in a lab took: seconds (None: it has not ended), segments sent again, timeouts, the longest wait in the queue (ms)."""
    said = [line for line in lab.vm("source").console.text.splitlines() if line.startswith("done in ")]
    waits = [event.fields["bytes"] * 8e3 / event.fields["rate"] for event in lab.events("lan.queue") if event.fields["rate"]]
    return {
        "seconds": float(said[0].split()[2]) if said else None,
        "again": len(lab.events("tcp.retransmit", source="source")),
        "timeouts": len(lab.events("tcp.rto", source="source")),
        "waited_ms": round(max(waits, default=0.0), 1),
    }


@exercise
def check_kept(newreno: object, cubic: object) -> Story:
    """The shares of the window that NewReno and CUBIC keep after a loss."""
    told = story("what is kept after a loss")
    for name, given in (("newreno", newreno), ("cubic", cubic)):
        told.true(f"{name}: a share is given", _number(given), "nothing is there yet: replace the dots" if given is ... else f"{given!r} is no number")
        assert isinstance(given, int | float)
        told.true(f"{name}: it is between 0 and 1", 0 < given < 1, f"{given!r} is not", "percent, or bytes?" if given >= 1 else "")
        hint = "look for ssthresh just after the first loss, and cwnd just before: lab.events('tcp.cwnd')"
        told.true(f"{name}: it agrees with the RFC", abs(given - KEPT[name]) <= NEAR, f"{given!r} does not", hint)
    return told


@exercise
def check_queue(result: object) -> Story:
    """A transfer by NewReno of 1,000 KiB that is quick and in which nobody waits long: what `measured` says of it."""
    told = story("quick, and nobody waits")
    there = isinstance(result, dict) and {"seconds", "waited_ms"} <= set(result)
    told.true("there is a transfer", there, "nothing is there yet: replace the dots" if result is ... else "it is not what `measured` returns")
    assert isinstance(result, dict)
    told.true("it ended", result["seconds"] is not None, "it has not: how much does the queue hold?")
    told.true(f"it took {QUICK} s at most", result["seconds"] <= QUICK, f"it took {result['seconds']} s", "what does a sender do when a frame is lost?")
    waited = result["waited_ms"]
    told.true(f"no frame waited more than {SHORT:g} ms", waited <= SHORT, f"one waited {waited} ms", "a frame of 1,514 bytes takes 1.2 ms")
    return told


@exercise
def check_disciplines(table: Any, shortest: object) -> Story:
    """A sweep over the three disciplines of a queue with at least two seeds, and the name of the one with the shortest waits."""
    told = story("three ways to drop")
    rows = getattr(table, "rows", None)
    told.true("there is a sweep", isinstance(rows, list) and bool(rows), "nothing is there yet: replace the dots")
    assert isinstance(rows, list)
    told.true("every cell is finished", not table.remaining, f"{len(table.remaining)} are not: .resume()")
    told.true("none of them raised", not table.errors, f"{len(table.errors)} did: .errors says what")
    seen = {row.get("discipline") for row in rows}
    has = f"it has {', '.join(sorted(map(str, seen)))}"
    told.true("it tries the three disciplines of a lan", seen == set(DISCIPLINES), has, "the grid: {'discipline': [...]}")
    told.true("each with two seeds or more", len({row["seed"] for row in rows}) >= 2, "one seed is one story: seeds=[...]")
    waits = all(_number(row.get("waited_ms")) for row in rows)
    told.true("each row tells the longest wait, waited_ms", waits, "return what `measured` returns")
    mean = {name: sum(row["waited_ms"] for row in rows if row["discipline"] == name) for name in DISCIPLINES}
    least = min(mean, key=lambda name: mean[name])
    told.true("the shortest waits: a name is given", isinstance(shortest, str), "replace the dots")
    told.true("the shortest waits: it is what the table says", shortest == least, f"{shortest!r} is not", "take the mean of waited_ms for each discipline")
    return told


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

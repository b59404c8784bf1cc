"""An Ethernet in one process: who hears what, when, and what faults do to it."""

from __future__ import annotations

import pytest

from mirage_lab.runtime import World
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tracing.capture import Capture
from mirage_lab.vnetif import Netif, Port, Segment

ALL = b"\xff" * 6


def mac(number: int) -> bytes:
    return b"\x02\0\0\0\0" + bytes([number])


def frame(dst: bytes, src: bytes, body: bytes = b"x") -> bytes:
    return dst + src + b"\x08\x00" + body


class Party:
    """Three stations on a lan; what each hears, with the time."""

    def __init__(self, seed: int = 1, **faults: object) -> None:
        self.world = World(seed)
        self.lan = Segment(self.world, "br0", **faults)
        self.capture = Capture("br0")
        self.lan.captures.append(self.capture)
        self.heard: dict[int, list[tuple[Ns, bytes]]] = {1: [], 2: [], 3: []}
        self.ports: dict[int, Port] = {}
        for number in self.heard:
            self.ports[number] = self.lan.attach(f"host{number}", lambda data, n=number: self.heard[n].append((self.world.now, data)))

    def run(self) -> None:
        self.world.advance(Ns(self.world.now + seconds(10)))


def test_a_broadcast_reaches_everyone_else_after_the_latency() -> None:
    party = Party(latency=ms(1))
    party.ports[1].send(frame(ALL, mac(1)))
    party.run()
    assert [len(heard) for heard in party.heard.values()] == [0, 1, 1]
    assert party.heard[2][0][0] == ms(1)


def test_the_bridge_learns_and_then_bothers_nobody_else() -> None:
    party = Party()
    party.ports[1].send(frame(mac(2), mac(1)))
    party.run()
    assert len(party.heard[3]) == 1
    party.ports[2].send(frame(mac(1), mac(2)))
    party.ports[1].send(frame(mac(2), mac(1)))
    party.run()
    assert (len(party.heard[1]), len(party.heard[2]), len(party.heard[3])) == (1, 2, 1)


def test_a_station_that_moves_is_found_again() -> None:
    party = Party()
    party.ports[1].send(frame(ALL, mac(1)))
    party.lan.detach(party.ports[1])
    party.ports[3].send(frame(ALL, mac(1)))
    party.ports[2].send(frame(mac(1), mac(2)))
    party.run()
    assert party.heard[3][-1][1][:6] == mac(1) and party.heard[1] == []


def test_rate_and_queue_bound_what_passes() -> None:
    party = Party(rate=1_000_000, queue=4)
    for _ in range(20):
        party.ports[1].send(frame(ALL, mac(1), bytes(111)))
    party.run()
    times = [at for at, _ in party.heard[2]]
    assert times == [ms(number) for number in range(1, len(times) + 1)]
    assert len(times) == 4
    assert party.lan.statistics().lost == {"queue full": 20 - len(times)}


@pytest.mark.parametrize("discipline", ["droptail", "codel"])
def test_a_short_frame_takes_one_place_in_the_queue_as_a_long_one_does(discipline: str) -> None:
    party = Party(rate=1_000_000, queue=4, discipline=discipline)
    for size in (1_500, 1_500, 60, 60, 60):
        party.ports[1].send(frame(ALL, mac(1), bytes(size)))
    party.run()
    sizes = [len(data) - 14 for _, data in party.heard[2]]
    assert sizes[:4] == [1_500, 1_500, 60, 60] and party.lan.statistics().lost.get("queue full", 0) <= 1


def test_order_is_kept_under_jitter_and_not_under_reorder() -> None:
    def order(**faults: object) -> list[int]:
        party = Party(latency=ms(1), **faults)
        for number in range(200):
            party.world.call_at(Ns(number * 50_000), party.ports[1].send, frame(ALL, mac(1), bytes([number])))
        party.run()
        return [data[-1] for _, data in party.heard[2]]

    assert order(jitter=ms(5)) == list(range(200))
    shuffled = order(reorder=0.2)
    assert shuffled != sorted(shuffled) and sorted(shuffled) == list(range(200))


def test_loss_and_duplication_happen_as_often_as_told_and_are_noted() -> None:
    party = Party(loss=0.3, duplicate=0.2)
    for number in range(1_000):
        party.ports[1].send(frame(ALL, mac(1), number.to_bytes(2, "big")))
    party.run()
    lost = sum(bool(seen.lost) for seen in party.capture.frames)
    twice = sum(seen.fate == "duplicated" for seen in party.capture.frames)
    assert 240 < lost < 360 and 90 < twice < 200
    assert len(party.heard[2]) == 1_000 - lost + twice
    assert len(party.world.recorder.events("lan.drop")) == lost


def test_the_same_seed_loses_the_same_frames() -> None:
    def lost(seed: int) -> list[int]:
        party = Party(seed, loss=0.5)
        for _ in range(64):
            party.ports[1].send(frame(ALL, mac(1)))
        return [seen.n for seen in party.capture.frames if seen.lost]

    assert lost(1) == lost(1) != lost(2)


def test_the_cause_of_a_frame_is_the_event_that_sent_it() -> None:
    party = Party(latency=ms(1))
    party.world.cause = 42
    party.ports[1].send(frame(ALL, mac(1)))
    assert party.capture.frames[0].cause == 42


def test_faults_change_while_it_runs_and_are_told() -> None:
    party = Party()
    assert party.lan.set(loss=0.5, latency=0) == {"loss": (0.0, 0.5)}
    for bad in ({"loss": 2}, {"latency": 1.5}, {"speed": 1}, {"rate": 0}):
        with pytest.raises(LocalProtocolError):
            party.lan.set(**bad)


def test_what_is_no_frame_does_not_pass() -> None:
    party = Party()
    party.ports[1].send(b"short")
    party.ports[1].send(bytes(70_000))
    party.run()
    assert party.lan.statistics().frames == 0 and party.lan.statistics().lost == {"short": 1, "long": 1}


def test_the_table_of_stations_is_bounded() -> None:
    party = Party()
    for number in range(10_000):
        party.ports[1].send(frame(ALL, b"\x02\0" + number.to_bytes(4, "big")))
    assert len(party.lan._stations) <= 4_096


def test_a_netif_is_a_network_on_a_port() -> None:
    party = Party()
    queue = party.world.queue("host")
    netif = Netif(queue, party.lan, "02:00:00:00:00:09", "host9")
    heard: list[bytes] = []
    netif.listen(heard.append)
    party.ports[1].send(frame(ALL, mac(1)))
    party.run()
    netif.writev([mac(1), mac(9), b"\x08\x00"])
    party.run()
    assert len(heard) == 1 and len(party.heard[1]) == 1
    assert (netif.get_stats_counters().rx_pkts, netif.get_stats_counters().tx_bytes) == (1, 14)
    with pytest.raises(LocalProtocolError, match="MTU"):
        netif.write(bytes(1_515))

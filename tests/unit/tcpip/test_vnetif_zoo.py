"""The lans of mirage-tcpip's tests (lib_test/vnetif_backends.ml): a megabyte and more crosses each of them whole."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.testing import Pair

DATA = random.Random(7).randbytes(1_200_000)


class Transfer:
    """`one` sends DATA to `other` in one connection."""

    def __init__(self, seed: int = 3, profile: str = "today", **faults: Any) -> None:
        self.pair = Pair(seed, profile, **({"latency": ms(1)} | faults))
        self.got = hashlib.sha256()
        self.size = 0

        async def serve(flow: TcpFlow) -> None:
            while piece := await flow.read():
                self.got.update(piece)
                self.size += len(piece)
            await flow.close()

        self.pair.other.listen_tcpv4(80, serve)

    async def send(self) -> None:
        flow = await self.pair.one.tcpv4.create_connection(("10.0.0.2", 80))
        await flow.write(DATA)
        await flow.close()
        assert await flow.read() == b""

    def whole(self) -> bool:
        return self.size == len(DATA) and self.got.digest() == hashlib.sha256(DATA).digest()


def test_basic() -> None:
    transfer = Transfer()
    transfer.pair.run(transfer.send())
    assert transfer.whole() and transfer.pair.lan.statistics().lost == {}
    transfer.pair.close()


def test_trailing_bytes_are_no_part_of_a_packet() -> None:
    """Ethernet pads short frames, and some cards leave more behind: IP knows its own length (RFC 894)."""
    transfer = Transfer(trailing=10)
    transfer.pair.run(transfer.send())
    assert transfer.whole() and transfer.pair.one.tcpv4.statistics().retransmitted == 0
    transfer.pair.close()


def test_a_frame_over_the_size_is_refused_by_the_interface_and_the_stack_sends_none() -> None:
    transfer = Transfer(mtu=1_500)
    with pytest.raises(LocalProtocolError, match="MTU of 1500"):
        transfer.pair.nets[0].write(bytes(1_515))
    transfer.pair.run(transfer.send())
    assert transfer.whole() and transfer.pair.lan.statistics().lost == {}
    transfer.pair.close()


@pytest.mark.parametrize("profile", ["today", "2014"])
def test_a_second_of_darkness_after_a_megabyte(profile: str) -> None:
    transfer = Transfer(profile=profile)
    task = transfer.pair.queues[0].spawn(transfer.send(), "send")
    world, lan = transfer.pair.world, transfer.pair.lan
    while lan.statistics().bytes < 1 << 20:
        world.advance(Ns(world.now + ms(1)))
    dark = world.now
    lan.set(blackout=(dark, dark + seconds(1)))
    world.advance(Ns(dark + seconds(1)))
    assert not transfer.whole() and lan.statistics().lost["blackout"] > 0
    world.advance(Ns(world.now + seconds(120)))
    assert task.done and transfer.whole()
    told = [event for event in world.recorder.events("tcp.rto") if event.t >= dark]
    assert told and transfer.pair.one.tcpv4.statistics().retransmitted > 0
    transfer.pair.close()


@pytest.mark.parametrize("profile", ["today", "2014"])
def test_a_tenth_of_the_pure_acks_may_go_missing(profile: str) -> None:
    """Acknowledgments add up: what a lost one said the next one says too."""
    transfer = Transfer(profile=profile, ack_loss=0.1)
    transfer.pair.run(transfer.send())
    lost = transfer.pair.lan.statistics().lost
    assert transfer.whole() and lost["ACK loss"] > 20 and set(lost) == {"ACK loss"}
    transfer.pair.close()


def test_corrupted_frames_are_caught_by_a_checksum_and_sent_again() -> None:
    transfer = Transfer(corrupt=0.02)
    transfer.pair.run(transfer.send())
    caught = transfer.pair.other.statistics()
    assert transfer.whole()
    assert caught.tcpv4.dropped["checksum"] > 5 and transfer.pair.one.tcpv4.statistics().retransmitted > 5
    transfer.pair.close()


@pytest.mark.parametrize("discipline", ["droptail", "red", "codel"])
def test_a_bottleneck_with_any_discipline_lets_everything_through(discipline: str) -> None:
    transfer = Transfer(rate=20_000_000, queue=100, discipline=discipline, loss=0.001, burst=3)
    transfer.pair.run(transfer.send())
    assert transfer.whole()
    transfer.pair.close()

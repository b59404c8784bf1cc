"""vnetif: Ethernet without wires: segments that lose, delay and reorder as they are told, and a NETWORK on a port.

    port ──send──▶ capture ──▶ faults ──▶ bridge (learns where each MAC is) ──world.call_at──▶ receive of the other ports

The original: mirage-vnetif.  Read segment, then netif, then tap, where a port is an interface of this computer.
"""

from mirage_lab.vnetif.netif import Netif
from mirage_lab.vnetif.segment import LanStatistics, Port, Segment
from mirage_lab.vnetif.tap import Tap

__all__ = ["LanStatistics", "Netif", "Port", "Segment", "Tap"]

"""usernet: between the lab's lans and the computer it runs on, without root, in the manner of slirp.

    curl ─ 127.0.0.1:8080 ─ HostSocket ─ submit ─▶ │ Link ─ tcpip stack of the gateway ─ lan ─▶ unikernel        (a forward)
    host server ◀─ HostSocket ◀────────────────────│ Link ◀─ gateway:5432 ◀─ lan ◀─ unikernel                   (allow_outbound)

Left of the bar is the host: sockets, watched by `world.host`, never inside an event.  Right of it is the world: what comes
from the host is a journalled command at the next 1 ms tick, so a replay opens no socket.  `unix` is the other way to reach
the host: the socket stack of target unix; `fileblock` is its disk.
"""

from mirage_lab.usernet.gateway import Forward, ForwardStatistics, Gateway

__all__ = ["Forward", "ForwardStatistics", "Gateway"]

"""default_console: CONSOLE: the domain's console ring on Xen, standard output on unix."""

from __future__ import annotations

from mirage_lab.functoria import Impl
from mirage_lab.tool.devices.catalogue import fitting

default_console = Impl(
    "default_console",
    "CONSOLE",
    connect=lambda os, keys: os.console,
    implementation="mirage_lab.xen.guest.console",
    why="prints lines",
    fitting=fitting,
)

"""tool: the mirage front end: from a description to an image, and the command line (mirage lib/mirage.ml).

    job ── configuring ──▶ Plan ── building ──▶ Image        describing   the device graph as text and picture
    config.py ── cli: configure, depend, build, run, clean   running      target unix: on host sockets
    devices/  one small file for each device                 native/      guests in C and assembly

Read devices, configuring, then building.
"""

from mirage_lab.tool import devices, native
from mirage_lab.tool.configuring import Plan, configure
from mirage_lab.tool.depending import register
from mirage_lab.tool.running import Running

__all__ = ["Plan", "Running", "configure", "devices", "native", "register"]

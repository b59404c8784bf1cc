"""frames: what a plot needs to know of each captured frame.

The bytes are read by `tcpip.dissect`; here a frame gets a sender and a receiver by address, an IP address where there is
one, so that an ARP question and the TCP segment it was asked for come from the same host.
"""

from __future__ import annotations

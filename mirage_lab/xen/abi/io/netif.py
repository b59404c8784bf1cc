"""io/netif.h: the two rings of a virtual interface, 256 slots each.

    tx request   gref u32 | offset u16 | flags u16 | id u16 | size u16      12 bytes      response  id u16 | status i16
    rx request   id u16 | pad u16 | gref u32                                 8 bytes      response  id u16 | offset u16 | flags u16 | status i16

tx: the front end grants a page to read; a frame of several pieces has NETTXF_more_data on all but the last, and the first
tells the whole size.  rx: the front end grants empty pages to write; the status of a response is the size, or negative.
"""

import struct
from typing import Final

TX_REQUEST: Final = struct.Struct("<IHHHH")
TX_RESPONSE: Final = struct.Struct("<Hh8x")
"""A response in its slot of 12 bytes."""
RX_REQUEST: Final = struct.Struct("<HxxI")
RX_RESPONSE: Final = struct.Struct("<HHHh")
TX_SLOT: Final = 12
RX_SLOT: Final = 8
SLOTS: Final = 256

NETTXF_CSUM_BLANK: Final = 1
NETTXF_DATA_VALIDATED: Final = 2
NETTXF_MORE_DATA: Final = 4
NETTXF_EXTRA_INFO: Final = 8

NETIF_RSP_DROPPED: Final = -2
NETIF_RSP_ERROR: Final = -1
NETIF_RSP_OKAY: Final = 0
NETIF_RSP_NULL: Final = 1

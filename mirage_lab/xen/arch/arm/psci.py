"""psci: what firmware answers: power of CPUs and of the machine (ARM DEN 0022, PSCI 1.1; DEN 0028, SMC calling convention).

A function is a number; its result is 0 or more, or one of the negative codes below.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["Power", "answer"]

NOT_SUPPORTED: Final = -1
INVALID_PARAMETERS: Final = -2
ALREADY_ON: Final = -4
VERSION: Final = 0x1_0001
TRUSTED_OS_NONE: Final = 2
_WIDE: Final = 0x4000_0000


class Power(Enum):
    """What a call asks of the machine."""

    NOTHING = "nothing"
    SUSPEND = "suspend"
    OFF = "off"
    SYSTEM_OFF = "system off"
    SYSTEM_RESET = "system reset"


_FUNCTIONS: Final = {
    1: Power.OFF,  # CPU_OFF of PSCI 0.1, as the device tree numbers it
    0x8400_0001: Power.SUSPEND,
    0x8400_0002: Power.OFF,
    0x8400_0008: Power.SYSTEM_OFF,
    0x8400_0009: Power.SYSTEM_RESET,
}
_VERSIONS: Final = {0x8400_0000: VERSION, 0x8000_0000: VERSION, 0x8400_0006: TRUSTED_OS_NONE}
_ASKABLE: Final = frozenset({*_FUNCTIONS, *_VERSIONS, 0x8400_0003, 0x8400_0004, 0x8400_000A} - {1})


def answer(function: int, first: int) -> tuple[Power, int]:
    """Return what a function with this first argument does, and its result."""
    number = function & 0xFFFF_FFFF
    if number & 0xFF00_0000 == 0xC400_0000:
        number &= ~_WIDE  # the same, with arguments of 64 bits
    if number in _FUNCTIONS:
        return _FUNCTIONS[number], 0
    if number in _VERSIONS:
        return Power.NOTHING, _VERSIONS[number]
    match number:
        case 2 | 0x8400_0003:  # CPU_ON: the only one runs already
            return Power.NOTHING, INVALID_PARAMETERS if first & 0xFF_00FF_FFFF else ALREADY_ON
        case 0x8400_0004:  # AFFINITY_INFO: 0 is on
            return Power.NOTHING, INVALID_PARAMETERS if first & 0xFF_00FF_FFFF else 0
        case 0x8400_000A:  # PSCI_FEATURES
            asked = first & 0xFFFF_FFFF
            asked = asked & ~_WIDE if asked & 0xFF00_0000 == 0xC400_0000 else asked
            return Power.NOTHING, 0 if asked in _ASKABLE else NOT_SUPPORTED
    return Power.NOTHING, NOT_SUPPORTED

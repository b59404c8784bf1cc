"""Exit: why a CPU stopped running, as a value."""

from __future__ import annotations

from enum import Enum

__all__ = ["Exit", "Why"]


class Why(Enum):
    """What a CPU stops for."""

    HYPERCALL = "hypercall"
    """The guest asks: vmcall or vmmcall on x86, hvc on ARM; the program counter is behind it."""
    FIRMWARE = "firmware"
    """The guest asks what firmware would answer: hvc #0 or smc on ARM (PSCI); the program counter is behind it."""
    SYSCALL = "syscall"
    """syscall of x86-64, which Unicorn leaves to us; the program counter is behind it, and nothing else has happened."""
    MSR = "msr"
    """rdmsr or wrmsr; the program counter is behind it, and a read waits for its answer in the registers."""
    IO = "io"
    """in or out of a port of x86, which nobody answers at once; the program counter is behind it, and an in waits for its answer in the registers."""
    MMIO = "mmio"
    """An access to where a device is; it has not happened, and the program counter is at it: `Cpu.access` goes on."""
    HALT = "halt"
    """hlt or wfi: nothing to do until an interrupt."""
    FAULT = "fault"
    """The guest cannot go on: `detail` says why, for a person."""
    EXCEPTION = "exception"
    """An exception or software interrupt, with `vector` and `error`: whoever runs the CPU delivers it."""
    BUDGET = "budget"
    """The instructions that were allowed are used up."""
    TIME = "time"
    """The guest has looked at the clock, and it is as late as it may be."""
    TIMER = "timer"
    """The guest has written to its timer, on ARM: the deadline may be another."""
    BREAK = "break"
    """The next instruction is at a breakpoint."""


class Exit:
    """One exit: `why`, the `instructions` executed since the last, and what else is known of it.

    MSR: `number`, and `value` when it was written (None: read).  IO: the same, with the port, and `size` in bytes; MMIO too, with
    the physical address.  EXCEPTION: `vector`, `error` (its code, None without one);
    on ARM `error` is the syndrome as ESR_EL1 has it, `number` the fault status of 32 bits, `value` the address of a fault.
    """

    __slots__ = ("detail", "error", "instructions", "number", "size", "value", "vector", "why")

    def __init__(
        self,
        why: Why,
        instructions: int = 0,
        *,
        number: int = 0,
        size: int = 0,
        value: int | None = None,
        vector: int = 0,
        error: int | None = None,
        detail: str = "",
    ) -> None:
        self.why = why
        self.instructions = instructions
        self.number = number
        self.size = size
        self.value = value
        self.vector = vector
        self.error = error
        self.detail = detail

    def __repr__(self) -> str:
        told = f" {self.number:#x}" + ("" if self.value is None else f" = {self.value:#x}")
        more = {
            Why.MSR: told,
            Why.IO: told,
            Why.MMIO: told,
            Why.EXCEPTION: f" {self.vector}" + ("" if self.error is None else f", error code {self.error:#x}"),
            Why.FAULT: f": {self.detail}",
        }.get(self.why, "")
        return f"<Exit {self.why.value}{more}, {self.instructions:,} instructions>"

"""emulator: the one file that imports Unicorn, and knows its ways.

    * a run is bounded by a number of instructions: to stop one from outside, by a timer or a thread, repeats instructions
    * hooks of loads and stores never stop a run, for the same reason; those used here may
    * what is raised inside a hook is kept, and ends the run: Unicorn would make a fault of the guest of it, or nothing
    * to take memory or translated code away, it looks the address up in the guest's page tables: a page fault, if it is not there, that
      the guest never made; three of those, and the next exception of the guest counts as the third in a row.  So the CPU is put back
    * what was executed is counted by Unicorn, which tells nobody; where it keeps that number is found by a trial run

Measured with Unicorn 2.1.4.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from mirage_lab.signatures.errors import MirageError

__all__ = ["Batch", "Emulator", "GuestsMissing", "missing"]

PAGE: Final = 4096
_COUNT: Final = struct.Struct("<Q")
_SPAN: Final = 2_048
"""Bytes at the beginning of Unicorn's own record that are looked through for its counter."""
_WIDE: Final = re.compile(r"[gil]dtr$|tr$|cp_reg|[xyz]?mm\d|st\d|fp\d|[qv]\d|msr")
"""Registers that are not a number of up to 64 bits."""
_places: dict[str, int] = {}
MISSING: Final = "guests of machine code need an emulator of CPUs: pip install 'mirage_lab[guests]' (unicorn, GPL v2)"
SystemRegister = tuple[int, int, int, int, int]


class GuestsMissing(MirageError):
    """The emulator of CPUs is not installed."""


def unicorn() -> Any:
    """Return the module; raises GuestsMissing."""
    try:
        import unicorn as module
    except ImportError:
        raise GuestsMissing(MISSING) from None
    return module


def missing() -> str:
    """Return how to get what guests of machine code need; "" when it is there.  Nothing is imported for it."""
    from importlib.util import find_spec

    try:
        there = find_spec("unicorn") is not None
    except ValueError:
        there = False
    return "" if there else MISSING


class Batch:
    """Some registers of a CPU, read or written in one call: one call costs less than two."""

    __slots__ = ("_count", "_handle", "_ids", "_pointers", "_read", "_values", "_write")

    def __init__(self, module: Any, handle: Any, ids: Sequence[int]) -> None:
        library = module.unicorn_py3.unicorn.uclib
        self._read, self._write = library.uc_reg_read_batch, library.uc_reg_write_batch
        self._handle = handle
        self._count = len(ids)
        self._ids = (ctypes.c_int * len(ids))(*ids)
        self._values = (ctypes.c_uint64 * len(ids))()
        start = ctypes.addressof(self._values)
        self._pointers = (ctypes.c_void_p * len(ids))(*(start + 8 * n for n in range(len(ids))))

    def read(self) -> list[int]:
        """Return the values, in order."""
        self._read(self._handle, self._ids, self._pointers, self._count)
        return self._values[:]

    def write(self, *values: int) -> None:
        """Set them, in order."""
        self._values[:] = values  # type: ignore[call-overload]
        self._write(self._handle, self._ids, self._pointers, self._count)


class Emulator:
    """One CPU of Unicorn: `arch` is "x86" or "arm64" or "arm".  Registers have the names of the manual, in small letters."""

    __slots__ = (
        "_at", "_buffers", "_counter", "_devices", "_get", "_handle", "_plain", "_registers", "_set", "_uc", "_value", "access", "arch", "failed",
        "module", "stored",
    )  # fmt: skip

    def __init__(self, arch: str) -> None:
        self.module = module = unicorn()
        self.arch = arch
        kinds = {
            "x86": (module.UC_ARCH_X86, module.UC_MODE_64),
            "arm64": (module.UC_ARCH_ARM64, module.UC_MODE_ARM),
            "arm": (module.UC_ARCH_ARM, module.UC_MODE_ARM),
        }
        self._uc = module.Uc(*kinds[arch])
        if arch == "arm":
            self._uc.ctl_set_cpu_model(module.arm_const.UC_CPU_ARM_CORTEX_A9)  # what an A7 has and it has not, traps: timer, hvc, division
        self._handle = ctypes.cast(self._uc._uch, ctypes.c_void_p).value or 0
        self._registers: dict[str, int] = {}
        self._plain: dict[str, int] = {}
        library = module.unicorn_py3.unicorn.uclib
        self._get, self._set = library.uc_reg_read, library.uc_reg_write
        self._value = (ctypes.c_uint64 * 2)()
        self._at = ctypes.addressof(self._value)
        self._buffers: dict[int, tuple[int, Any]] = {}
        self._devices: list[tuple[int, int]] = []
        self.access = "read"
        """Within a call of `on_unmapped`: read, write or fetch."""
        self.stored = 0
        """Within one for a write: the value."""
        self.failed: BaseException | None = None
        """What one of our own functions raised within the last run."""
        if module.__version__ not in _places:
            _places[module.__version__] = _find_counter(module)
        where = _places[module.__version__]
        self._counter = ctypes.c_uint64.from_address(self._handle + where) if where >= 0 else ctypes.c_uint64(0)
        self._uc.ctl_exits_enabled(True)
        self._uc.ctl_set_exits([])  # any address may be an instruction, 0 too

    # registers and memory ----------------------------------------------------------------------------------------

    def _id(self, name: str) -> int:
        found = self._registers.get(name)
        if found is None:
            consts = getattr(self.module, f"{self.arch}_const")
            found = getattr(consts, f"UC_{self.arch.upper()}_REG_{name.upper()}", None)
            if found is None:
                raise KeyError(f"{self.arch} has no register {name!r}")
            self._registers[name] = found
            if not _WIDE.match(name):
                self._plain[name] = found
        return int(found)

    def read(self, name: str, argument: Any = None) -> Any:
        """Return a register: a number, or for a descriptor table a tuple."""
        plain = self._plain.get(name)
        if plain is not None:
            value = self._value
            value[0] = 0
            self._get(self._handle, plain, self._at)
            return value[0]
        if argument is None:
            return self._uc.reg_read(self._registers.get(name) or self._id(name))
        return self._uc.reg_read(self._id(name), argument)

    def write(self, name: str, value: Any) -> None:
        """Set a register."""
        plain = self._plain.get(name)
        if plain is not None:
            self._value[0] = value & 0xFFFF_FFFF_FFFF_FFFF
            self._set(self._handle, plain, self._at)
        else:
            self._uc.reg_write(self._registers.get(name) or self._id(name), value)

    def batch(self, *names: str) -> Batch:
        """Return some registers of 64 bits, to be read or written together."""
        return Batch(self.module, self._uc._uch, [self._id(name) for name in names])

    def msr(self, number: int, value: int | None = None) -> int:
        """Return, or set, a model-specific register of x86."""
        cell = self._value  # uc_x86_msr: number, value
        cell[0], cell[1] = number, value or 0
        (self._get if value is None else self._set)(self._handle, self.module.x86_const.UC_X86_REG_MSR, self._at)
        return cell[1]

    def system(self, key: tuple[int, ...], value: int | None = None) -> int:
        """Return, or set, a system register of ARM: (crn, crm, op0, op1, op2) of 64 bits, (cp, is64, ns, crn, crm, op1, op2) of 32."""
        if value is None:
            return int(self._uc.reg_read(self._id("cp_reg"), key))
        self._uc.reg_write(self._id("cp_reg"), (*key, value))
        return value

    def map(self, address: int, buffer: Any, *, writable: bool = True, executable: bool = True) -> None:
        """Have guest-physical memory at `address` be `buffer` (whole pages), which stays shared; raises ValueError."""
        size = len(buffer)
        taken = any(start < address + size and address < start + length for start, (length, _) in self._buffers.items())
        if address % PAGE or size % PAGE or not size or taken:
            raise ValueError(f"{size:#x} bytes at {address:#x} cannot be mapped there: not whole pages, or something is there already")
        kept = (ctypes.c_char * size).from_buffer(buffer)
        protect = self.module.UC_PROT_READ | (self.module.UC_PROT_WRITE if writable else 0) | (self.module.UC_PROT_EXEC if executable else 0)
        self._uc.mem_map_ptr(address, size, protect, ctypes.addressof(kept))
        self._buffers[address] = (size, kept)

    def unmap(self, address: int) -> None:
        """Take back what `map` put at `address`; raises KeyError."""
        size, _ = self._buffers[address]
        before = self._uc.context_save()
        self._uc.mem_unmap(address, size)
        self._uc.context_restore(before)
        del self._buffers[address]

    def device(self, address: int, size: int, read: Callable[[int, int], int], write: Callable[[int, int, int], None]) -> None:
        """Have reads and writes at `address` go to functions: read(offset, size) and write(offset, size, value)."""
        reads, writes = self._kept(read, 0), self._kept(write)
        self._uc.mmio_map(address, size, lambda uc, at, width, data: reads(at, width), None, lambda uc, at, width, value, data: writes(at, width, value), None)
        self._buffers[address] = (size, None)
        self._devices.append((address, address + size))

    def device_in(self, begin: int, end: int) -> bool:
        """True if a device is somewhere from `begin` to `end`."""
        return any(first < end and begin < last for first, last in self._devices)

    @property
    def devices(self) -> list[tuple[int, int]]:
        """Where reads and writes go to functions: (address, size)."""
        return [(address, size) for address, (size, kept) in self._buffers.items() if kept is None]

    def forget_code(self, address: int = 0, size: int = 0) -> None:
        """What was translated may have changed; without a place, all of it."""
        if size:
            before = self._uc.context_save()
            self._uc.ctl_remove_cache(address, address + size)
            self._uc.context_restore(before)
        else:
            self._uc.ctl_flush_tb()

    def forget_addresses(self) -> None:
        """What is remembered of page tables may have changed."""
        self._uc.ctl(self.module.UC_CTL_TLB_FLUSH, self.module.UC_CTL_IO_WRITE)

    # hooks -------------------------------------------------------------------------------------------------------

    def _kept(self, fn: Callable[..., Any], otherwise: Any = None) -> Callable[..., Any]:
        """Return `fn` as a hook: what it raises is kept for the end of the run, which is now."""

        def called(*args: Any) -> Any:
            try:
                return fn(*args)
            except BaseException as error:
                self.failed = self.failed or error
                self._uc.emu_stop()
                return otherwise

        return called

    def on_invalid(self, fn: Callable[[], bool]) -> None:
        """Call `fn` for an instruction the CPU does not know; True if it was dealt with."""
        fn = self._kept(fn, True)
        self._uc.hook_add(self.module.UC_HOOK_INSN_INVALID, lambda uc, data: fn())

    def on_interrupt(self, fn: Callable[[int], None]) -> None:
        """Call `fn` with the number of an exception or software interrupt."""
        fn = self._kept(fn)
        self._uc.hook_add(self.module.UC_HOOK_INTR, lambda uc, number, data: fn(number))

    def on_unmapped(self, fn: Callable[[int, int], bool]) -> None:
        """Call `fn(address, size)` for an access where there is no memory; True after memory was put there."""
        fn = self._kept(fn, False)
        kinds = self.module.UC_HOOK_MEM_READ_UNMAPPED | self.module.UC_HOOK_MEM_WRITE_UNMAPPED | self.module.UC_HOOK_MEM_FETCH_UNMAPPED
        names = {self.module.UC_MEM_WRITE_UNMAPPED: "write", self.module.UC_MEM_FETCH_UNMAPPED: "fetch"}

        def called(uc: Any, access: int, address: int, size: int, value: int, data: Any) -> bool:
            self.access, self.stored = names.get(access, "read"), value & (1 << 8 * size) - 1
            return bool(fn(address, size))

        self._uc.hook_add(kinds, called)

    def on_protected(self, fn: Callable[[int], None]) -> None:
        """Call `fn(address)` for a store to memory that may only be read: it does not happen."""
        fn = self._kept(fn)

        def called(uc: Any, access: int, address: int, size: int, value: int, data: Any) -> bool:
            fn(address)
            return False

        self._uc.hook_add(self.module.UC_HOOK_MEM_WRITE_PROT, called)

    def on_translated(self, fn: Callable[[int, int], None]) -> None:
        """Call `fn(address, size)` when a block was translated and is about to run for the first time; it may stop the run."""
        fn = self._kept(fn)
        self._uc.hook_add(self.module.UC_HOOK_EDGE_GENERATED, lambda uc, block, before, data: fn(block.pc, block.size))

    def on_code(self, begin: int, end: int, fn: Callable[[int], None]) -> Any:
        """Call `fn(address)` before each instruction from `begin` to `end`, both included; return what takes the hook away."""
        fn = self._kept(fn)
        return self._uc.hook_add(self.module.UC_HOOK_CODE, lambda uc, address, size, data: fn(address), None, begin, end)

    def on_block(self, fn: Callable[[int, int], None]) -> Any:
        """Call `fn(address, size)` before each basic block."""
        fn = self._kept(fn)
        return self._uc.hook_add(self.module.UC_HOOK_BLOCK, lambda uc, address, size, data: fn(address, size))

    def record_blocks(self, add: Callable[[int], None]) -> Any:
        """Call `add(address)` before each basic block, as fast as can be: it may neither fail nor stop."""
        return self._uc.hook_add(self.module.UC_HOOK_BLOCK, lambda uc, address, size, data: add(address))

    def record_code(self, add: Callable[[int], None]) -> Any:
        """Call `add(address)` before each instruction: it may neither fail nor stop."""
        return self._uc.hook_add(self.module.UC_HOOK_CODE, lambda uc, address, size, data: add(address))

    def unhook(self, hook: Any) -> None:
        """Take a hook away."""
        self._uc.hook_del(hook)

    def on_syscall(self, fn: Callable[[], None]) -> None:
        """Call `fn` for a syscall instruction of x86."""
        fn = self._kept(fn)
        self._uc.hook_add(self.module.UC_HOOK_INSN, lambda uc, data: fn(), None, 1, 0, self.module.x86_const.UC_X86_INS_SYSCALL)

    def on_cpuid(self, fn: Callable[[], bool]) -> None:
        """Call `fn` for cpuid; True if it has set the registers."""
        fn = self._kept(fn, True)
        self._uc.hook_add(self.module.UC_HOOK_INSN, lambda uc, data: int(fn()), None, 1, 0, self.module.x86_const.UC_X86_INS_CPUID)

    def on_rdtsc(self, fn: Callable[[], bool]) -> None:
        """Call `fn` for rdtsc and rdtscp; True if it has set the registers."""
        fn = self._kept(fn, True)
        from unicorn.unicorn_py3.arch import intel

        for name in ("UC_X86_INS_RDTSC", "UC_X86_INS_RDTSCP"):

            def called(handle: Any, key: Any, fn: Callable[[], bool] = fn) -> int:
                return int(fn())

            kept = intel.HOOK_INSN_CPUID_CFUNC(called)  # the binding has no type of its own for them
            self._uc._Uc__do_hook_add(self.module.UC_HOOK_INSN, kept, 1, 0, ctypes.c_int(getattr(self.module.x86_const, name)))

    def on_ports(self, read: Callable[[int, int], int], write: Callable[[int, int, int], None]) -> None:
        """Have x86's in and out go to read(port, size) and write(port, size, value)."""
        consts, read, write = self.module.x86_const, self._kept(read, 0), self._kept(write)
        self._uc.hook_add(self.module.UC_HOOK_INSN, lambda uc, port, size, data: read(port, size), None, 1, 0, consts.UC_X86_INS_IN)
        self._uc.hook_add(self.module.UC_HOOK_INSN, lambda uc, port, size, value, data: write(port, size, value), None, 1, 0, consts.UC_X86_INS_OUT)

    def on_system(self, crn: int, read: Callable[[SystemRegister], int | None], write: Callable[[SystemRegister, int], bool]) -> None:
        """Have mrs and msr of 64-bit ARM, of registers with that crn, go to read((op0, op1, crn, crm, op2)) and write(..., value).

        None and False: the CPU does it.  Unicorn calls for each mrs, and a kernel has one in a hundred instructions: so the
        call is made without the binding's own, which takes three times as long.
        """
        consts, set_register = self.module.arm64_const, self._uc.reg_write
        words = ctypes.POINTER(ctypes.c_uint32)  # crn, crm, op0, op1, op2, nothing, value
        kind = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_int, words, ctypes.c_void_p)

        def reading(handle: Any, register: int, it: Any, key: Any) -> int:
            if it[0] != crn:
                return 0
            value = read((it[2], it[3], it[0], it[1], it[4]))
            if value is None:
                return 0
            set_register(register, value)
            return 1

        def writing(handle: Any, register: int, it: Any, key: Any) -> int:
            return int(it[0] == crn and write((it[2], it[3], it[0], it[1], it[4]), it[6] | it[7] << 32))

        for called, instruction in ((reading, consts.UC_ARM64_INS_MRS), (writing, consts.UC_ARM64_INS_MSR)):
            self._uc._Uc__do_hook_add(self.module.UC_HOOK_INSN, kind(called), 1, 0, ctypes.c_int(instruction))

    # running -----------------------------------------------------------------------------------------------------

    def start(self, address: int, count: int) -> str:
        """Run up to `count` instructions; return what went wrong, empty if nothing did.  What a hook raised is in `failed`."""
        self.failed = None
        try:
            self._uc.emu_start(address, 0, count=count)
        except self.module.UcError as error:
            wrong = str(error)
        else:
            wrong = ""
        if self.failed is not None and not isinstance(self.failed, Exception):
            raise self.failed  # the watchdog, or ^C
        return wrong

    def stop(self) -> None:
        """Stop before the next instruction: only within a hook of an instruction."""
        self._uc.emu_stop()

    @property
    def executed(self) -> int:
        """Instructions of the last run, and one more if it was stopped for having had its count."""
        return self._counter.value

    def save(self) -> bytes:
        """Return every register there is, as Unicorn keeps them."""
        saved = self._uc.context_save()
        return bytes(ctypes.string_at(ctypes.cast(saved.context, ctypes.c_void_p).value or 0, saved.size))

    def peek(self, offset: int, size: int) -> bytes:
        """Return some bytes of what `save` returns."""
        saved = self._uc.context_save()
        return ctypes.string_at((ctypes.cast(saved.context, ctypes.c_void_p).value or 0) + offset, size)

    def restore(self, saved: bytes) -> None:
        """Set all registers again."""
        context = self._uc.context_save()
        where = ctypes.cast(context.context, ctypes.c_void_p).value or 0
        ctypes.memmove(where, saved, min(len(saved), context.size))
        self._uc.context_restore(context)


def _find_counter(module: Any) -> int:
    """Find where Unicorn counts instructions: the one number that follows what was executed in three trial runs."""
    uc = module.Uc(module.UC_ARCH_X86, module.UC_MODE_64)
    page = mmap.mmap(-1, PAGE)
    page[:] = b"\x90" * (PAGE - 1) + b"\xf4"  # nop; hlt
    kept = (ctypes.c_char * PAGE).from_buffer(page)
    uc.mem_map_ptr(PAGE, PAGE, module.UC_PROT_ALL, ctypes.addressof(kept))
    handle = ctypes.cast(uc._uch, ctypes.c_void_p).value or 0
    found = set(range(0, _SPAN, 8))
    for count in (1_234, 77, 3_001):
        uc.emu_start(2 * PAGE - count, 0, count=PAGE)
        record = ctypes.string_at(handle, _SPAN)
        found = {at for at in found if _COUNT.unpack_from(record, at)[0] == count}
    return min(found) if len(found) == 1 else -1

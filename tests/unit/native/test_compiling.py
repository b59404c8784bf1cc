"""Guests of our own: compiled from C or assembly, with what their machines want in front, and what a mistake in them says."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import pytest

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

from mirage_lab import Lab, compile_guest, ms, native
from mirage_lab.signatures.errors import MirageError, UnknownName
from mirage_lab.skeleton.native import source
from mirage_lab.tool.native import CompileError, NativeMissing, toolchain
from mirage_lab.tool.native.cache import Cache, directory_of, key_of
from mirage_lab.tool.native.hexed import read_hex
from mirage_lab.tool.native.places import Place, place_at, with_places
from mirage_lab.tool.native.reach import check_assembly, check_source, source_lines
from mirage_lab.xen.abi import event_channel, grant_table, hvm, memory, sched, shared_info
from mirage_lab.xen.abi.io import console, xs_wire
from mirage_lab.xen.dom0.elf import read_elf
from mirage_lab.xen.dom0.image import Image

ARCHES = ("x86_64", "aarch64", "armv7")
MAIN = "#include <guest.h>\nint main(void)\n{\n    return 0;\n}\n"


def wrong(text: str, arch: str = "x86_64", **options: str | int | bool) -> CompileError:
    """The error that a source leads to."""
    with pytest.raises(CompileError) as caught:
        compile_guest(text, arch, "cell", **options)  # type: ignore[arg-type]
    return caught.value


def said_by(image: Image) -> str:
    """The console of a guest that has ended."""
    with Lab(seed=1) as lab:
        vm = lab.create(image)
        vm.unpause()
        lab.run(ms(2))
        assert vm.state == "shutdown"
        return vm.console.text


# images --------------------------------------------------------------------------------------------------------------


def test_an_x86_image_is_an_elf_file_with_the_note_that_says_where_it_begins() -> None:
    elf = read_elf(native.hello().data)
    assert elf.phys32_entry == elf.segments[0].physical == 0x10_0000


def test_an_aarch64_image_begins_with_the_header_of_a_linux_image() -> None:
    data = native.hello("aarch64").data
    text_offset, size, flags = struct.unpack_from("<QQQ", data, 8)
    assert (data[56:60], text_offset, size, flags) == (b"ARM\x64", 0x8_0000, len(data), 0xA)


def test_an_armv7_image_has_the_magic_of_a_zimage_its_begin_and_its_end() -> None:
    data = native.hello("armv7").data
    assert struct.unpack_from("<III", data, 36) == (0x016F2818, 0, len(data))


def test_the_same_source_makes_the_same_bytes_wherever_it_is_compiled(tmp_path: Path) -> None:
    first, second = (compile_guest(MAIN, "aarch64", cache=Cache(tmp_path / name)) for name in ("one", "two"))
    assert first.data == second.data and first.manifest == second.manifest


def test_the_clock_of_the_compiler_is_that_of_the_world() -> None:
    assert said_by(compile_guest('#include <guest.h>\nint main(void) { print(__DATE__ "\\n"); return 0; }')) == "Jul 22 2014\n"


def test_a_guest_sees_its_command_line_and_says_what_main_returned() -> None:
    text = '#include <guest.h>\nint main(void) { printf("%s\\n", cmdline); return 7; }'
    assert said_by(compile_guest(text, cmdline="a=1 b")) == "a=1 b\nmain returned 7\n"


def test_numbers_and_text_are_printed_as_c_prints_them() -> None:
    rows = (
        ('"%d %i %u", -5, 7, 4000000000u', "-5 7 4000000000"),
        ('"%x %08lx %lld %llu", 255, 0x1234l, -123456789012345ll, ~0ull', "ff 00001234 -123456789012345 18446744073709551615"),
        ('"[%5d|%-5d|%05d|%5s|%-5s|%c%%]", 42, 42, -42, "ab", "cd", 33', "[   42|42   |-0042|   ab|cd   |!%]"),
        ('"%p %s %zu", (void *)0x1000, (char *)0, sizeof(long)', "0x1000 (null) 8"),
    )
    body = "".join(f'    printf({args}); print("\\n");\n' for args, _ in rows)
    assert said_by(compile_guest(f"#include <guest.h>\nint main(void)\n{{\n{body}    return 0;\n}}\n")).splitlines() == [text for _, text in rows]


def test_more_than_the_console_ring_holds_is_said_to_the_last_letter() -> None:
    text = '#include <guest.h>\nint main(void) { for (int i = 0; i < 1000; i++) printf("%d\\n", i); return 0; }'
    with Lab(seed=1) as lab:
        vm = lab.create(compile_guest(text))
        vm.unpause()
        lab.run(ms(100))
        assert vm.console.text == "".join(f"{n}\n" for n in range(1000)) and vm.state == "shutdown"


SIZES = {
    "evtchn_alloc_unbound": event_channel.ALLOC_UNBOUND_ARG,
    "evtchn_bind_interdomain": event_channel.BIND_INTERDOMAIN_ARG,
    "evtchn_bind_virq": event_channel.BIND_VIRQ_ARG,
    "sched_poll": sched.POLL_ARG,
    "sched_shutdown": sched.SHUTDOWN_ARG,
    "grant_entry_v1": grant_table.ENTRY,
    "gnttab_map_grant_ref": grant_table.MAP,
    "gnttab_unmap_grant_ref": grant_table.UNMAP,
    "gnttab_setup_table": grant_table.SETUP_TABLE_ARG,
    "gnttab_copy": grant_table.COPY_ARG,
    "xen_add_to_physmap": memory.ADD_TO_PHYSMAP_ARG,
    "xen_hvm_param": hvm.PARAM_ARG,
    "hvm_start_info": hvm.START_INFO,
    "hvm_memmap_table_entry": hvm.MEMMAP_ENTRY,
    "vcpu_time_info": shared_info.TIME_INFO,
    "xsd_sockmsg": xs_wire.HEADER,
}
OFFSETS = {
    "xencons_interface": {"out": console.OUT, "in_cons": console.IN_CONS, "out_cons": console.OUT_CONS, "out_prod": console.OUT_PROD},
    "xenstore_domain_interface": {"rsp": xs_wire.RSP, "req_cons": xs_wire.REQ_CONS, "rsp_cons": xs_wire.RSP_CONS},
    "gnttab_map_grant_ref": {"status": grant_table.MAP_STATUS, "handle": grant_table.MAP_HANDLE},
    "gnttab_unmap_grant_ref": {"status": grant_table.UNMAP_STATUS},
    "gnttab_copy": {"status": grant_table.COPY_STATUS},
}


@pytest.mark.parametrize("arch", ARCHES)
def test_the_structures_of_xen_h_are_laid_out_as_those_of_the_hypervisor(arch: str) -> None:
    layout = shared_info.X86_64 if arch == "x86_64" else shared_info.ARM
    words = {"evtchn_pending": 8 * layout.pending_word, "evtchn_mask": 8 * layout.mask_word, "wc_version": layout.wall_clock}
    claims = [f"sizeof(struct {name}) == {codec.size}" for name, codec in SIZES.items()] + [f"sizeof(struct vcpu_info) == {layout.info_size}"]
    claims += [f"offsetof(struct {name}, {field}) == {at}" for name, fields in {**OFFSETS, "shared_info": words}.items() for field, at in fields.items()]
    text = "#include <guest.h>\n" + "".join(f'_Static_assert({claim}, "{claim}");\n' for claim in claims)
    assert compile_guest(text + "int main(void) { return 0; }\n", arch).data and len(claims) > 25


# assembly ------------------------------------------------------------------------------------------------------------


def test_main_can_be_written_in_assembly() -> None:
    code = ("push %rbx", "mov $text, %edi", "call print", "xor %eax, %eax", "pop %rbx", "ret", ".section .rodata")
    text = "    .globl main\nmain:\n" + "".join(f"    {row}\n" for row in code) + 'text: .asciz "assembled\\n"\n'
    assert said_by(compile_guest(text, language="asm")) == "assembled\n"


BARE = """#include <xen.h>
    .section .note.Xen, "a", @note
    .long 4, 4, 18
    .asciz "Xen"
    .long _start
    .section .head, "ax", @progbits
    .code32
    .globl _start
_start:
    movl $__HYPERVISOR_console_io, %eax
    movl $CONSOLEIO_write, %ebx
    movl $5, %ecx
    movl $text, %edx
    vmcall
    movl $__HYPERVISOR_sched_op, %eax
    movl $SCHEDOP_shutdown, %ebx
    movl $reason, %ecx
    vmcall
text: .ascii "bare\\n"
    .p2align 2
reason: .long SHUTDOWN_poweroff
"""


def test_a_bare_guest_has_its_own_entry_and_nothing_of_ours() -> None:
    image = compile_guest(BARE, language="asm", bare=True)
    with Lab(seed=1) as lab:
        lab.create(image).unpause()
        lab.run(ms(1))
        assert "(d1) bare" in lab.machine.toolstack.dmesg()
    assert len(image.data) < 8192


@pytest.mark.parametrize(("arch", "header"), [("x86_64", "PHYS32_ENTRY"), ("aarch64", "byte 56"), ("armv7", "byte 36")])
def test_a_bare_guest_without_its_header_says_what_is_missing(arch: str, header: str) -> None:
    with pytest.raises(MirageError, match=header):
        compile_guest(".globl _start\n_start:\n nop\n", arch, language="asm", bare=True)


# mistakes ------------------------------------------------------------------------------------------------------------


def test_an_error_is_shown_at_its_line_with_a_caret() -> None:
    assert str(wrong("#include <guest.h>\n\nint main(void)\n{\n\tx = 1;\n}\n")) == (
        "cell: 1 error\nline 5: error: use of undeclared identifier 'x'\n        x = 1;\n        ^"
    )


def test_in_a_cell_the_line_of_the_magic_is_counted() -> None:
    error = wrong("int main(void) { return 0 }\n", first_line=2)
    assert "line 2: error: expected ';'" in str(error) and error.diagnostics[0].line == 1


def test_a_warning_is_in_the_manifest_from_the_cache_too() -> None:
    text = '#include <guest.h>\nint main(void)\n{\n    printf("%s", 5);\n    return 0;\n}\n'
    first, second = (compile_guest(text, name="w").manifest["compiler"] for _ in range(2))
    assert first == second and first.startswith("w: 1 warning\nline 4: warning: format specifies type 'char *'")


@pytest.mark.parametrize("arch", ARCHES)
def test_a_wrong_instruction_inside_c_is_shown_at_the_line_of_the_source(arch: str) -> None:
    error = wrong('#include <guest.h>\n\nint main(void)\n{\n    __asm__("frobnicate");\n    return 0;\n}\n', arch)
    assert [one.line for one in error.diagnostics] == [5] and "instruction" in str(error)


def test_a_wrong_instruction_of_assembly_is_shown_at_its_line() -> None:
    assert "line 4: error: invalid instruction mnemonic 'frobnicate'" in str(wrong("#include <xen.h>\n.globl main\nmain:\n frobnicate\n", language="asm"))


def test_a_function_that_is_nowhere_is_shown_where_it_is_called() -> None:
    error = wrong("void gone(void);\nint main(void)\n{\n    gone();\n    return 0;\n}\n")
    assert str(error) == "cell: 1 error\nline 4: error: undefined symbol: gone\n        gone();"


def test_lines_are_counted_as_the_compiler_counts_them() -> None:
    error = wrong("int main(void)\r\n{ /* \x0c \u2028 */\r\n    return x;\r\n} // \ud800\r\n")
    assert str(error).splitlines()[1:3] == ["line 3: error: use of undeclared identifier 'x'", "        return x;"]


def test_a_compiler_that_breaks_down_is_an_error_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert "cell: 1 error" in str(wrong("#pragma clang __debug crash\n" + MAIN))
    assert list(tmp_path.iterdir()) == []


def test_a_source_without_main_says_so() -> None:
    assert "undefined symbol: main" in str(wrong(""))


def test_a_hundred_errors_are_told_in_a_bounded_message_of_plain_text() -> None:
    error = wrong("".join(f"int f{n}(void) {{ return nothing{n} + \x1b[31m; }}\n" + "x" * 5000 + "\n" for n in range(100)))
    assert len(str(error)) < 8_000 and str(error).replace("\n", "").isprintable()


def test_what_is_not_there_to_be_compiled_for_or_from_is_named() -> None:
    with pytest.raises(MirageError, match="no architecture 'mips': x86_64, aarch64, armv7"):
        compile_guest(MAIN, "mips")
    with pytest.raises(MirageError, match="no language 'ada': c and asm"):
        compile_guest(MAIN, language="ada")
    with pytest.raises(MirageError, match="more than 1,048,576 letters"):
        compile_guest(" " * (1 << 20) + MAIN)
    with pytest.raises(UnknownName, match=r"no example 'goodbye': borrow\.c, fault\.c, hello\.c"):
        source("goodbye")


def test_without_a_compiler_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ziglang", None)
    with pytest.raises(NativeMissing, match=r"pip install 'mirage_lab\[native\]'"):
        compile_guest(MAIN)


# what a source may reach ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '#include "/etc/passwd"',
        '#include "../x86_64/start.S"',
        "#include <stdio.h>",
        '#define WHERE "/etc/passwd"\n#include WHERE',
        '#inc\\\nlude "/etc/passwd"',
        '%:include "/etc/passwd"',
        '#import "guest.h"',
        "#include_next <stdint.h>",
        'const char x[] = {\n#embed "/etc/passwd"\n};',
        '#if __has_include("/etc/passwd")\n#endif',
        '#if __has_embed("/etc/passwd")\n#endif',
    ],
)
def test_a_source_names_our_headers_and_no_other_file(text: str) -> None:
    error = wrong(f"{text}\nint main(void) {{ return 0; }}\n")
    assert "of this computer" in str(error) and "root" not in str(error) and error.diagnostics[0].line > 0


@pytest.mark.parametrize(
    "text",
    [
        '#/**/include "/etc/passwd"',
        '#/**/embed "/etc/passwd"',
        '/*\n*/ #include "/etc/passwd"',
        '__asm__(".inc" "bin \\"/etc/passwd\\"");',
        '__asm__("\\".incbin\\" \\"/etc/passwd\\"");',
        '__asm__(".INCBIN \\"/etc/passwd\\"");',
        '__asm__(".ascii \\"a\\"; .include \\"/etc/passwd\\"");',
        '__asm__(".macro m x\\n .inc\\\\x \\"/etc/passwd\\"\\n .endm\\n m bin");',
        '__asm__(".irp x, bin\\n .inc\\\\x \\"/etc/passwd\\"\\n .endr");',
        '#pragma comment(lib, "/etc/passwd")',
    ],
)
def test_what_is_hidden_from_the_first_look_is_found_by_the_second(text: str) -> None:
    """By the list of files that clang read, and in the assembly it wrote."""
    error = wrong(f"{text}\nint main(void) {{ return 0; }}\n")
    assert re.search("of this computer|no directive that|invalid preprocessing directive", str(error))  # older compilers know no #embed
    assert "root" not in str(error)


@pytest.mark.parametrize("text", ['.incbin "/etc/passwd"', "#define JOIN(a, b) a##b\nJOIN(.inc, bin) \"/etc/passwd\"", '#/**/include "/etc/passwd"'])
def test_assembly_reaches_no_file_either(text: str) -> None:
    error = wrong(f".globl main\nmain:\n{text}\n", language="asm")
    assert "root" not in str(error) and "computer" in str(error)


def test_text_that_only_looks_like_a_directive_is_text() -> None:
    text = '#include <guest.h>\nint main(void) { print(".incbin \\".macro\\" __asm__\\n"); return 0; }'
    assert said_by(compile_guest(text)) == '.incbin ".macro" __asm__\n'


def test_the_variables_that_clang_reads_of_this_computer_are_not_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret.h").write_text("#define SECRET 1\n")
    monkeypatch.setenv("CPATH", str(tmp_path))
    monkeypatch.setenv("C_INCLUDE_PATH", str(tmp_path))
    assert check_source("#include <secret.h>", frozenset({"secret.h"})) == []
    text = "#if defined(SECRET)\n#error seen\n#endif\n" + MAIN
    assert compile_guest(text, cache=Cache(tmp_path / "cache")).data


def test_lines_of_an_assembly_are_those_of_its_source() -> None:
    preprocessed = '# 1 "guest.S"\n# 1 "<built-in>" 1\nbuilt in\n# 3 "guest.S" 2\nthird\nfourth'
    assert source_lines(preprocessed, "guest.S", preprocessed=True) == [0, 0, 1, 2, 3, 4]
    compiled = '\t.file\t0 "/where" "guest.c" md5 0x1\n\t.loc\t0 7 2\n\tnop\n\t.file 1 "guest.h"\n\t.loc\t1 99 0\n\tnop'
    assert source_lines(compiled, "guest.c", preprocessed=False) == [0, 7, 7, 7, 7, 7]
    assert [one.line for one in check_assembly("a\n.incbin", [0, 12])] == [12]


def test_a_compilation_that_writes_too_much_is_stopped() -> None:
    with pytest.raises(MirageError, match="wrote more than 64 MiB"):
        compile_guest("char a[1 << 30] = {1};\nint main(void) { return a[5]; }")


def test_a_compilation_that_wants_too_much_memory_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "MOST_MEMORY", 160 << 20)
    monkeypatch.setattr(toolchain, "SECONDS", 5)
    with pytest.raises(MirageError, match=r"used more than 160 MiB|ran for more"):
        compile_guest("int table[] = {[0 ... 1 << 28] = 1};\nint main(void) { return table[3]; }")


def test_a_compilation_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "SECONDS", 0.2)
    grows = "#define A0(x) x x\n" + "".join(f"#define A{n}(x) A{n - 1}(A{n - 1}(x))\n" for n in range(1, 30))
    with pytest.raises(MirageError, match=r"ran for more than 0\.2 s and was stopped"):
        compile_guest(grows + "int main(void) { A29(;) return 0; }")


# the cache -----------------------------------------------------------------------------------------------------------


def test_what_was_compiled_once_is_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = compile_guest(MAIN, name="once")
    monkeypatch.setattr(toolchain.Toolchain, "run", None)
    assert compile_guest(MAIN, name="twice").data == first.data


def test_another_source_another_machine_or_another_header_is_another_key() -> None:
    assert len({key_of(*parts) for parts in (("a", "b"), ("ab",), ("a", "b", ""), ("b", "a"), (b"ab", "x"))}) == 5


def test_a_file_that_is_not_whole_counts_as_none(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("key", b"value")
    assert cache.get("key") == b"value"
    (tmp_path / "key").write_bytes((tmp_path / "key").read_bytes()[:-1])
    assert cache.get("key") is None and cache.get("other") is None


def test_the_oldest_files_go_when_there_are_too_many_or_they_are_too_large(tmp_path: Path) -> None:
    cache = Cache(tmp_path, most_files=3, most_bytes=1_000)
    for n in range(5):
        cache.put(f"key{n}", bytes(n))
        os.utime(tmp_path / f"key{n}", (n, n))
    cache.put("last", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key3", "key4", "last"]
    cache.put("large", bytes(900))
    assert [path.name for path in tmp_path.iterdir()] == ["large"]


def test_two_that_write_the_same_do_not_disturb_each_other(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    caches = [Cache(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: caches[n % 4].put("key", b"x" * 100_000), range(40)))
    assert caches[0].get("key") == b"x" * 100_000 and [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_cache_that_cannot_be_written_forgets_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file" / "below")
    cache.put("key", b"value")
    assert cache.get("key") is None and compile_guest(MAIN, cache=cache).data


def test_the_cache_is_where_a_person_keeps_caches() -> None:
    home = Path("home")
    assert directory_of({}, home, windows=False, mac=False) == home / ".cache" / "mirage_lab" / "native"
    assert directory_of({"XDG_CACHE_HOME": "x"}, home, windows=False, mac=False) == Path("x", "mirage_lab", "native")
    assert directory_of({}, home, windows=False, mac=True) == home / "Library" / "Caches" / "mirage_lab" / "native"
    assert directory_of({"LOCALAPPDATA": "y"}, home, windows=True, mac=False) == Path("y", "mirage_lab", "native")
    assert directory_of({"MIRAGE_LAB_CACHE": "z"}, home, windows=True, mac=False) == Path("z", "native")


# by hand -------------------------------------------------------------------------------------------------------------


def test_hello_put_together_by_hand_boots_and_says_hello_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ziglang", None)
    image = native.hello_hex()
    assert said_by(image) == "hello from machine code\n" and len(image.data) < 400


def words_of(instruction: str) -> list[str]:
    """An instruction as words, numbers in decimal."""
    words = re.sub(r"[][,]|\b(dword|byte|ptr|es:|esi)\b", " ", instruction).split()
    return [str(int(word, 0)) if word[0].isdigit() else word for word in words]


def test_the_instructions_of_hello_are_those_written_beside_its_bytes() -> None:
    capstone = pytest.importorskip("capstone")
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32)
    names = {"page + 8": "0x100100", "port + 8": "0x100110", "page": "0x1000f8", "port": "0x100108", "reason": "0x100118", "text": "0x10011c"}
    checked = []
    for line in source("hello.hex").splitlines():
        code, _, meaning = line.partition("#")
        if code.strip() and 0x88 <= int(code.split()[0], 16) < 0xF8:
            [found] = decoder.disasm(bytes.fromhex(code[4:]), 0)
            written = meaning.strip().split("   ")[0]
            for name, address in names.items():
                written = written.replace(name, address)
            if "rep" not in written and "mov esi" not in written:
                assert words_of(written) == words_of(f"{found.mnemonic} {found.op_str}")
            checked.append(found.mnemonic)
    assert len(checked) == 25 and checked.count("vmcall") == 4


def test_a_line_of_hex_that_is_none_or_out_of_place_is_named() -> None:
    assert read_hex("# nothing\n0000  01 02  # two\n\n0002 ff") == b"\x01\x02\xff"
    with pytest.raises(MirageError, match="line 2: it says offset 0004, and 0002 bytes came before"):
        read_hex("0000 01 02\n0004 03")
    with pytest.raises(MirageError, match="line 1: '0000 xyz'"):
        read_hex("0000 xyz")


# places --------------------------------------------------------------------------------------------------------------


def test_a_fault_is_told_with_its_function_and_line() -> None:
    places = (Place(0x100, "main", 3), Place(0x110, "main", 4), Place(0x200, "print", 0))
    assert place_at(places, 0x10F) == Place(0x100, "main", 3) and place_at(places, 0xFF) is None
    assert with_places("a page fault at 0x111, writing to address 0x100", places) == "a page fault at 0x111 (main, line 4), writing to address 0x100"
    assert with_places("division by zero at 0x204", places) == "division by zero at 0x204 (print)"
    assert with_places("at 0x1", places) == "at 0x1" and with_places("nowhere", places) == "nowhere"


@pytest.mark.parametrize("arch", ARCHES)
def test_the_names_of_functions_are_there_for_who_debugs_it(arch: str) -> None:
    for _ in range(2):
        with Lab(seed=1) as lab:
            lab.create(native.hello(arch))
            symbols = lab.debugger.symbols("hello")
            assert {"main", "print", "hypercall"} <= {name for _, _, name in symbols} and symbols.at(symbols.address("main") or 0) == "main"


@pytest.mark.parametrize("arch", ARCHES)
def test_every_line_with_code_has_its_place(arch: str) -> None:
    places = compile_guest('#include <guest.h>\n\nint main(void)\n{\n    print("a");\n    return 0;\n}\n', arch, first_line=2).manifest["places"]
    assert {place.line for place in places if place.function == "main"} >= {5, 6, 7}

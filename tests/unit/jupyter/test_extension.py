"""The notebook extension in an IPython shell without a kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def shell(ipython: Any) -> Iterator[Any]:
    with ipython() as made:
        made.run_line_magic("load_ext", "mirage_lab")
        made.run_cell("from mirage_lab import *\nfrom mirage_lab.signatures import *\nfrom mirage_lab.skeleton import web")
        yield made


@pytest.fixture
def cell(shell: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(text: str) -> str:
        capsys.readouterr()
        result = shell.run_cell(text, store_history=True)
        if result.error_in_exec is not None:
            raise result.error_in_exec
        return capsys.readouterr().out

    return run


def test_loading_again_changes_nothing(cell: Any) -> None:
    assert cell("%load_ext mirage_lab") == "The mirage_lab extension is already loaded. To reload it, use:\n  %reload_ext mirage_lab\n"
    assert cell("%reload_ext mirage_lab") == "mirage_lab is loaded already; nothing changed\n"


@pytest.mark.parametrize("magic", ["xl", "xenstore", "lab", "host", "mirage"])
def test_every_magic_helps(cell: Any, magic: str) -> None:
    assert "usage:" in cell(f"%{magic} -h")


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_tab_offers_the_commands(shell: Any) -> None:
    xl, lab = ("%xl d", ["destroy", "dmesg"]), ("%lab re", ["reset", "restore", "rewind"])
    for line, expected in (xl, lab, ("%xenstore l", ["log", "ls"]), ("%mirage c", ["clean", "configure"])):
        _, matches = shell.Completer.complete(line_buffer=line, cursor_pos=len(line))
        assert sorted(matches) == expected


def test_magics_work_on_the_lab_used_last(cell: Any) -> None:
    cell("lab = Lab.demo('web', seed=1)")
    assert "web                     1    32 blocked" in cell("%xl list")
    assert cell("%xl console web") == "listening on port 80\n"
    assert "(XEN) domain 1 (web) created: 32 MiB" in cell("%xl dmesg")
    assert cell("%xenstore read /local/domain/1/name") == "web\n"
    cell("%xenstore write /local/domain/1/data/x <img>")
    assert 'x = "<img>"' in cell("%xenstore ls /local/domain/1/data")
    cell("%xenstore chmod /local/domain/1/data/x n0 r1")
    cell("%xenstore rm /local/domain/1/data/x")
    assert "ENOENT" in cell("%xenstore read /local/domain/1/data/x")
    assert cell("%xl pause web").startswith("web is paused")
    assert cell("%xl unpause web").startswith("web is unpaused")
    assert "nothing changed" in cell("%xl unpause web")
    assert "there is no domain nobody" in cell("%xl pause nobody")
    assert "invalid choice" in cell("%xl fly")
    assert cell("%lab step 2") != ""
    assert cell("%lab play").startswith("playing from") and cell("%lab pause").startswith("paused")
    assert cell("%lab restore").endswith("(rewound)\n")
    assert cell("%lab rewind 0.5").startswith("t = ")
    assert cell("%lab undo") != "" and cell("%lab reset").startswith("reset")
    assert cell("%lab use lab") == "magics now mean lab\n" and "no lab" in cell("%lab use web")


def test_xl_create_is_strict(cell: Any) -> None:
    cell("lab = Lab(seed=2); lan = lab.lan('br0')")
    cell("job = web(devices.default_console, devices.direct_stackv4_with_default_ipv4(devices.netif('0')))")
    assert cell("%xl create job --vif br0").startswith("web is unpaused")
    assert "exists" in cell("%xl create job --vif br0")
    assert "there is no nothing in this notebook" in cell("%xl create nothing")
    assert cell("%xl destroy web") == "web: domid 1 destroyed\n"


def test_xl_create_plugs_in_disks(cell: Any, tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(b"\1" * 4_096)
    cell("from mirage_lab.skeleton import block; lab = Lab(seed=2); lab.run(ms(1)); job = block(devices.default_console, devices.block_of_file('disk.img'))")
    assert "block has a disk block('disk.img') and no such disk is plugged in" in cell("%xl create job")
    assert "No such file" in cell(f"%xl create job --disk {tmp_path}/nothing.img")
    assert cell(f"%xl create job --disk {tmp_path}/disk.img").startswith("block is unpaused")
    cell("lab.run(ms(20))")
    assert cell("%xl block-list block").startswith("block/xvda: disk.img, 4 KiB, 4 KiB written, in memory · ")
    assert cell(f"%xl block-attach block {tmp_path}/disk.img") == "block has a disk xvdb\n"
    assert "is pulled out" in cell("%xl block-detach block xvdb") and "has no disk xvdb; disks: xvda" in cell("%xl block-detach block xvdb")
    assert cell("%xl console block").splitlines()[-1] == "passed 6, failed 0" and (tmp_path / "disk.img").read_bytes() == b"\1" * 4_096


def test_host_runs_programs_without_a_shell_and_bounded(cell: Any, shell: Any) -> None:
    import sys

    shell.user_ns["python"] = sys.executable
    shell.user_ns["payload"] = "; echo pwned {other}"
    assert cell("%host {python} -c 'import sys; print(sys.argv[1])' {payload}").splitlines()[0] == "; echo pwned {other}"
    assert cell("%%host {python} -c 'print(input())'\nfrom the cell").startswith("from the cell\n")
    assert "ended with 3" in cell("%host {python} -c 'raise SystemExit(3)'")
    assert "was stopped after 0.3 s" in cell("%host -t 0.3 {python} -c 'while True: pass'")
    assert "is not installed on this computer" in cell("%host no-such-program-here")
    assert "there is no nobody in this notebook" in cell("%host {python} {nobody}")
    assert "has no nothing" in cell("%host {python} {lab.nothing}")
    out = cell("%host {python} -c 'print(\"x\" * 3_000_000)'")
    assert "more bytes of output were left out" in out and len(out) < 1_100_000


def test_host_plays_the_lab_meanwhile(cell: Any, shell: Any) -> None:
    import sys

    shell.user_ns["python"] = sys.executable
    shell.user_ns["get"] = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read())"
    cell("lab = Lab.demo('web', seed=1)\nsite = lab.forward('web', 80)")
    assert cell("%host {python} -c {get} {site.url}").splitlines() == [
        "b'hello\\n'",
        f"{Path(sys.executable).name} ended with 0 · the lab is paused again · next: the packets are in lab.capture('br0')",
    ]
    assert not shell.user_ns["lab"].playing


def test_a_crash_is_printed_by_the_cell_that_drives_with_cell_and_line(cell: Any) -> None:
    number = "import re"
    cell(number)
    cell("lab = Lab(seed=3)")
    cell("@unikernel\nasync def broken(console: Console) -> None:\n    1 / 0\nvm = lab.create(broken(devices.default_console)); vm.unpause()")
    said = cell("ran = lab.run(seconds(1))")
    assert said.startswith("broken: ZeroDivisionError: division by zero (cell ") and "line 3, in broken: 1 / 0)" in said


def test_a_unikernel_shows_words_and_a_picture(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[dict[str, str]] = []
    monkeypatch.setattr("IPython.display.publish_display_data", published.append)
    shell.run_cell("from mirage_lab.skeleton import web\nweb")
    words, picture = published
    assert words == {"text/plain": "web needs 2 devices: console (CONSOLE), stack (STACKV4). In MirageOS: CONSOLE -> STACKV4 -> JOB"}
    assert picture["image/svg+xml"].startswith("<svg")


def test_a_mistake_is_the_message_and_the_persons_line(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_cell("from mirage_lab.skeleton import web\n\nweb(devices.netif('0'))", store_history=True)
    said = capsys.readouterr().out
    assert "DeviceTypeError: web: the hole console wants CONSOLE, and netif is NETWORK; what fits: devices.default_console" in said
    assert "line 3: web(devices.netif('0'))" in said and "functor.py" not in said and "Traceback" not in said


def test_a_program_in_the_background_is_ended_with_the_kernel(cell: Any, shell: Any) -> None:
    import sys

    shell.user_ns["python"] = sys.executable
    assert "runs in the background, process" in cell("%host -b {python} -c 'while True: pass'")
    magics = shell._mirage_lab_extension
    [process] = magics._background
    assert process.poll() is None
    magics.stop_background()
    assert process.returncode is not None and magics._background == []


def test_xenstore_watch_prints_what_changes_below_a_path(cell: Any) -> None:
    cell("lab = Lab.demo('web', seed=1)\nfrom mirage_lab.skeleton import hello\nlab.create(hello(devices.default_console)).unpause()")
    cell("tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif('0'), address='10.0.0.9/24')")
    cell("lab.create(web(devices.default_console, tcpip), vif=['br0'], name='other').unpause()")
    said = cell("%xenstore watch /local/domain/3/device/vif/0 -t 0.1")
    assert "write /local/domain/3/device/vif/0/state 3" in said and "write /local/domain/3/device/vif/0/state 4" in said


def test_a_crash_while_playing_is_printed_by_the_next_cell(cell: Any, shell: Any) -> None:
    import threading

    cell("lab = Lab(seed=4)")
    cell("@unikernel\nasync def later(console: Console, time: Time):\n    await time.sleep(ms(20))\n    {}['gone']")
    cell("vm = lab.create(later(devices.default_console, devices.default_time)); vm.unpause(); lab.play()")
    waiting = threading.Event()
    for _ in range(500):
        if shell.user_ns["vm"].state == "crashed":
            break
        waiting.wait(0.01)
    said = cell("pass")
    assert said.startswith("later: KeyError: 'gone' (cell ") and "line 4, in later" in said
    cell("lab.pause()")


def test_a_cell_of_c_becomes_an_image_and_shows_only_what_is_wrong(cell: Any, shell: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("unicorn")
    pytest.importorskip("ziglang")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIRAGE_LAB_CACHE", str(tmp_path))
        assert cell("%%c hello --memory 8 --cmdline 'a b'\n#include <guest.h>\nint main(void)\n{\n    print(cmdline);\n    return 0;\n}\n") == ""
        image = shell.user_ns["hello"]
        assert (image.name, image.kind, image.memory_mib, image.cmdline) == ("hello", "elf", 8, "a b")
        assert cell("lab = Lab(seed=1); vm = lab.create(hello); vm.unpause(); ran = lab.run(ms(1)); print(vm.console.text)").splitlines()[-1] == "a b"
        assert cell("%%c warned\nint main(void)\n{\n    int unused;\n    return 0;\n}\n").startswith("warned: 1 warning\nline 4: warning: unused variable")
        shell.run_cell("%%c hello --arch armv7\nint main(void)\n{\n    return x;\n}\n", store_history=True)
        assert capsys.readouterr().out == "CompileError: hello: 1 error\nline 4: error: use of undeclared identifier 'x'\n        return x;\n               ^\n"
        assert shell.user_ns["hello"] is image
        assert cell("%%asm nothing\n    .globl main\nmain:\n    xor %eax, %eax\n    ret\n") == "" and shell.user_ns["nothing"].kind == "elf"
    assert "usage: %%c" in cell("%c -h") and "--bare" in cell("%asm -h")
    for line in ("%c hello", "c", "c + 1", "asm"):
        shell.run_cell(line)
        assert "is no variable in this notebook; %%" in capsys.readouterr().out
    assert "invalid choice: 'mips'" in cell("%%c hello --arch mips\nx")
    shell.run_cell("%%c two-words\nx")
    assert "'two-words' is no name of a variable" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_tab_offers_the_options_of_a_cell_that_is_a_guest(shell: Any) -> None:
    for line, expected in (("%%c x --a", ["--arch"]), ("%%c x --arch a", ["aarch64", "armv7"]), ("%%asm x --b", ["--bare"])):
        _, matches = shell.Completer.complete(line_buffer=line, cursor_pos=len(line))
        assert sorted(matches) == expected

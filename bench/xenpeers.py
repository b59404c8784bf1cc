"""The daemons of Xen beside ours: xenstored in C and oxenstored (package xen-utils-4.17), each on a socket of its own.

They ask for a hypervisor; `fakexen.c` (compiled here when there is a C compiler) tells them there is one.
Both keep the tree in memory only.  Permissions, watch permissions, quotas and merging are on, as Debian configures oxenstored.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

__all__ = ["peers"]

PLACES = sorted(Path("/usr/lib").glob("xen-4.*/bin"), reverse=True)
SHIM = Path(__file__).with_name("fakexen.c")
WORDS = {"xenstored": ["-N", "-F", "{folder}/pid"], "oxenstored": ["--no-fork", "--no-access-log", "--config-file", "{folder}/conf"]}
CONFIGURED = """pid-file = {folder}/pid
test-eagain = false
merge-activate = true
perms-activate = true
perms-watch-activate = true
quota-activate = true
quota-maxentity = 1000
quota-maxsize = 2048
quota-maxwatch = 100
quota-transaction = 10
quota-maxrequests = 1024
quota-path-max = 1024
persistent = false
xenstored-kva = /proc/xen/xsd_kva
xenstored-port = /proc/xen/xsd_port
"""


@contextmanager
def peers() -> Iterator[dict[str, str]]:
    """Start what is installed; the sockets by name, those of XENSTORE_PEERS ("name=socket,name=socket") among them."""
    found = dict(one.split("=", 1) for one in os.environ.get("XENSTORE_PEERS", "").split(",") if one)
    compiler = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
    with ExitStack() as stack:
        if compiler is not None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            shim = place / "fakexen.so"
            for name, words in WORDS.items():
                program = next((path for each in PLACES if (path := each / name).exists()), None)
                if program is None or name in found:
                    continue
                if not shim.exists():
                    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(shim), str(SHIM), "-ldl"], check=True)
                folder = place / name
                command = [str(program), *(word.format(folder=folder) for word in words)]
                found[name] = stack.enter_context(_started(command, folder, shim))
        yield found


@contextmanager
def _started(command: list[str], folder: Path, shim: Path) -> Iterator[str]:
    folder.mkdir()
    (folder / "xsd_port").write_text("5")
    (folder / "xsd_kva").write_bytes(bytes(4_096))
    (folder / "conf").write_text(CONFIGURED.format(folder=folder))
    environment = {**os.environ, "LD_PRELOAD": str(shim), "FAKEXEN_DIR": str(folder), "XENSTORED_RUNDIR": str(folder)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not (folder / "socket").exists():
                if process.poll() is not None:
                    raise RuntimeError(f"{command[0]} ended with {process.returncode}")
                time.sleep(0.02)
            yield str(folder / "socket")
        finally:
            process.kill()

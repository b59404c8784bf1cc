"""git, unmodified, reads the history of a lab's running xenstore."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from mirage_lab import Lab, ms


def test_git_clones_the_running_store_of_a_boot(require: Callable[[str], str], tmp_path: Path) -> None:
    git = require("git")
    with Lab.demo("web", seed=1) as lab:
        server = lab.xenstore.serve()
        done = subprocess.run([git, "clone", "-q", server.http, str(tmp_path / "boot")], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

        def ask(*words: str) -> str:
            return subprocess.run([git, "-C", str(tmp_path / "boot"), *words], capture_output=True, text=True, timeout=60, check=True).stdout

        subprocess.run([git, "-C", str(tmp_path / "boot"), "fsck", "--strict"], check=True, capture_output=True, timeout=60)
        graph = ask("log", "--graph", "--format=%an: %s", "main")
        assert "Domain 1: " in graph and "Domain 0: " in graph and len(graph.splitlines()) >= 8
        assert "(value web)" in ask("show", "main:local.dir/domain.dir/1.dir/name.value")
        lab.xenstore.write("/tool/later", "yes")
        lab.run(ms(1))
        ask("fetch", "-q")
        assert "(value yes)" in ask("show", "origin/main:tool.dir/later.value")

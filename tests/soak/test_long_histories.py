"""Histories as long as years make them: they stay on disk, and memory stays bounded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(3_600)
COMMITS = 1_000_000
GIB = 1 << 30

PROGRAM = """
import gc, json, resource, sys
from mirage_lab.irmin import BYTES, Repo
from mirage_lab.irmin.git import Git
keys = [f"k{a}/k{b}/k{c}" for a in range(10) for b in range(10) for c in range(10)]
repo = Repo(BYTES, Git(sys.argv[1], "group"))
store = repo.branch()
for number in range(int(sys.argv[2])):
    store.set(keys[number * 7 % 1000], b"v%d" % number)
    if number % 16 == 0:
        repo.settle()
repo.settle()
resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"resident": resident, "head": store.head.name.hex(), "last": store.get(keys[number * 7 % 1000]).decode()}))
repo.close()
"""
READER = """
import json, sys
from mirage_lab.irmin import BYTES, Repo
from mirage_lab.irmin.git import Git
repo = Repo(BYTES, Git(sys.argv[1]))
store = repo.branch()
print(json.dumps({"head": store.head.name.hex(), "commits": len(store.history(10))}))
repo.close()
"""


def test_a_million_commits_stay_under_a_gibibyte(tmp_path: Path) -> None:
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "s.git"), str(COMMITS)]
    told = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    sys.stderr.write(f"{COMMITS:,} commits: {told['resident'] / (1 << 20):,.0f} MiB at most\n")
    assert told["last"] == f"v{COMMITS - 1}" and told["resident"] < GIB
    again = json.loads(subprocess.run([sys.executable, "-c", READER, str(tmp_path / "s.git")], capture_output=True, text=True, check=True).stdout)
    assert again == {"head": told["head"], "commits": 10}

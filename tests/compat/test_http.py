"""curl against cohttp, through a forward: one connection for two pages, HEAD, chunks, 1.0, and paths that lead nowhere."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mirage_lab import Lab, devices
from mirage_lab.skeleton import site

FILES = {"index.html": "<h1>it works</h1>\n", "data/big.bin": bytes(range(256)) * 4_096}


@pytest.fixture
def url() -> Iterator[str]:
    """A site behind a port of this computer."""
    with Lab(seed=1) as lab:
        lan = lab.lan("br0")
        stack = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24", gateway="10.0.0.1")
        vm = lab.create(site(devices.default_console, devices.crunch(FILES), devices.http_server(stack)), vif=[lan])
        vm.unpause()
        forward = lab.forward(vm, 80)
        lab.play()
        yield str(forward.url).rstrip("/")
        lab.pause()


def test_curl_is_served(url: str, require: Callable[[str], str], tmp_path: Path) -> None:
    curl = require("curl")

    def say(*words: str, data: bytes = b"") -> tuple[bytes, str]:
        done = subprocess.run([curl, "-sS", "-v", "--max-time", "20", *words], input=data, capture_output=True, check=False)
        return done.stdout, done.stderr.decode("latin-1")

    page, told = say(f"{url}/", f"{url}/index.html")
    assert page == b"<h1>it works</h1>\n" * 2 and "Re-using existing connection" in told.replace("Reusing", "Re-using") and told.count("HTTP/1.1 200") == 2
    assert say(f"{url}/data/big.bin")[0] == FILES["data/big.bin"]
    head, told = say("-I", f"{url}/data/big.bin")
    assert b"content-length: 1048576" in head.lower() and b"200 OK" in head
    assert say("--http1.0", f"{url}/")[0] == b"<h1>it works</h1>\n"
    _, told = say("-H", "Transfer-Encoding: chunked", "--data-binary", "@-", f"{url}/", data=b"x" * 5_000)
    assert "HTTP/1.1 405" in told and "allow: GET, HEAD" in told.lower().replace("get, head", "GET, HEAD")
    (tmp_path / "much").write_bytes(bytes(2 << 20))
    _, told = say("-T", str(tmp_path / "much"), f"{url}/")
    assert "HTTP/1.1 413" in told
    for path in ("/../../etc/passwd", "//etc/passwd", "/%2e%2e/etc/passwd", "/index.html/../../x", "/no"):
        body, told = say("--path-as-is", f"{url}{path}")
        assert "HTTP/1.1 404" in told and body == b"no such page\n", path

"""Import: how long `import mirage_lab` and the three names of the first cell take in a new Python; the peer is asyncio."""

from __future__ import annotations

from bench.fresh import Fresh
from bench.row import Row

__all__ = ["run"]

PROGRAM = """
import time
began = time.perf_counter()
{line}
print(time.perf_counter() - began)
"""


def run() -> list[Row]:
    """Measure."""
    lines = ("import asyncio", "import mirage_lab", "from mirage_lab import Lab, configure, devices")
    with Fresh.start() as fresh:
        rounds = [[fresh.run(PROGRAM.format(line=line))[0] for line in lines] for _ in range(6)]
    peer, bare, three = (min(times) * 1e3 for times in zip(*rounds))
    told = f"import asyncio: {peer:.0f} ms"
    return [
        Row("import mirage_lab", bare, "ms", "< 200", bare < 200, told, bare / peer),
        Row("from mirage_lab import Lab, configure, devices", three, "ms", "", None, told, three / peer),
    ]

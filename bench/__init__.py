"""bench: what the lab costs, and peers side by side: `make bench` measures and writes docs/benchmarks.md.

Goals live here and never in timed tests.  Each module has `run() -> list[Row]`.
"""

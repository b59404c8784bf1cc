"""Arms that no test can miss, and why: most are short cuts, whose other way round gives the same."""

EQUIVALENT: dict[str, str] = {
    "rtt.Rtt.rto: if not self.backoff": "a short cut: no backoff is a shift by nothing",
}

"""Arms that no test can miss, and why: most are short cuts, whose other way round gives the same."""

_SLOW = "the quick way: the slow one comes to the same"
EQUIVALENT: dict[str, str] = {
    "pcb.Pcb.receive: if self.state is State.ESTABLISHED and segment.flags in _PLAIN and (segment.seq == self.rcv_nxt) and (segment.ecn != CE)": _SLOW,
    "pcb.Pcb._predicted: if 0 < count <= self.snd_nxt - self.snd_una & MASK": _SLOW,
    "pcb.Pcb._predicted: if segment.ack == self.snd_una and (not self.reassembly.size) and (not self.pressed) and (len(payload) <= self.rcv_adv - self.rcv_nxt & MASK) and (segment.window << self.snd_scale == self.snd_wnd)": _SLOW,  # noqa: E501
    "pcb.Pcb._synchronized: if self.state is State.CLOSED": "a connection that is gone sends nothing, whatever it takes",
    "pcb.Pcb._take_data: if self.reassembly.size": "a short cut: there is nothing to take",
    "rtt.Rtt.rto: if not self.backoff": "a short cut: no backoff is a shift by nothing",
}

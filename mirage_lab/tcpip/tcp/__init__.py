"""TCP (RFC 9293): the connection as a pure machine, and its skin.

    segment, now ──▶ Pcb.receive ──▶ happenings (bits)        states.py      the table of states, drawn and tested from there
             now ──▶ Pcb.transmit ─▶ segments to send         rtt.py         RTO (RFC 6298)
             now ──▶ Pcb.on_deadline                          newreno.py     congestion control (RFC 5681, 6582, 3042)
                     Pcb.next_deadline ──▶ ns or None         reassembly.py  data that came too early, bounded
                                                              profile.py     numbers of today and of 2014

`pcb` and what it is made of never look at a clock and never import the runtime; `flow` (a FLOW on a Pcb) and `tcpv4` (all
connections of one address) are the skin.  The original: mirage-tcpip lib/tcp.  Read states, pcb, then flow.
"""

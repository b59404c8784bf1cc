"""TCP (RFC 9293): the connection as a pure machine, and its skin.

    segment, now ──▶ Pcb.receive ──▶ happenings (bits)        states      the table of states, drawn and tested from there
             now ──▶ Pcb.transmit ─▶ segments to send         profile     numbers of today and of 2014
             now ──▶ Pcb.on_deadline                          reassembly  data that came too early, and what SACK tells of it
                     Pcb.next_deadline ──▶ ns or None         numbers     first sequence numbers (RFC 6528); cookies (RFC 4987)

A Pcb is built up by kind: variables, output (what may be sent), timers, calls (its user), pcb (what comes in).  What of the
data sent has arrived or is lost is found by

    recovery     the phases: open, reduced, recovery, loss; Eifel (RFC 3522)       scoreboard  a record per segment (RFC 6675)
    rack         losses by time, and the probe of the tail (RFC 8985)              rtt         the timeout (RFC 6298)
    prr          a window shrinks within one round trip (RFC 9937)

and how much may be under way is said by one of the algorithms of `congestion`: newreno (RFC 5681), cubic (RFC 9438, with
hystart, RFC 9406), bbr.  To write another is to write a class with the names of `congestion.Congestion`.

None of these looks at a clock or imports the runtime; `flow` (a FLOW on a Pcb) and `tcpv4` (all connections of one address)
are the skin.  The original: mirage-tcpip lib/tcp.  Read states, pcb, output, recovery, then flow.
"""

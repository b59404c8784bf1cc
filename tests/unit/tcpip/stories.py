"""How many stories of TCP begin."""

ACTIVE = """
    connect
    expect SYN seq 0
    at 20 ms receive SYN ACK seq 0 ack 1 win 60000 mss 1000
    expect ACK seq 1 ack 1
    expect state ESTABLISHED
"""
PASSIVE = """
    listen
    receive SYN seq 0 win 60000 mss 1000
    expect SYN ACK seq 0 ack 1
    receive ACK seq 1 ack 1 win 60000
    expect state ESTABLISHED
"""
SELECTIVE = ACTIVE.replace("mss 1000", "mss 1000 sackok")

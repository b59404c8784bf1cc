"""Solutions of 03-ethernet-and-arp."""

LOST = """
def again(nth):
    lab = Lab(seed=5, name="again")
    lan = lab.lan("br0", latency=ms(1))
    trace = lab.capture(lan)

    def start(job, address):
        stack = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address=address)
        lab.create(job(devices.default_console, stack), vif=[lan]).unpause()
        lab.run(seconds(3))

    start(web, "10.0.0.2/24")
    lan.set(nth=(nth,))
    start(caller, "10.0.0.5/24")
    return trace

lost = again({nth})
"""

EXERCISES = {
    "exercise-1": {
        "right": "heard = 1",
        "wrong": "heard = 9",
        "says": "so many frames reach it",
        "secret": ["heard = 1"],
    },
    "exercise-2": {
        "right": 'frame = "ffffffffffff 020000000009 0806 0001 0800 06 04 0002 020000000009 0a000009 ffffffffffff 0a000004"',
        "wrong": 'frame = "ffffffffffff 020000000007 0806 0001 0800 06 04 0002 020000000009 0a000009 ffffffffffff 0a000004"',
        "says": "the frame comes from 02:00:00:00:00:07",
        "secret": ["0002 020000000009 0a000009"],
    },
    "exercise-3": {
        "right": LOST.replace("{nth}", "2"),
        "wrong": LOST.replace("{nth}", "3"),
        "says": "what it loses is the first question",
        "secret": ["again(2)"],
    },
}

"""Solutions of 17-build-your-own-device."""

TIDY = """
class Tidy(Packed):
    def unpacked(self, key):
        return super().unpacked(key).strip()

values = {}
"""

OVERLAY = """
class Overlay:
    id = "overlay"
    def __init__(self, top, bottom):
        self.top, self.bottom = top, bottom

    async def read(self, key, offset=0, length=None):
        try:
            return await self.top.read(key, offset, length)
        except UnknownKey:
            return await self.bottom.read(key, offset, length)

    async def size(self, key):
        {size}

    async def disconnect(self):
        pass
"""

SITE = """
new = devices.crunch({{"index.html": b"<h1>new</h1>"}})
old = devices.crunch({{"index.html": b"<h1>old</h1>", "about.html": b"since 2014"}})
site = Impl(
    "overlay", "KV_RO", connect=lambda os, keys, one, other: Overlay({order}),
    implementation="__main__", args=(new, old), holes=("KV_RO", "KV_RO"), why="new pages over old ones",
)
"""

END = """
class End:
    mtu = 1500
    def __init__(self, name, mac):
        self.id, self.mac, self.receive, self.other = name, mac, None, None
        self.reset_stats_counters()

    def write(self, frame):
        {refuse}
        self.tx_pkts, self.tx_bytes = self.tx_pkts + 1, self.tx_bytes + len(frame)
        self.other.arrived(frame)

    def arrived(self, frame):
        self.rx_pkts, self.rx_bytes = self.rx_pkts + 1, self.rx_bytes + len(frame)
        if self.receive is not None:
            self.receive(frame)

    def writev(self, pieces):
        self.write(b"".join(pieces))

    def listen(self, receive):
        self.receive = receive

    def get_stats_counters(self):
        return NetworkStats(self.rx_bytes, self.rx_pkts, self.tx_bytes, self.tx_pkts)

    def reset_stats_counters(self):
        self.rx_bytes = self.rx_pkts = self.tx_bytes = self.tx_pkts = 0

    async def disconnect(self):
        self.receive = None
"""

EXERCISES = {
    "exercise-1": {
        "right": TIDY.replace("{}", '{"a": b" not tidy at all\\n"}'),
        "wrong": TIDY.replace("{}", '{"a": b"tidy", "b": b"a b  c"}'),
        "says": "it gives all that is asked for",
        "secret": ["strip", "white", "blank", "newline"],
    },
    "exercise-2": {
        "right": OVERLAY.format(
            size="""try:
            return await self.top.size(key)
        except UnknownKey:
            return await self.bottom.size(key)"""
        ),
        "wrong": OVERLAY.format(size="return await self.top.size(key)"),
        "says": "✗ 3. its size is its length in bytes",
        "secret": ["except", "try:", "bottom.size"],
    },
    "exercise-3": {
        "right": SITE.format(order="one, other"),
        "wrong": SITE.format(order="other, one"),
        "says": "what is new goes before what is old",
        "secret": ["lambda", "Overlay(", 'holes=("KV_RO"'],
    },
    "exercise-4": {
        "right": END.format(refuse='if len(frame) > self.mtu + 14: raise LocalProtocolError(f"{self.id}: {len(frame)} bytes")'),
        "wrong": END.format(refuse="if len(frame) > self.mtu + 14: return"),
        "says": "a frame over the MTU is a LocalProtocolError",
        "secret": ["join", "raise "],
    },
}

"""Exercises of 08-static-website, and a visitor who says to a web server whatever a person types."""

from __future__ import annotations

import inspect
from typing import Any, Final

from mirage_lab.cohttp import Request, Response
from mirage_lab.runtime import tasks
from mirage_lab.signatures import Console, StackV4, unikernel
from mirage_lab.signatures.units import ms, seconds
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import ran, story
from mirage_lab.testing.story import Story
from mirage_lab.tool import devices

__all__ = ["check_callback", "check_connections", "check_request", "say", "visitor"]

CONNECTIONS: Final = {"one": 1, "two": 2}


@unikernel
async def visitor(console: Console, stack: StackV4, *, said: str = "", pause_ms: int = 0) -> None:
    """Say something to port 80 of 10.0.0.2, a character every `pause_ms` or all at once, and show what comes back."""
    flow = await stack.tcpv4.create_connection(("10.0.0.2", 80))

    async def write() -> None:
        for piece in said if pause_ms else [said]:
            await flow.write(piece.encode())
            await tasks.sleep(ms(pause_ms))

    async with tasks.nursery() as writing:
        writing.start(write(), "write")
        while data := await flow.read():
            for line in data.decode("latin-1").splitlines():
                console.log(line)
        console.log(f"(closed by the server at {await tasks.now() / 1e9:.1f} s)")
        writing.cancel()
    await flow.close()


def say(lab: Any, said: str, *, pause_ms: int = 0, wait: float = 1) -> str:
    """Let a visitor at 10.0.0.9 say `said` (backslash-n is a line end of HTTP) and return what it saw within `wait` virtual seconds."""
    stack = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.9/24")
    job = visitor(devices.default_console, stack, said=said.replace("\n", "\r\n"), pause_ms=pause_ms)
    vm = lab.create(job, vif=[lab.lan("br0")], name="visitor")
    vm.unpause()
    lab.run(seconds(wait))
    return str(vm.console.text)


@exercise
def check_connections(one: object, two: object) -> Story:
    """How many connections two requests took: sent by one `say`, and by two."""
    told = story("connections and requests")
    for name, given in (("one", one), ("two", two)):
        told.true(f"{name}: a number is given", isinstance(given, int), "nothing is there yet: replace the dots" if given is ... else f"{given!r} is none")
        hint = "a connection begins with a SYN: trace.filter('tcp.flags.syn == 1 and tcp.flags.ack == 0')"
        told.true(f"{name}: so many SYNs are in the trace", given == CONNECTIONS[name], f"{given!r} is not what it holds", hint)
    return told


@exercise
def check_request(said: object) -> Story:
    """A request written by hand: GET of /about.txt, HTTP/1.1, of a client that wants the connection closed after it."""
    import h11

    told = story("a request by hand")
    told.true("a text is given", isinstance(said, str), "nothing is there yet: replace the dots" if said is ... else f"{type(said).__name__}, no text")
    assert isinstance(said, str)
    told.true("it ends with an empty line", said.endswith("\n\n"), "how is the server to know that no header follows?")
    server = h11.Connection(h11.SERVER)
    server.receive_data(said.replace("\n", "\r\n").encode("latin-1", "replace"))
    try:
        event = server.next_event()
    except h11.RemoteProtocolError as error:
        told.fail("it is a request", f"h11 says  {error}")
    told.true("it is a request", isinstance(event, h11.Request), f"h11 read {type(event).__name__}")
    assert isinstance(event, h11.Request)
    wanted = (event.method, event.target) == (b"GET", b"/about.txt")
    told.true("it asks for what it should", wanted, f"it says {event.method.decode()} {event.target.decode()}")
    told.true("it is HTTP/1.1", event.http_version == b"1.1", f"it is HTTP/{event.http_version.decode()}")
    headers = dict(event.headers)
    told.true("it says that it wants no more", headers.get(b"connection", b"").lower() == b"close", "which header tells the server to close?")
    return told


@exercise
def check_callback(callback: Any) -> Story:
    """A callback that greets: /hello?name=Ada is "hello Ada", other paths are not found, other methods not allowed."""
    told = story("a callback")
    nothing = "nothing is there yet: replace the dots" if callback is ... else "write: async def callback(request)"
    told.true("it is async", inspect.iscoroutinefunction(callback), nothing)

    def answer(method: str, target: str) -> Response:
        given = ran(told, lambda: callback(Request(method, target, (("host", "10.0.0.2"),))))
        told.true(f"{method} {target} gets a Response", isinstance(given, Response), f"it gets {given!r}")
        assert isinstance(given, Response)
        return given

    for name in ("Ada", "Grace"):
        greeted = answer("GET", f"/hello?name={name}")
        told.true(f"{name} is greeted", (greeted.status, greeted.body.strip()) == (200, f"hello {name}".encode()), f"it is {greeted.status} {greeted.body!r}")
    told.true("another path is not found", (found := answer("GET", "/nobody").status) == 404, f"the status is {found}")
    told.true("nobody may write here", (found := answer("POST", "/hello?name=Ada").status) == 405, f"the status is {found}")
    return told

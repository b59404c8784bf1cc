"""What guests say is text, whatever it looks like; and a guest that spins keeps nobody from the page."""

from __future__ import annotations

import json
import time

from playwright.sync_api import expect

from tests.browser.conftest import DEMO, Desk, notebook

PAYLOAD = "<img src=x onerror=window.owned=1><script>window.owned=1</script>"
PATH = PAYLOAD.replace(" ", "/")
"""The same for a browser; without spaces it is a path that a server takes for one."""


def nothing_of_it_is_an_element(desk: Desk) -> None:
    """Neither the picture nor the script of the payload is in the page, and neither has run."""
    assert desk.page.evaluate("() => document.querySelectorAll('img[onerror], .mirage-lab script, .jp-OutputArea script').length") == 0
    assert desk.page.evaluate("() => window.owned === undefined")


def test_html_from_a_guest_never_becomes_an_element(desk: Desk) -> None:
    cells = [
        DEMO,
        f"payload = {json.dumps(PAYLOAD)}\n"
        "from mirage_lab.signatures import Console, StackV4\n"
        "@unikernel\n"
        "async def evil(console: Console, stack: StackV4):\n"
        f"    payload = {json.dumps(PAYLOAD)}\n"
        "    console.log(payload)\n"
        "    stack.udpv4.write('10.0.0.1', 7, payload.encode())\n"
        "    flow = await stack.tcpv4.create_connection(('10.0.0.2', 80))\n"
        f"    await flow.write(b'GET /{PATH} HTTP/1.1\\r\\nHost: web\\r\\n\\r\\n')\n"
        "    await flow.read()\n"
        "    raise RuntimeError(payload)\n",
        "tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif('0'), address='10.0.0.9/24')\n"
        "vm = lab.create(evil(devices.default_console, tcpip), vif=[lab.lan('br0')])\nvm.unpause()\nlab.run(seconds(1))\n"
        "lab.command('xenstore.write', path='/tool/evil', value=payload)",
        "lab",
        "trace",
        "vm",
        "print(vm.why())",
    ]
    desk.open("hostile.ipynb", notebook(*cells)).run()
    assert desk.errors == []
    desk.view.locator(".ml-transport").wait_for()
    for tab in ("dashboard", "graph", "boot", "cpu", "stack", "packets", "xenstore", "history"):
        desk.tab(tab)
        if tab == "packets":
            field = desk.view.get_by_label("display filter")
            field.fill("udp")
            field.press("Enter")
            expect(desk.view.locator(".ml-pk-words")).to_contain_text("match")
            desk.view.locator(".ml-pk-frame").first.click()
            desk.view.locator(".ml-pk-hex").wait_for()
            field.fill('frame contains "onerror=window.owned=1"')
            field.press("Enter")
            expect(desk.view.locator(".ml-pk-line")).to_contain_text("frame contains")
            for protocol, said in (("UDP", PAYLOAD), ("TCP", PATH)):
                desk.view.locator(".ml-pk-frame", has=desk.page.locator("[aria-colindex='5']", has_text=protocol)).first.click()
                expect(desk.view.locator(".ml-pk-title")).to_contain_text(protocol)
                assert said in "".join(desk.view.locator(".ml-pk-chars").all_text_contents())
                nothing_of_it_is_an_element(desk)
        elif tab == "xenstore":
            expect(desk.view.locator(".ml-xs")).to_contain_text("<img src=x onerror")
        nothing_of_it_is_an_element(desk)
    desk.view.locator(".ml-console > summary").click()
    desk.view.locator(".ml-console select").select_option("evil")
    expect(desk.view.locator(".ml-console-text")).to_contain_text("<img src=x onerror")
    desk.shot("hostile")
    nothing_of_it_is_an_element(desk)


def test_a_guest_that_spins_under_play_leaves_the_page_answering(desk: Desk) -> None:
    spinner = "@unikernel\nasync def spinner(console: Console):\n    console.log('spinning')\n    while True:\n        pass\n"
    start = "lab.create(spinner(devices.default_console)).unpause()\nlab.play()"
    desk.open("spin.ipynb", notebook(DEMO, f"from mirage_lab.signatures import Console\n{spinner}", "lab", start)).run()
    desk.view.locator(".ml-transport").wait_for()
    for tab in ("graph", "dashboard"):
        began = time.monotonic()
        desk.tab(tab)
        assert time.monotonic() - began < 2
    expect(desk.view.locator(".ml-panel")).to_contain_text("crashed")
    desk.view.locator(".ml-play").click()
    expect(desk.view.locator(".ml-word")).to_have_text("paused")
    desk.shot("spinner")

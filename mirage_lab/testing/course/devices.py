"""Exercises of 17-build-your-own-device."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

from mirage_lab.functoria import Impl
from mirage_lab.runtime import tasks
from mirage_lab.signatures.errors import UnknownKey
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import ran, story
from mirage_lab.testing.links import check_network
from mirage_lab.testing.storage import check_kv_ro
from mirage_lab.testing.story import Broken, Story
from mirage_lab.tool.devices.crunch import Crunched

__all__ = ["check_cable", "check_overlay", "check_site", "check_uncovers"]

TOP: Final = {"both": b"from the top", "top": b"only there"}
BOTTOM: Final = {"both": b"from below, longer", "bottom": b"only here"}
MACS: Final = ("02:00:00:00:00:01", "02:00:00:00:00:02")


def _suite(told: Story, claim: str, check: Callable[[], Story]) -> None:
    """Claim that a device keeps the promises of a suite; what breaks is told below the claim."""
    try:
        check()
    except Broken as broken:
        told.fail(claim, str(broken))
    told.step(claim)


@exercise
def check_uncovers(store: object, values: object) -> Story:
    """`values` with which check_kv_ro finds out that `store(values)` is not what it should be."""
    told = story("values that tell")
    told.true("the store is a class", isinstance(store, type), f"it is {store!r}")
    assert isinstance(store, type)
    there = isinstance(values, Mapping) and all(isinstance(key, str) and isinstance(value, bytes) for key, value in values.items())
    told.true("there are values, bytes by name", there and values, "{'name': b'value'} is one")
    assert isinstance(values, Mapping)
    _suite(told, "a store that keeps its promises passes with them", lambda: check_kv_ro(Crunched(values), values))
    try:
        check_kv_ro(store(values), values)
    except Broken as broken:
        told.step(f"the other one does not: {broken.promise}")
        return told
    told.fail("the other one does not", f"with {', '.join(map(repr, values.values()))} it gives all that is asked for: when would it give something else?")


@exercise
def check_overlay(overlay: object) -> Story:
    """`overlay(top, bottom)`, a KV_RO of two: what is in `top`, and what is not there but in `bottom`."""
    told = story("one store over another")
    told.true("Overlay is a class", isinstance(overlay, type), f"it is {overlay!r}")
    assert isinstance(overlay, type)
    top, bottom = Crunched(TOP), Crunched(BOTTOM)

    async def read(key: str) -> Any:
        try:
            return await overlay(top, bottom).read(key)
        except UnknownKey as error:
            return f"UnknownKey: {error}"

    for what, key, value in (
        ("what is only in the one on top", "top", TOP["top"]),
        ("what is only in the one below", "bottom", BOTTOM["bottom"]),
        ("of what is in both, the one on top", "both", TOP["both"]),
    ):
        came = ran(told, partial(read, key))
        told.true(f"it reads {what}", came == value, f"read({key!r}) gave {came!r}")
    _suite(told, "it keeps the promises of a KV_RO", lambda: check_kv_ro(overlay(top, bottom), {**BOTTOM, **TOP}))
    return told


@exercise
def check_site(site: object, new: Impl, old: Impl) -> Story:
    """`site`, a device described: a KV_RO built on `new` and `old`; new files go before old ones."""
    told = story("a device of two devices")
    told.true("site is a device", isinstance(site, Impl), f"it is {site!r}; Impl(...) describes a device")
    assert isinstance(site, Impl)
    told.true("its module type is KV_RO", site.module_type == "KV_RO", f"it is {site.module_type}")
    told.true("it is built on both", set(site.args) == {new, old}, f"it is built on {', '.join(map(repr, site.args)) or 'nothing'}: args=(...)")

    async def connected(device: Impl) -> Any:
        below = [await connected(arg) for arg in device.args]
        queue = (await tasks.current()).queue
        came = device.connect(SimpleNamespace(queue=queue), device.keys, *below)
        return await came if inspect.isawaitable(came) else came

    files: dict[str, bytes] = {**old.keys["files"], **new.keys["files"]}
    both = sorted(set(old.keys["files"]) & set(new.keys["files"]))

    async def read() -> Any:
        store = await connected(site)
        return store, [await store.read(key) for key in both]

    store, came = ran(told, read)
    told.true("what is new goes before what is old", came == [files[key] for key in both], f"{', '.join(both)}: came {came!r}")
    _suite(told, "it keeps the promises of a KV_RO", lambda: check_kv_ro(store, files))
    return told


@exercise
def check_cable(end: object) -> Story:
    """`end(name, mac)`, a NETWORK: one end of a cable; `other` is set to the other end."""
    told = story("a cable with two ends")
    told.true("End is a class", isinstance(end, type), f"it is {end!r}")
    assert isinstance(end, type)
    one, other = end("one", MACS[0]), end("other", MACS[1])
    one.other, other.other = other, one
    _suite(told, "it keeps the promises of a NETWORK", lambda: check_network(one, other))
    return told

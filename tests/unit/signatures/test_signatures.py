"""The vocabulary: every module type is there, says what it promises and refuses, and fits what implements it."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from mirage_lab import signatures
from mirage_lab.signatures import Console, StackV4, Time, unikernel
from mirage_lab.signatures.errors import DescriptionError
from mirage_lab.signatures.units import ms, ns, seconds, us

V1 = {
    "DEVICE", "TIME", "CLOCK", "RANDOM", "ENTROPY", "CONSOLE", "FLOW", "CHANNEL", "BLOCK", "KV_RO", "FS", "NETWORK", "ETHIF", "ARP", "IPV4", "ICMPV4",
    "UDPV4", "TCPV4", "STACKV4", "HTTP", "CONDUIT", "RESOLVER", "IO_PAGE",
}


def types() -> list[Any]:
    return [getattr(signatures, name) for name in signatures.__all__ if inspect.isclass(getattr(signatures, name))]


def test_all_module_types_of_v1_are_there() -> None:
    assert {found.module_type for found in types() if hasattr(found, "module_type")} | {"DEVICE"} >= V1


@pytest.mark.parametrize("found", types(), ids=lambda found: found.__name__)
def test_a_module_type_says_what_it_is_and_its_methods_what_they_do(found: Any) -> None:
    assert found.__doc__
    for name, method in vars(found).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            assert method.__doc__, f"{found.__name__}.{name}"


def test_promises_and_refusals_are_told() -> None:
    told = [found for found in types() if "Promises" in (found.__doc__ or "") or "Refusals" in (found.__doc__ or "")]
    assert len(told) >= 18


def test_stackv4_exposes_its_ipv4() -> None:
    assert "ipv4" in vars(StackV4) and "udpv4" in vars(StackV4) and "tcpv4" in vars(StackV4)


def test_units_are_integer_nanoseconds() -> None:
    assert (seconds(1.5), ms(2), us(3), ns(4)) == (1_500_000_000, 2_000_000, 3_000, 4)


def test_a_typed_function_is_a_functor() -> None:
    @unikernel
    async def web(console: Console, stack: StackV4, *, port: int = 80) -> None: ...

    assert repr(web) == "web needs 2 devices: console (CONSOLE), stack (STACKV4). In MirageOS: CONSOLE -> STACKV4 -> JOB"
    assert [key.name for key in web.keys] == ["port"]


def test_what_is_no_functor_is_told_which_parameter() -> None:
    with pytest.raises(DescriptionError, match="is not async"):

        @unikernel
        def plain(console: Console) -> None: ...

    with pytest.raises(DescriptionError, match="the parameter number is neither a hole nor a key"):

        @unikernel
        async def odd(console: Console, number: int) -> None: ...

    with pytest.raises(DescriptionError, match="StackV9 in its annotations is not defined"):

        @unikernel
        async def unknown(stack: StackV9) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def test_marking_twice_is_marking_once() -> None:
    @unikernel
    async def sleeper(time: Time) -> None: ...

    assert unikernel(sleeper) is sleeper

"""How a suite is proven able to fail: for each promise a device that breaks it, and only the suite's word for which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mirage_lab.testing import Broken, Story, check_flow
from mirage_lab.testing.changed import changed
from mirage_lab.testing.pipe import pipe

Bench = Callable[[Callable[[Any], Any]], Story]
"""`bench(change)` makes good devices, hands one of them to `change`, and returns the check of what comes back."""


@pytest.fixture
def prove() -> Callable[..., None]:
    """Return `prove(bench, mutants)`: the good device keeps all promises, each mutant breaks its own, none is left out.

    Promises of FLOW that a suite repeats are proven with FLOW's own: `flow=True` says so.
    """

    def proven(bench: Bench, mutants: list[tuple[str, dict[str, Any]]], flow: bool = False) -> None:
        story = bench(lambda device: device)
        shape, *promises = story.steps
        name = next(iter(mutants[0][1]))
        for promise, changes in [(shape, {name: None}), *mutants]:
            with pytest.raises(Broken) as told:
                bench(lambda device, changes=changes: changed(device, **changes))
                pytest.fail(f"nobody noticed: {promise}, {sorted(changes)}")
            assert told.value.promise == promise, f"{changes}\n{told.value}"
            assert f"✗ {len(told.value.story.steps) + 1}. {promise}" in str(told.value)
        assert {promise for promise, _ in mutants} == set(promises) - (set(check_flow(*pipe()).steps) if flow else set())

    return proven

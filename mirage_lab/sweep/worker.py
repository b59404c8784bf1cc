"""worker: what runs in another process: take the function and a cell, call it, hand back what came out as bytes.

Nothing that happens in a cell is raised here: it is an outcome, so that one cell costs no other.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from collections.abc import Mapping
from numbers import Number
from typing import Any, Final

__all__ = ["FAILED", "LOST", "WELL", "call", "stay_with_the_parent"]

WELL: Final = "well"
FAILED: Final = "failed"
LOST: Final = "lost"
"""The function or its cell did not arrive: no cell of this sweep can run there."""

LONGEST: Final = 2_000
"""Characters of an error that are kept."""

Outcome = tuple[str, bytes]


def call(function: bytes, cell: bytes) -> Outcome:
    """Return WELL and the pickled columns, or why there are none, as UTF-8."""
    try:
        made, arguments = pickle.loads(function), pickle.loads(cell)  # anew for each cell: they share nothing
    except Exception as error:
        return LOST, _told(error)
    try:
        result = made(**arguments)
    except (Exception, SystemExit) as error:
        return FAILED, _told(error)
    return _columns(result, arguments)


def _columns(result: object, arguments: Mapping[str, Any]) -> Outcome:
    if isinstance(result, Mapping):
        columns = dict(result)
    elif result is None or isinstance(result, Number | str):
        columns = {"value": result}
    else:
        return FAILED, f"the function returned a {type(result).__name__}; a dict of columns or a number is wanted".encode()
    for name, value in columns.items():
        if not isinstance(name, str):
            return FAILED, f"the function returned a column {name!r}; the name of a column is a string".encode()
        if name in arguments or name == "error":
            return FAILED, f"the function returned a column {name!r}, which the table has already".encode()
        try:
            _pickled(value)
        except Exception as error:
            return FAILED, f"the column {name!r}, a {type(value).__name__}, cannot travel back: {error}".encode()
    return WELL, _pickled(columns)


def _pickled(value: object) -> bytes:
    import cloudpickle

    packed: bytes = cloudpickle.dumps(value)
    return packed


def _told(error: BaseException) -> bytes:
    """Return "LabError: what it says (line 3, in transfer)": where it was raised last in code of the person's own."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if os.sep + "mirage_lab" + os.sep not in frame.filename]
    place = f" (line {own[-1].lineno}, in {own[-1].name})" if own else ""
    text = f"{type(error).__name__}: {error}"
    return (text[:LONGEST] + place).encode("utf-8", "replace")


def stay_with_the_parent() -> None:
    """Begin a worker process: the stop button is the parent's business, and where the parent is no more the worker ends too."""
    from multiprocessing import connection, parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:

        def watch() -> None:
            connection.wait([parent.sentinel])
            os._exit(1)

        threading.Thread(target=watch, name="parent", daemon=True).start()

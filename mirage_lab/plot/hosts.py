"""hosts: a name and a colour for each address, the same in every picture.

A host has one colour everywhere.  Colours go by order of appearance: the lab names its machines in the order they were
created; a bare capture names them in the order they speak.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mirage_lab.tracing.svg import MUTED, OKABE_ITO

__all__ = ["Hosts"]


class Hosts:
    """Names of addresses (IP or MAC) and the order in which hosts appeared."""

    def __init__(self, names: Mapping[str, str] | None = None, order: Iterable[str] = ()) -> None:
        self._names = dict(names or {})
        self._order: dict[str, int] = {}
        for host in order:
            self.meet(host)

    def __repr__(self) -> str:
        return f"<Hosts {' '.join(self._order)}>"

    @property
    def order(self) -> tuple[str, ...]:
        """The hosts that appeared so far, in that order."""
        return tuple(self._order)

    def name(self, address: str) -> str:
        """Return the name of the host with this IP or MAC address; without one, the address itself."""
        return self._names.get(address, address)

    def known(self, address: str) -> bool:
        """True if the address was given a name."""
        return address in self._names

    def learn(self, address: str, name: str) -> None:
        """Give `address` a name unless it has one (a MAC address learns the IP address it speaks for)."""
        self._names.setdefault(address, name)

    def meet(self, host: str) -> str:
        """Note that the host appeared, if it had not before; return its colour."""
        self._order.setdefault(host, len(self._order))
        return self.colour(host)

    def colour(self, host: str) -> str:
        """Return the colour of a host by name; grey if it never appeared."""
        place = self._order.get(host)
        return MUTED if place is None else OKABE_ITO[place % len(OKABE_ITO)]

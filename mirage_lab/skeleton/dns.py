"""dns: the example of mirage-skeleton: a name server whose zone is a file, and a unikernel that asks for names."""

from __future__ import annotations

from mirage_lab.signatures import Console, Dns, DnsServer, KvRo, unikernel
from mirage_lab.signatures.errors import MirageError


@unikernel
async def dns(console: Console, files: KvRo, server: DnsServer, *, zone: str = "test.zone") -> None:
    """Serve the zone in the file `zone` for ever."""
    text = (await files.read(zone)).decode()
    console.log(f"serving {server.load_zone(text)}")
    await server.listen()


@unikernel
async def lookup(console: Console, names: Dns, *, name: str = "www.example.org", kind: str = "A") -> None:
    """Ask for `name` and print what it is."""
    try:
        for found in await names.resolve(name, kind):
            console.log(f"{name} {kind} {found}")
    except MirageError as error:
        console.log(str(error))

"""storage: KV_RO, BLOCK, FS: the promises of what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mirage_lab.signatures import Block, Fs, KvRo
from mirage_lab.signatures.errors import DeviceError, Disconnected, IsReadOnly, LocalProtocolError, MirageError, UnknownKey
from mirage_lab.testing.suite import Promise, Tell, suite

__all__ = ["check_block", "check_fs", "check_kv_ro"]

SIZE: Final = 1 << 20


@suite
async def check_kv_ro(tell: Tell, store: KvRo, values: Mapping[str, bytes]) -> None:
    """KV_RO: values whole and in part, sizes, unknown keys.  `values` are those the store should have, or some of them.

    >>> from mirage_lab.tool.devices.crunch import Crunched
    >>> check_kv_ro(Crunched({"a": b"hello"}), {"a": b"hello"})
    KV_RO of Crunched: 7 promises kept
      ✓ 1. it has all that KV_RO asks for
      ✓ 2. a value is read whole
      ✓ 3. its size is its length in bytes
      ✓ 4. a part is a slice, short at the end
      ✓ 5. the same key gives the same bytes again
      ✓ 6. a key it does not have is an UnknownKey
      ✓ 7. so it is when its size is asked for
    """
    if not values:
        raise LocalProtocolError("check_kv_ro needs at least one value that the store has: check_kv_ro(store, {'a': b'x'})")
    await tell.shape(KvRo, store)
    async with tell("a value is read whole") as promise:
        for key, value in values.items():
            promise.equal(f"read({key!r})", await store.read(key), value)
    async with tell("its size is its length in bytes") as promise:
        for key, value in values.items():
            promise.equal(f"size({key!r})", await store.size(key), len(value))
    async with tell("a part is a slice, short at the end") as promise:
        for key, value in values.items():
            promise.equal(f"read({key!r}, 1, 3)", await store.read(key, 1, 3), value[1:4])
            promise.equal(f"read({key!r}, 2)", await store.read(key, 2), value[2:])
            promise.equal(f"read({key!r}, 0, 0)", await store.read(key, 0, 0), b"")
            promise.equal(f"read({key!r}, {len(value)}, 5)", await store.read(key, len(value), 5), b"")
            promise.equal(f"read({key!r}, {len(value) + 9}, 5)", await store.read(key, len(value) + 9, 5), b"")
    async with tell("the same key gives the same bytes again") as promise:
        for key, value in values.items():
            promise.equal(f"read({key!r})", await store.read(key), value)
    strangers = [key for key in ("no such key", f"../{next(iter(values))}", "") if key not in values]
    async with tell("a key it does not have is an UnknownKey") as promise:
        for key in strangers:
            with promise.refuses(f"read({key!r})", UnknownKey):
                await store.read(key)
    async with tell("so it is when its size is asked for") as promise:
        for key in strangers:
            with promise.refuses(f"size({key!r})", UnknownKey):
                await store.size(key)


@suite
async def check_block(tell: Tell, disk: Block) -> None:
    """BLOCK: whole sectors, kept.  What the disk held is written back; at the end it is disconnected."""
    await tell.shape(Block, disk)
    async with tell("it tells its size") as promise:
        info = await disk.get_info()
        size, last = info.sector_size, info.size_sectors - 1
        promise.true("get_info()", size > 0 and last >= 3 and isinstance(info.read_write, bool), info, "sectors of some bytes, four of them at least")
    held = [bytearray(size) for _ in range(4)]
    async with tell("the first sectors and the last can be read"):
        await disk.read(0, held[:3])
        await disk.read(last, held[3:])
    if info.read_write:
        await _written(tell, disk, size, last, held)
    else:
        async with tell("a disk that can only be read refuses writing with IsReadOnly") as promise:
            with promise.refuses("write(0, [a sector])", IsReadOnly):
                await disk.write(0, [bytes(size)])
    async with tell("a buffer that is no whole sectors is refused") as promise:
        with promise.refuses(f"read(0, [{size - 1} bytes])", MirageError):
            await disk.read(0, [bytearray(size - 1)])
    async with tell("a sector past the end is refused") as promise:
        for sector, count in ((last + 1, 1), (last, 2), (-1, 1)):
            with promise.refuses(f"read({sector}, [{count} sectors])", MirageError):
                await disk.read(sector, [bytearray(size * count)])
    async with tell("after disconnect it is Disconnected") as promise:
        await disk.disconnect()
        with promise.refuses("read(0, [a sector])", Disconnected):
            await disk.read(0, [bytearray(size)])


async def _written(tell: Tell, disk: Block, size: int, last: int, held: list[bytearray]) -> None:
    pattern = [bytes((sector * 7 + at) & 0xFF for at in range(size)) for sector in (1, 2, 3)]
    async with tell("what was written is read again, buffer by buffer") as promise:
        await disk.write(0, [bytes(size * 2)])
        await disk.write(last, pattern[:1])
        await disk.write(1, pattern[1:])
        got = [bytearray(size), bytearray(size), bytearray(size)]
        await disk.read(last, got[:1])
        await disk.read(1, got[1:])
        for at, sector in enumerate((last, 1, 2)):
            promise.equal(f"read({sector}, ...)", bytes(got[at]), pattern[at])
    async with tell("only the sectors written change") as promise:
        before = bytearray(size)
        await disk.read(0, [before])
        promise.equal("read(0, ...), after sector 1 was written", bytes(before), bytes(size))
    await disk.write(0, held[:3])
    await disk.write(last, held[3:])


@suite
async def check_fs(tell: Tell, fs: Fs) -> None:
    """FS: files and directories.  The file system is formatted: what it held is gone."""
    await tell.shape(Fs, fs)
    async with tell("format makes an empty file system") as promise:
        await fs.format(SIZE)
        promise.equal("listdir('/')", await fs.listdir("/"), [])
    async with tell("what is made is listed, sorted") as promise:
        await fs.mkdir("/dir")
        for path in ("/b", "/a", "/dir/inside"):
            await fs.create(path)
        promise.equal("listdir('/')", await fs.listdir("/"), ["a", "b", "dir"])
        promise.equal("listdir('/dir')", await fs.listdir("/dir"), ["inside"])
    async with tell("a file is empty, then as long as what is written") as promise:
        promise.equal("size('/a')", await fs.size("/a"), 0)
        await fs.write("/a", 0, b"hello")
        await fs.write("/a", 5, b" world")
        await fs.write("/a", 0, b"J")
        promise.equal("size('/a')", await fs.size("/a"), 11)
    async with tell("what was written is read again, a part is a slice, short at the end") as promise:
        promise.equal("read('/a', 0, 11)", await fs.read("/a", 0, 11), b"Jello world")
        promise.equal("read('/a', 6, 99)", await fs.read("/a", 6, 99), b"world")
        promise.equal("read('/a', 99, 1)", await fs.read("/a", 99, 1), b"")
    async with tell("stat tells name, kind and size") as promise:
        for path, name, directory, size in (("/dir/inside", "inside", False, 0), ("/a", "a", False, 11), ("/dir", "dir", True, None)):
            said = await fs.stat(path)
            promise.equal(f"stat({path!r})", (said.filename, said.directory, size if size is None else said.size), (name, directory, size))
    await _refused(tell, fs)
    async with tell("what is destroyed is gone") as promise:
        for path in ("/dir/inside", "/dir", "/a"):
            await fs.destroy(path)
        promise.equal("listdir('/')", await fs.listdir("/"), ["b"])


async def _refused(tell: Tell, fs: Fs) -> None:
    """The six refusals, each a DeviceError that names the path."""
    async with tell("no entry is a DeviceError that names the path") as promise:
        await _names(promise, "read('/none', 0, 1)", "/none", fs.read("/none", 0, 1))
        await _names(promise, "stat('/none')", "/none", fs.stat("/none"))
        await _names(promise, "destroy('/none')", "/none", fs.destroy("/none"))
    async with tell("so is a file that is no directory") as promise:
        await _names(promise, "listdir('/a')", "/a", fs.listdir("/a"))
        await _names(promise, "create('/a/below')", "/a", fs.create("/a/below"))
    async with tell("so is a directory that is no file") as promise:
        await _names(promise, "read('/dir', 0, 1)", "/dir", fs.read("/dir", 0, 1))
    async with tell("so is a directory that is not empty") as promise:
        await _names(promise, "destroy('/dir')", "/dir", fs.destroy("/dir"))
    async with tell("so is what exists") as promise:
        await _names(promise, "create('/a')", "/a", fs.create("/a"))
        await _names(promise, "mkdir('/dir')", "/dir", fs.mkdir("/dir"))
    async with tell("so is a file for which there is no space") as promise:
        await _names(promise, f"write('/b', 0, {2 * SIZE:,} bytes)", "/b", fs.write("/b", 0, bytes(2 * SIZE)))


async def _names(promise: Promise, call: str, path: str, waiting: object) -> None:
    try:
        came = await waiting  # type: ignore[misc]
    except DeviceError as error:
        promise.true(call, path in str(error), str(error), f"a DeviceError that names {path}")
    else:
        promise.true(call, False, came, f"a DeviceError that names {path}")

"""KV_RO, BLOCK, FS: each promise, and a device that breaks it."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from typing import Any

import pytest

from mirage_lab.signatures.errors import DeviceError, LocalProtocolError, UnknownKey
from mirage_lab.signatures.storage import BlockInfo, FsStat
from mirage_lab.testing import check_block, check_device, check_fs, check_kv_ro, storage
from mirage_lab.tool.devices.crunch import Crunched
from mirage_lab.tool.devices.ramdisk import Ramdisk

FILES = {"index.html": b"<h1>hello</h1>", "a": b"", "deep/er.bin": bytes(range(256))}
Prove = Callable[..., None]


async def no_slice(store: Any, key: str, offset: int = 0, length: int | None = None) -> Any:
    return (await store.read(key))[offset:]


async def empty_for_unknown(store: Any, key: str, offset: int = 0, length: int | None = None) -> Any:
    try:
        return await store.read(key, offset, length)
    except UnknownKey:
        return b""


async def zero_for_unknown(store: Any, key: str) -> Any:
    return await store.size(key) if key in FILES else 0


async def wrong(store: Any, *args: Any) -> Any:
    return b"wrong"


async def one_more(store: Any, key: str) -> Any:
    return await store.size(key) + 1


def worn() -> Any:
    """Return a read that gives other bytes the fourth time a key is read whole."""
    reads: list[str] = []

    async def read(store: Any, key: str, offset: int = 0, length: int | None = None) -> Any:
        if (offset, length) == (0, None):
            reads.append(key)
        return b"?" if reads.count(key) > 1 and (offset, length) == (0, None) else await store.read(key, offset, length)

    return read


def test_each_promise_of_a_kv_ro(prove: Prove) -> None:
    prove(
        lambda change: check_kv_ro(change(Crunched(FILES)), FILES),
        [
            ("a value is read whole", {"read": wrong}),
            ("its size is its length in bytes", {"size": one_more}),
            ("a part is a slice, short at the end", {"read": no_slice}),
            ("the same key gives the same bytes again", {"read": worn()}),
            ("a key it does not have is an UnknownKey", {"read": empty_for_unknown}),
            ("so it is when its size is asked for", {"size": zero_for_unknown}),
        ],
    )


def test_the_example_of_the_suite_is_what_it_prints() -> None:
    tests = doctest.DocTestFinder().find(check_kv_ro, "check_kv_ro", module=storage, globs=vars(storage))
    runner = doctest.DocTestRunner()
    assert next(runner.run(test) for test in tests) == (0, 2)


def test_without_a_value_a_kv_ro_cannot_be_checked() -> None:
    with pytest.raises(LocalProtocolError, match="at least one value"):
        check_kv_ro(Crunched({}), {})


async def half(disk: Any, sector: int, buffers: Any) -> None:
    await disk.write(sector, buffers[:1])


async def smeared(disk: Any, sector: int, buffers: Any) -> None:
    await disk.write(sector, buffers)
    if sector == 1:
        await disk.write(0, [b"\xff" * 512])


async def padded(disk: Any, sector: int, buffers: Any) -> None:
    if all(len(buffer) % 512 == 0 for buffer in buffers):
        await disk.read(sector, buffers)


async def lenient(disk: Any, sector: int, buffers: Any) -> None:
    try:
        await disk.read(sector, buffers)
    except LocalProtocolError as error:
        if "of a disk that ends" not in str(error):
            raise


async def no_end(disk: Any, sector: int, buffers: Any) -> None:
    if sector == 7:
        raise OSError("bad sector")
    await disk.read(sector, buffers)


async def tiny(disk: Any) -> BlockInfo:
    return BlockInfo(True, 512, 0)


async def kept(disk: Any) -> None:
    """Stay connected."""


def test_each_promise_of_a_block(prove: Prove) -> None:
    prove(
        lambda change: check_block(change(Ramdisk(8))),
        [
            ("it tells its size", {"get_info": tiny}),
            ("the first sectors and the last can be read", {"read": no_end}),
            ("what was written is read again, buffer by buffer", {"write": half}),
            ("only the sectors written change", {"write": smeared}),
            ("a buffer that is no whole sectors is refused", {"read": padded}),
            ("a sector past the end is refused", {"read": lenient}),
            ("after disconnect it is Disconnected", {"disconnect": kept}),
        ],
    )


async def dropped(disk: Any, sector: int, buffers: Any) -> None:
    """Write nothing, and say nothing."""


def test_a_disk_that_can_only_be_read_refuses_writing(prove: Prove) -> None:
    with pytest.raises(AssertionError, match="✗ 4. a disk that can only be read refuses writing with IsReadOnly"):
        from mirage_lab.testing.changed import changed

        check_block(changed(Ramdisk(8, read_write=False), write=dropped))
    assert len(check_block(Ramdisk(8, read_write=False)).steps) == 7


def test_a_check_leaves_a_disk_as_it_was() -> None:
    disk = Ramdisk(8)
    disk._memory[:] = bytes(range(256)) * 16
    check_block(disk)
    assert disk._memory == bytes(range(256)) * 16


async def failing(device: Any) -> None:
    raise DeviceError("cannot let go")


@pytest.mark.parametrize("make", [lambda: Crunched(FILES), lambda: Ramdisk(8)])
def test_each_promise_of_a_device(prove: Prove, make: Any) -> None:
    names = iter(range(1_000))
    prove(
        lambda change: check_device(change(make())),
        [
            ("its id is a text that does not change", {"id": property(lambda device: f"id {next(names)}")}),
            ("disconnect never fails, and twice is once", {"disconnect": failing}),
        ],
    )


class MemoryFs:
    """FS in a dictionary: the reference double."""

    id = "memory"

    def __init__(self) -> None:
        self.room = 0
        self.nodes: dict[str, bytearray | None] = {"/": None}

    def _file(self, path: str) -> bytearray:
        self._there(path)
        found = self.nodes[path]
        if found is None:
            raise DeviceError(f"{path} is a directory")
        return found

    def _there(self, path: str) -> None:
        if path not in self.nodes:
            raise DeviceError(f"{path}: no such entry")

    def _new(self, path: str) -> None:
        if path in self.nodes:
            raise DeviceError(f"{path} exists")
        parent = path.rpartition("/")[0] or "/"
        self._there(parent)
        if self.nodes[parent] is not None:
            raise DeviceError(f"{path}: {parent} is not a directory")

    async def format(self, size: int) -> None:
        self.room, self.nodes = size, {"/": None}

    async def create(self, path: str) -> None:
        self._new(path)
        self.nodes[path] = bytearray()

    async def mkdir(self, path: str) -> None:
        self._new(path)
        self.nodes[path] = None

    async def destroy(self, path: str) -> None:
        self._there(path)
        if any(name.startswith(path + "/") for name in self.nodes):
            raise DeviceError(f"{path} is not empty")
        del self.nodes[path]

    async def stat(self, path: str) -> FsStat:
        self._there(path)
        found = self.nodes[path]
        return FsStat(path.rpartition("/")[2], False, found is None, len(found or b""))

    async def listdir(self, path: str) -> list[str]:
        self._there(path)
        if self.nodes[path] is not None:
            raise DeviceError(f"{path} is not a directory")
        head = path.rstrip("/") + "/"
        return sorted(name[len(head) :] for name in self.nodes if name.startswith(head) and name != "/" and "/" not in name[len(head) :])

    async def read(self, path: str, offset: int, length: int) -> bytes:
        return bytes(self._file(path)[offset : offset + length])

    async def size(self, path: str) -> int:
        return len(self._file(path))

    async def write(self, path: str, offset: int, data: bytes) -> None:
        if offset + len(data) > self.room:
            raise DeviceError(f"{path}: no space")
        found = self._file(path)
        found[offset : offset + len(data)] = data

    async def disconnect(self) -> None:
        """Nothing is held."""


async def full(fs: Any, size: int) -> None:
    await fs.format(size)
    await fs.create("/lost+found")


async def unsorted(fs: Any, path: str) -> Any:
    return (await fs.listdir(path))[::-1]


async def sparse(fs: Any, path: str) -> Any:
    return 512 * (await fs.size(path) // 512 + 1)


async def whole(fs: Any, path: str, offset: int, length: int) -> Any:
    return await fs.read(path, 0, 1 << 20)


async def full_name(fs: Any, path: str) -> Any:
    said = await fs.stat(path)
    return FsStat(path, said.read_only, said.directory, said.size)


async def nameless(fs: Any, path: str, offset: int, length: int) -> Any:
    try:
        return await fs.read(path, offset, length)
    except DeviceError:
        raise DeviceError("no such entry") from None


async def empty_dir(fs: Any, path: str) -> Any:
    return await fs.listdir(path) if path != "/a" else []


async def reads_dir(fs: Any, path: str, offset: int, length: int) -> Any:
    return await fs.read(path, offset, length) if path != "/dir" else b""


async def recursive(fs: Any, path: str) -> None:
    await (fs.destroy(path) if path != "/dir" else kept(fs))


async def again(fs: Any, path: str) -> None:
    await (fs.create(path) if path != "/a" or path not in fs.nodes else kept(fs))


async def endless(fs: Any, path: str, offset: int, data: bytes) -> None:
    await fs.write(path, offset, data[:1_000])


async def forgetful(fs: Any, path: str) -> None:
    await (fs.destroy(path) if path != "/a" else kept(fs))


def test_each_promise_of_a_fs(prove: Prove) -> None:
    prove(
        lambda change: check_fs(change(MemoryFs())),
        [
            ("format makes an empty file system", {"format": full}),
            ("what is made is listed, sorted", {"listdir": unsorted}),
            ("a file is empty, then as long as what is written", {"size": sparse}),
            ("what was written is read again, a part is a slice, short at the end", {"read": whole}),
            ("stat tells name, kind and size", {"stat": full_name}),
            ("no entry is a DeviceError that names the path", {"read": nameless}),
            ("so is a file that is no directory", {"listdir": empty_dir}),
            ("so is a directory that is no file", {"read": reads_dir}),
            ("so is a directory that is not empty", {"destroy": recursive}),
            ("so is what exists", {"create": again}),
            ("so is a file for which there is no space", {"write": endless}),
            ("what is destroyed is gone", {"destroy": forgetful}),
        ],
    )

"""script: the journal of a lab as a Python program, or as a notebook, that makes the same world again."""

from __future__ import annotations

import inspect
import json
import textwrap
import zlib
from typing import TYPE_CHECKING, Any

from mirage_lab.functoria import Impl
from mirage_lab.runtime.journal import CUT, Entry
from mirage_lab.signatures.functor import Unikernel
from mirage_lab.tool.building import Entry as Boots
from mirage_lab.xen.dom0.disk import Disk
from mirage_lab.xen.dom0.image import Image

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["as_notebook", "script"]

HEAD = """\
from mirage_lab import Lab, configure, devices, unikernel
from mirage_lab.signatures import *
from mirage_lab.signatures.units import Ns
"""


def cells(lab: Lab) -> list[str]:
    """Return the program in parts."""
    parts = [HEAD.rstrip(), f"lab = Lab(seed={lab.seed})"]
    images: dict[int, str] = {}
    skipped = 0
    at = 0
    for entry in lab.journal:
        if entry.name == CUT:
            parts.append("# here {name} was stopped {instructions:,} instructions into a step: lab.vm({name!r}).cpu.step(...)".format(**entry.args))
            continue
        if entry.outside:
            skipped += 1
            continue
        if entry.t > at:
            parts.append(f"lab.run(Ns({entry.t - at}))")
            at = entry.t
        if entry.name == "create":
            image: Image = entry.args["image"]
            if id(image) not in images:
                images[id(image)] = variable = f"image{len(images) + 1}"
                parts += _image(image, variable)
        parts.append(_line(entry, images))
    if lab.now > at:
        parts.append(f"lab.run(Ns({lab.now - at}))")
    if any("zlib." in part for part in parts):
        parts[0] = f"import zlib\n\n{parts[0]}"
    if skipped:
        parts.append(f"# {skipped} inputs from outside (host connections) are not in this program")
    return parts


def script(lab: Lab) -> str:
    """Return the program."""
    return "\n".join(cells(lab)) + "\n"


def as_notebook(lab: Lab) -> str:
    """Return the program as the JSON of a notebook."""
    made: list[dict[str, Any]] = [
        {"cell_type": "code", "execution_count": None, "id": f"cell{n}", "metadata": {}, "outputs": [], "source": text} for n, text in enumerate(cells(lab))
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1)


def _line(entry: Entry, images: dict[int, str]) -> str:
    args = dict(entry.args)
    name = args.pop("name", "")
    match entry.name:
        case "lan":
            return f"lab.lan({name!r}, {_keywords(args)})"
        case "lan.set":
            return f"lab.set_lan({name!r}, {_keywords(args)})"
        case "capture":
            where = f"lab.vm({args['port']!r})" if args.get("port") else repr(args["lan"])
            return f"lab.capture({where}, name={name!r})"
        case "create":
            lans = ", ".join(f"lab.lan({lan!r})" for lan in args["vif"])
            disks = f", disk=[{', '.join(map(_disk, args['disk']))}]" if args.get("disk") else ""
            how = f"memory_mib={args['memory_mib']!r}, profile={args['profile']!r}{disks}"
            return f"lab.create({images[id(args['image'])]}, name={name!r}, vif=[{lans}], {how})"
        case "disk.attach":
            return f"lab.vm({name!r}).attach({_disk(args['disk'])})"
        case "disk.detach":
            return f"lab.vm({name!r}).detach({args['dev']!r})"
        case "unpause":
            return f"lab.unpause({name!r})"
        case "pause":
            return f"lab.pause_domain({name!r})"
        case "destroy":
            return f"lab.destroy({name!r})"
        case "forward":
            return f"lab.forward({name!r}, {args['port']}, address={args['address']!r})"
        case "tap":
            return f"lab.tap({args['lan']!r}, name={name!r})"
        case "ipv6":
            return f"lab.lan({args['lan']!r}, ipv6={args['prefix']!r})"
        case "dhcp":
            return f"lab.lan({args['lan']!r}, dhcp={args['pool'] or True!r})"
        case "allow_outbound":
            return f"lab.allow_outbound({args['address']!r})"
        case _:
            return f"lab.command({entry.name!r}, {_keywords({**({'name': name} if name else {}), **args})})"


def _disk(disk: Disk) -> str:
    """Return a disk as an entry of `disk=[...]`; long contents are packed."""
    fields = {"path": disk.path, "size": disk.size or None, "vdev": disk.vdev or None, "readonly": disk.readonly or None, "writable": disk.writable or None}
    parts = [f"{key}={value!r}" for key, value in fields.items() if value is not None]
    if disk.data is not None:
        packed = f"zlib.decompress({zlib.compress(disk.data, 9)!r})"
        parts.append(f"data={min(repr(disk.data), packed, key=len)}")
    return f"dict({', '.join(parts)})"


def _keywords(args: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in args.items())


def _compiled(image: Image, variable: str) -> str:
    """Return the lines that compile a guest of machine code, its source line by line."""
    about = image.manifest
    source = "".join(f"    {line!r}\n" for line in str(about["source"]).splitlines(keepends=True)) or "    ''\n"
    how = f"memory_mib={image.memory_mib}, cmdline={image.cmdline!r}, bare={about['bare']!r}"
    called = f"{about['arch']!r}, {image.name!r}, {about['language']!r}"
    return f"from mirage_lab import compile_guest\n\n{variable} = compile_guest(\n{source}    , {called}, {how}\n)"


def _image(image: Image, variable: str) -> list[str]:
    """Return the lines that make an image: the unikernel's text and its devices."""
    boots = image.entry
    if "source" in image.manifest:
        return [_compiled(image, variable)]
    if not isinstance(boots, Boots):
        return [f"{variable} = ...  # the image {image.name} was not made by plan.build(): put it here"]
    job = next(vertex.what for vertex in boots.vertices if isinstance(vertex.what, Unikernel))
    function = job.function
    if function.__module__.startswith("mirage_lab.skeleton"):
        source = f"from mirage_lab.skeleton import {function.__name__}"
    else:
        try:
            source = textwrap.dedent(inspect.getsource(function))
        except (OSError, TypeError):
            source = f"{function.__name__} = ...  # its text is not known any more: put the unikernel here"
    names = {vertex.id: f"device{number}" for number, vertex in enumerate(boots.vertices, 1)}
    lines = [source.rstrip()]
    for vertex in boots.vertices:
        if isinstance(vertex.what, Impl):
            lines.append(f"{names[vertex.id]} = {_device(vertex.what, [names[below] for _, below in vertex.needs])}")
        elif isinstance(vertex.what, Unikernel):
            keys = [f"{key}={value!r}" for key, value in boots.keys.items()]
            call = ", ".join([f"{hole}={names[below]}" for hole, below in vertex.needs] + keys)
            lines.append(f"{variable} = configure({function.__name__}({call}), {image.name!r}, profile={boots.profile!r}).build()")
    return lines


def _device(impl: Impl, below: list[str]) -> str:
    if impl.name.startswith("default_"):
        return f"devices.{impl.name}"
    if impl.name == "crunch":
        return f"devices.crunch({dict(impl.keys['files'])!r})"
    keys = [f"{key}={value!r}" for key, value in impl.keys.items() if value is not None and key != "name"]
    if impl.name == "direct_stackv4_with_default_ipv4":
        keys = [key for key in keys if key.startswith("profile")]
    return f"devices.{impl.name}({', '.join(below + keys)})"

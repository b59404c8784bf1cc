"""site: files out of a KV_RO over HTTP/1.1: what static_website is in mirage-skeleton, on cohttp."""

from __future__ import annotations

from typing import Any

from mirage_lab.signatures import Console, Http, KvRo, unikernel
from mirage_lab.signatures.errors import UnknownKey
from mirage_lab.skeleton.static_website import TYPES


@unikernel
async def site(console: Console, files: KvRo, http: Http) -> None:
    """Serve the files; "/" is index.html.  A path is a key and nothing else: there is no directory to climb out of."""

    async def callback(request: Any) -> Any:
        path = request.path.lstrip("/") or "index.html"
        if request.method not in ("GET", "HEAD"):
            response = http.respond(405, b"only GET and HEAD\n", headers={"Allow": "GET, HEAD"}, content_type="text/plain")
        else:
            try:
                response = http.respond(200, await files.read(path), content_type=TYPES.get(path.rpartition(".")[2], "application/octet-stream"))
            except UnknownKey:
                response = http.respond(404, b"no such page\n", content_type="text/plain")
        console.log(f"{request.method} /{path} {response.status} {len(response.body)}")
        return response

    console.log("serving")
    await http.listen(callback)

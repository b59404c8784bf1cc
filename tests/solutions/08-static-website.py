"""Solutions of 08-static-website."""

CALLBACK = """
from mirage_lab.cohttp import Response

async def callback(request):
    if request.path != "/hello":
        return Response(404, b"no such page")
    {refuse}
    return Response(200, f"hello {{request.query.removeprefix('name=')}}".encode())
"""

EXERCISES = {
    "exercise-1": {
        "right": "one_say, two_says = 1, 2",
        "wrong": "one_say, two_says = 2, 2",
        "says": "one: so many SYNs are in the trace",
        "secret": ["one_say, two_says = 1"],
    },
    "exercise-2": {
        "right": r'request = "GET /about.txt HTTP/1.1\nHost: 10.0.0.2\nConnection: close\n\n"',
        "wrong": r'request = "GET /about.txt HTTP/1.1\nConnection: close\n\n"',
        "says": "Missing mandatory Host: header",
        "secret": ["Connection: close\\n\\n"],
    },
    "exercise-3": {
        "right": CALLBACK.format(refuse='if request.method != "GET":\n        return Response(405)'),
        "wrong": CALLBACK.format(refuse=""),
        "says": "nobody may write here",
        "secret": ["request.method !="],
    },
}

"""Solutions of 14-xenstore-on-irmin."""

EXERCISES = {
    "exercise-1": {
        "right": 'def apart(domid):\n    yield True, (("write", f"/tool/{domid}", "here"),)\n',
        "wrong": 'def apart(domid):\n    yield True, (("read", "/", ""),)\n',
        "says": "somebody is under naive",
        "secret": ["different nodes", "f\"/tool"],
    },
    "exercise-2": {
        "right": 'def together(domid):\n    yield True, (("mkdir", "/tool/all", ""), ("directory", "/tool/all", ""), ("write", f"/tool/all/{domid}", ""))\n',
        "wrong": 'def together(domid):\n    yield True, (("write", "/tool/all", str(domid)),)\n',
        "says": "somebody is told to ask again under irmin too",
        "secret": ["/tool/all"],
    },
    "exercise-3": {
        "right": "lab.xenstore.restore(good)",
        "wrong": "lab.xenstore.restart()",
        "says": "is 'renamed' again",
        "secret": ["restore("],
    },
}

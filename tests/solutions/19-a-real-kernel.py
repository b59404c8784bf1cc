"""Solutions of 19-a-real-kernel."""

KERNEL = """
text = b"goodbye"
code = (hypercall(18, 0, len(text), where + 8) + hypercall(29, 2, where)).ljust(0x80, b"\\x90") + ({reason}).to_bytes(8, "little") + text
"""

EXERCISES = {
    "exercise-1": {
        "right": 'files = {"boot/grub/grub.cfg": b"echo good morning\\nhalt\\n"}',
        "wrong": 'files = {"boot/grub/grub.cfg": b"echo good morning\\n"}',
        "says": "✗ 3. and the machine is off",
        "secret": ["echo", "halt"],
    },
    "exercise-2": {
        "right": KERNEL.format(reason="3"),
        "wrong": KERNEL.format(reason="0"),
        "says": "shut down: poweroff",
        "secret": ["hypercall(18", "to_bytes"],
    },
    "exercise-3": {
        "right": "bytes_read = sum(512 * event.fields['sectors'] for event in other.events('blk.request'))",
        "wrong": "bytes_read = len(other.events('blk.request'))",
        "says": "too few",
        "secret": ["512"],
    },
}

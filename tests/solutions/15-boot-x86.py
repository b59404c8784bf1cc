"""Solutions of 15-boot-x86."""

GUEST = """
{name} = compile_guest('''
#include <guest.h>
int main(void) {{ {body} return 0; }}
''', name="{name}")
"""

EXERCISES = {
    "exercise-1": {
        "right": GUEST.format(name="squares", body='for (int n = 1; n <= 10; n++) printf("%d\\\\n", n * n);'),
        "wrong": GUEST.format(name="squares", body='for (int n = 1; n < 10; n++) printf("%d\\\\n", n * n);'),
        "says": "it prints ten lines",
        "secret": ["printf", "100"],
    },
    "exercise-2": {
        "right": GUEST.format(name="frugal", body='console_io(CONSOLEIO_write, 3, "ok\\\\n");'),
        "wrong": GUEST.format(name="frugal", body='console_io(CONSOLEIO_write, 3, "ok\\\\n"); print("ok");'),
        "says": "it made 5",
        "secret": ["console_io(CONSOLEIO_write, 3"],
    },
    "exercise-3": {
        "right": GUEST.format(name="touches", body="(void)*(volatile char *)0xdead0000ul;"),
        "wrong": GUEST.format(name="touches", body="*(volatile char *)0xdead0000ul = 1;"),
        "says": "which it read",
        "secret": ["volatile"],
    },
}

"""Solutions of 16-boot-arm."""

TWO = """
SOURCE = '''
#include <guest.h>
#ifdef {symbol}
#define NAME "x86-64\\\\n"
#else
#define NAME "ARM\\\\n"
#endif
int main(void) {{ print(NAME); return 0; }}
'''
"""

SLEEPER = """
sleeper = compile_guest('''
#include <guest.h>
int main(void) {{ {body} return 0; }}
''', "armv7")
"""

EXERCISES = {
    "exercise-1": {
        "right": TWO.format(symbol="__x86_64__"),
        "wrong": TWO.format(symbol="__arm__"),
        "says": "it says x86-64",
        "secret": ["#ifdef", "#if"],
    },
    "exercise-2": {
        "right": SLEEPER.format(body="sleep_ns(1000000000ull);"),
        "wrong": SLEEPER.format(body="sleep_ns(1000000ull);"),
        "says": "not before a second has passed",
        "secret": ["sleep_ns"],
    },
}

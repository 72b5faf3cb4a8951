"""The interpreter leaves while the sweeper is at work."""

from __future__ import annotations

import pytest

from isolated import run_source

SETUP = """
import atexit, os, sys, threading, time
from leaksafe import TTLCache, sweeper

class Value:
    def __del__(self):
        sum(range(50))

cache = TTLCache(None, 0.001, on_remove=lambda *event: None)
late = TTLCache(None, 0.001)

def fill():
    for number in range(3_000):
        cache[number] = Value()
"""
EXITS = {
    "at its end": "fill()",
    "by os._exit": "fill(); sys.stdout.flush(); os._exit(0)",
    "by sys.exit": "fill(); sys.exit(0)",
    "with daemon threads": """
def loop():
    # Without Python code that our code calls: before 3.14, CPython aborts there (gh-87135). And
    # without objects that die in another thread than their own: at exit, without the GIL, CPython
    # may wait for its own lock on those, which a stopped daemon thread holds (as in gh-137433).
    while True:
        for number in range(256):
            late[number] = None
fill()
for _ in range(2):
    threading.Thread(target=loop, daemon=True).start()
time.sleep(0.01)
""",
    "from a late atexit handler": """
def last():
    fill()
    late["a"] = Value()
atexit.register(last)
fill()
""",
    "from an early atexit handler": """
def stopped():
    fill()
    assert not sweeper.state().running
""",
    "with the cache in a module that goes last": "sys.modules['kept'] = cache; fill()",
}


@pytest.mark.parametrize("way", EXITS)
def test_exit_while_it_sweeps(way: str) -> None:
    source = SETUP + EXITS[way] + "\ntime.sleep(0.0005)\n"
    if way == "from an early atexit handler":
        source = "import atexit\natexit.register(lambda: stopped())\n" + source
    for _ in range(30):
        result = run_source(source)
        assert (result.code, result.stderr) == (0, ""), result.report(way)

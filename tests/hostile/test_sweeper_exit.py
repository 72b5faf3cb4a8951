"""The interpreter leaves while the sweeper is at work."""

from __future__ import annotations

import pytest

from isolated import run_source

FRESH = 3
"""So many exits in each way are of a new interpreter: 24 in all."""
FORKED = 30
"""And so many of forked children, which take less time and end as any interpreter does: 240."""

SETUP = """
import atexit, os, sys, threading, time
from leaksafe import TTLCache, sweeper

class Value:
    def __del__(self):
        sum(range(50))

cache = TTLCache(None, 0.001, on_remove=lambda *event: None)
late = TTLCache(None, 0.001)

def fill():
    for number in range(2_000):
        cache[number] = Value()
"""
EXITS = {
    "at its end": "fill()",
    "by os._exit": "fill(); time.sleep(pause); os._exit(0)",
    "by sys.exit": "fill(); time.sleep(pause); sys.exit(0)",
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
fill()
""",
    "with a stand-in for cachetools'": """
from leaksafe.compat import cachetools
cache = cachetools.TTLCache(10**6, 0.001)
fill()
""",
    "with the cache in a module that goes last": "sys.modules['kept'] = cache; fill()",
}
FORK = f"""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)

def ended():
    pid, status = os.wait()
    assert status == 0, f"the child number {{children.pop(pid)}} ended with {{status}}"
    del children[pid]

children = {{}}
for number in range({FORKED}):
    if len(children) == 3:
        ended()
    child = os.fork()
    if not child:
        break
    children[child] = number
else:
    while children:
        ended()
    os._exit(0)
pause = number % 20 * 0.0001
"""


@pytest.mark.parametrize("way", EXITS)
def test_exit_while_it_sweeps(way: str) -> None:
    for number in range(FRESH):
        result = run_source(source(f"pause = {number} * 0.0005", EXITS[way]))
        assert (result.code, result.stderr) == (0, ""), result.report(way)


@pytest.mark.parametrize("way", EXITS)
def test_children_exit_while_it_sweeps(way: str) -> None:
    result = run_source(source(FORK, EXITS[way]), limit=120)
    assert (result.code, result.stderr) == (0, ""), result.report(way)


def source(before: str, way: str) -> str:
    early = "import atexit\ndef stopped(): pass\natexit.register(lambda: stopped())\n"
    return f"{early}{SETUP}\n{before}\n{way}\ntime.sleep(pause)\n"

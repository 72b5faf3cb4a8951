"""What `leaksafe scan` finds in source, and what it leaves alone."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

from leaksafe._scan.finding import RULES
from leaksafe._scan.scan import judge, scan_source


def found(*sources: str) -> list[tuple[str, int]]:
    """Code and line of each finding in files that are scanned together."""
    scanned = [
        scan_source(dedent(source).encode(), f"{number}.py")
        for number, source in enumerate(sources)
    ]
    return [(one.rule.code, one.line) for one in judge(scanned, lambda code: True)]


CACHE = """
    _cache = {}

    def look_up(key):
        if key not in _cache:
            _cache[key] = compute(key)
        return _cache[key]
"""

LEAKS = {
    "a dict of a module": (CACHE, [("LS001", 2)]),
    "a dict of a class": (
        """
        class Calculator:
            __results = {}

            @classmethod
            def add(cls, a, b):
                key = f"add_{a}_{b}"
                if key in cls.__results:
                    return cls.__results[key]
                result = a + b
                cls.__results[key] = result
                return result
        """,
        [("LS001", 3)],
    ),
    "a dict of a class, by the name of the class": (
        """
        class Calculator:
            results: dict[int, int] = dict()

            def double(self, a):
                try:
                    return Calculator.results[a]
                except KeyError:
                    return Calculator.results.setdefault(a, a + a)
        """,
        [("LS001", 3)],
    ),
    "a dict by what tells objects apart": (
        """
        _seen = {}
        locks = {}

        def describe(thing):
            which = id(thing)
            if which not in _seen:
                _seen[which] = repr(thing)
            return _seen[which]

        class Session:
            def lock(self):
                return locks.setdefault(self.session_id, Lock())
        """,
        [("LS001", 2), ("LS001", 3)],
    ),
    "a dict of a base class": (
        """
        class Base:
            seen = {}

        class Calculator(Base):
            def double(self, a):
                if self.seen.get(a) is None:
                    self.seen[a] = a + a
                return self.seen[a]
        """,
        [("LS001", 3)],
    ),
    "a dict filled in one function and read in another, if it is called a cache": (
        """
        _cache = {}

        def put(key, value):
            _cache[key] = value

        def get(key):
            return _cache.get(key)
        """,
        [("LS001", 2)],
    ),
    "lru_cache on a method": (
        """
        from functools import lru_cache

        class Report:
            @lru_cache(maxsize=32)
            def count(self, word): ...

            @lru_cache
            def words(self): ...
        """,
        [("LS002", 5), ("LS002", 8)],
    ),
    "an unbounded cache on a method": (
        """
        import functools as ft
        from functools import cache as remember

        class Report:
            @ft.lru_cache(None)
            def one(self): ...

            @ft.lru_cache(maxsize=None)
            def two(self): ...

            @remember
            def three(self): ...

            @property
            @ft.cache
            def four(self): ...
        """,
        [("LS003", 6), ("LS003", 9), ("LS003", 12), ("LS003", 16)],
    ),
    "a list of a module": (
        """
        log = []

        def note(what):
            log.append(what)
        """,
        [("LS004", 2)],
    ),
    "a list of a module that is added to in place": (
        """
        log = list()

        def note(what):
            global log
            log += [what]
        """,
        [("LS004", 2)],
    ),
    "a singleton": (
        """
        class Singleton:
            __instance = None

            def __new__(cls):
                if cls.__instance is None:
                    cls.__instance = super().__new__(cls)
                    cls.__instance.my_list = []
                return cls.__instance
        """,
        [("LS005", 5)],
    ),
    "a singleton that asks for the attribute": (
        """
        class Singleton:
            def __new__(cls, *args):
                if not hasattr(cls, "one"):
                    made = object.__new__(cls)
                    cls.one = made
                return cls.one
        """,
        [("LS005", 3)],
    ),
    "listeners of an instance": (
        """
        class Subject:
            def __init__(self):
                self._listeners = []

            def subscribe(self, listener):
                self._listeners.append(listener)

            def emit(self):
                for listener in self._listeners:
                    listener.update(self)
        """,
        [("LS006", 4)],
    ),
    "listeners by event": (
        """
        class Emitter:
            def __init__(self):
                self.listeners = defaultdict(list)

            def on(self, event, function):
                self.listeners[event].append(function)

            def emit(self, event):
                for function in self.listeners[event]:
                    function()
        """,
        [("LS006", 4)],
    ),
    "listeners of a module": (
        """
        _hooks = []

        def when_changed(hook):
            _hooks.append(hook)

        def change():
            for hook in list(_hooks):
                hook()
        """,
        [("LS006", 2)],
    ),
    "an exception in an attribute": (
        """
        class Job:
            def run(self):
                try:
                    self.work()
                except Exception as error:
                    self.error = error
        """,
        [("LS007", 7)],
    ),
    "an exception in a global and in lists": (
        """
        failures = []
        last = None

        class Job:
            def run(self):
                global last
                try:
                    self.work()
                except Exception as error:
                    last = error
                    failures.append(error)
                    self.failures.append(error)
                    self.by_name["run"] = error
        """,
        [("LS004", 2), ("LS007", 11), ("LS007", 12), ("LS007", 13), ("LS007", 14)],
    ),
    "an owner and what it owns": (
        """
        class Person:
            def add_car(self, car):
                self.cars.append(car)
                car.owner = self
        """,
        [("LS008", 5)],
    ),
    "an owner of one by name": (
        """
        class Person:
            def add_car(self, car):
                car.owner = self
                self.cars[car.name] = car
        """,
        [("LS008", 4)],
    ),
    "a child that is given its parent": (
        """
        class Window:
            def __init__(self):
                self.menu = Menu(self)
                self.bars.append(Menu(window=self))

        class Menu:
            def __init__(self, window):
                self.window = window
        """,
        [("LS008", 4), ("LS008", 5)],
    ),
}

HARMLESS = {
    "a cache that is emptied": CACHE
    + """
    def clear():
        _cache.clear()
    """,
    "a cache that is made anew": CACHE
    + """
    def clear():
        global _cache
        _cache = {}
    """,
    "a cache that is looked at for its length": """
        _cache = {}

        def look_up(key):
            if key in _cache:
                return _cache[key]
            value = compute(key)
            if len(_cache) < 100:
                _cache[key] = value
            return value
    """,
    "a cache that other code is given": CACHE
    + """
    def share():
        manage(_cache)
    """,
    "a cache of a function": """
        def outer():
            _cache = {}
            def look_up(key):
                if key not in _cache:
                    _cache[key] = compute(key)
                return _cache[key]
    """,
    "a name of a function that hides a module's": """
        cache = {}

        def look_up(key):
            cache = make()
            if key not in cache:
                cache[key] = compute(key)
            return cache[key]
    """,
    "a cache with a bound": """
        from leaksafe import LRUCache

        _cache = LRUCache(100)

        def look_up(key):
            if key not in _cache:
                _cache[key] = compute(key)
            return _cache[key]
    """,
    "a cache that holds weakly": """
        import weakref

        _cache = weakref.WeakValueDictionary()

        def look_up(key):
            if key not in _cache:
                _cache[key] = compute(key)
            return _cache[key]
    """,
    "a cache by class": """
        _cache = {}

        def fields(obj):
            cls = type(obj)
            if cls not in _cache:
                _cache[cls] = compute(cls)
            return _cache[cls]
    """,
    "a cache by one of a few values": """
        from typing import Literal

        _cache = {}

        def rows(order: Literal["up", "down"], all: bool):
            if (order, all) not in _cache:
                _cache[order, all] = compute(order)
            return _cache[order, all]
    """,
    "a cache by what a program has few of": """
        _cache = {}

        def read(path):
            if path not in _cache:
                _cache[path] = open(path).read()
            return _cache[path]
    """,
    "a cache by constants": """
        _cache = {}

        def settings():
            if "settings" not in _cache:
                _cache["settings"] = read()
            return _cache["settings"]
    """,
    "a table that knows most of it from the start": """
        _formats = {int: "d", str: "s"}

        def format_of(example):
            if example not in _formats:
                _formats[example] = compute(example)
            return _formats[example]
    """,
    "a register": """
        _kinds = {}

        def register(name, kind):
            if name in _kinds:
                raise ValueError(name)
            _kinds[name] = kind

        def kind_of(name):
            return _kinds[name]
    """,
    "a dict of an instance that hides the class's": """
        class Calculator:
            results = {}

            def __init__(self):
                self.results = {}

            def double(self, a):
                if a not in self.results:
                    self.results[a] = a + a
                return self.results[a]
    """,
    "lru_cache on functions, and on methods without an instance": """
        from functools import cache, lru_cache

        @cache
        def one(a): ...

        class Report:
            @staticmethod
            @lru_cache
            def two(a): ...

            @classmethod
            @lru_cache
            def three(cls, a): ...

            @lru_cache(maxsize=0)
            def four(self): ...
    """,
    "lru_cache on the values of an enum, and on what is compared by value": """
        from enum import Enum
        from functools import lru_cache
        from typing import NamedTuple

        class Colour(Enum):
            @lru_cache
            def one(self): ...

        class Point(NamedTuple):
            x: int
            @lru_cache
            def two(self): ...

        class Line:
            def __hash__(self): ...
            @lru_cache
            def three(self): ...
    """,
    "lru_cache on an instance that the module makes itself": """
        from functools import cache

        class Manager:
            @cache
            def schema(self, region): ...

        MANAGER = Manager()
    """,
    "lru_cache from elsewhere": """
        from leaksafe import cache, lru_cache

        class Report:
            @lru_cache
            def one(self): ...
            @cache
            def two(self): ...
    """,
    "a list that is taken from": """
        waiting = []

        def put(what):
            waiting.append(what)

        def take():
            return waiting.pop()
    """,
    "a list that is filled by the module": """
        table = []

        for number in range(10):
            table.append(number)

        def fill(start):
            table.append(start)

        fill(1)
    """,
    "a list that is filled by a decorator": """
        tests = []

        def test(function):
            tests.append(function)
            return function
    """,
    "a list that is filled once": """
        table = []

        def get():
            if not table:
                for row in read():
                    table.append(row)
            return table
    """,
    "a list of what is there, each once": """
        names = []

        def add(name):
            if name not in names:
                names.append(name)
    """,
    "a deque with a bound": """
        from collections import deque

        recent = deque(maxlen=10)

        def note(what):
            recent.append(what)
    """,
    "a list of a module that a function has one of its own for": """
        log = []

        def note(what, log):
            log.append(what)
    """,
    "a singleton with a lock": """
        class Singleton:
            one = None

            def __new__(cls):
                with cls.lock:
                    if cls.one is None:
                        cls.one = super().__new__(cls)
                return cls.one
    """,
    "a singleton that the module makes itself": """
        class Missing:
            one = None

            def __new__(cls):
                if cls.one is None:
                    cls.one = super().__new__(cls)
                return cls.one

        MISSING = Missing()
    """,
    "a __new__ that keeps nothing": """
        class Point(tuple):
            def __new__(cls, x, y):
                return super().__new__(cls, (x, y))
    """,
    "listeners that can leave": """
        class Subject:
            def __init__(self):
                self._listeners = []

            def subscribe(self, listener):
                self._listeners.append(listener)

            def unsubscribe(self, listener):
                self._listeners.remove(listener)

            def emit(self):
                for listener in self._listeners:
                    listener()
    """,
    "the steps of what an instance does": """
        class Response:
            def __init__(self):
                self._callbacks = []

            def after(self, callback):
                self._callbacks.append(callback)

            def render(self):
                for callback in self._callbacks:
                    callback(self)
    """,
    "children, which are called as well": """
        class Group:
            def __init__(self):
                self.children = []

            def add(self, child):
                self.children.append(child)

            def draw(self):
                for child in self.children:
                    child.draw()
    """,
    "what is kept of an exception": """
        class Job:
            def run(self):
                try:
                    self.work()
                except Exception as error:
                    self.error = str(error)
                    failed = error
    """,
    "an exception without its frames": """
        class Job:
            def run(self):
                try:
                    self.work()
                except Exception as error:
                    self.error = error
                    error.__traceback__ = None
    """,
    "an exception that is let go": """
        class Job:
            def run(self):
                try:
                    self.work()
                except Exception as error:
                    self.error = error
                    self.report()

            def report(self):
                print(self.error)
                self.error = None
    """,
    "an exception within one that is raised": """
        def run():
            try:
                work()
            except Exception as error:
                failure = Failure()
                failure.reason = error
                raise failure
    """,
    "exceptions that are let go together": """
        class Job:
            def run(self):
                try:
                    self.work()
                except Exception as error:
                    self.errors.append(error)

            def begin(self):
                self.errors = []
    """,
    "a weak way back": """
        import weakref

        class Person:
            def add_car(self, car):
                self.cars.append(car)
                car.owner = weakref.ref(self)
    """,
    "a way back through weakattr": """
        from leaksafe import weakattr

        class Car:
            owner = weakattr()

        class Person:
            def add_car(self, car):
                self.cars.append(car)
                car.owner = self
    """,
    "a way back that is cut": """
        class Person:
            def add_car(self, car):
                self.cars.append(car)
                car.owner = self

            def close(self):
                for car in self.cars:
                    car.owner = None
    """,
    "a child that is let go": """
        class Window:
            def show(self):
                self.menu = Menu(self)

            def hide(self):
                self.menu = None

        class Menu:
            def __init__(self, window):
                self.window = window
    """,
    "a child that keeps its parent, and that the parent does not keep": """
        class Window:
            def show(self):
                menu = Menu(self)
                menu.show()

        class Menu:
            def __init__(self, window):
                self.window = window
    """,
}


@pytest.mark.parametrize("name", LEAKS)
def test_leaks_are_found(name: str) -> None:
    source, expected = LEAKS[name]
    assert found(source) == expected


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_not_leak_is_left_alone(name: str) -> None:
    assert found(HARMLESS[name]) == []


def test_a_finding_says_what_why_and_how_to_cure_it() -> None:
    scanned = scan_source(dedent(CACHE).encode(), "app.py")
    (finding,) = judge([scanned], lambda code: True)
    assert (finding.path, finding.line, finding.column) == ("app.py", 2, 1)
    assert "_cache" in finding.what
    assert "look_up (line 4)" in finding.why
    assert "LRUCache" in finding.cure


@pytest.mark.parametrize(
    "emptying",
    [
        "from app import _cache\ndef reset():\n    _cache.clear()\n",
        "import app\ndef reset():\n    app._cache.clear()\n",
        "import app\ndef reset(key):\n    del app._cache[key]\n",
        "import app\ndef reset():\n    app._cache = {}\n",
    ],
)
def test_another_file_may_empty_a_cache(emptying: str) -> None:
    assert found(CACHE, emptying) == []
    assert found(CACHE, "import app\nprint(app._cache)\n") == [("LS001", 2)]


def test_another_file_may_let_go() -> None:
    owned = """
        class Person:
            def add_car(self, car):
                self.cars.append(car)
                car.owner = self
    """
    kept = """
        class Job:
            def run(self):
                try:
                    self.work()
                except Exception as error:
                    self.failure = error
    """
    assert found(owned, kept) == [("LS008", 5), ("LS007", 7)]
    assert found(owned, "def sell(car):\n    car.owner = None\n") == []
    assert found(kept, "def report(job):\n    del job.failure\n") == []
    assert found(kept, "def report(job):\n    failure = None\n") == [("LS007", 7)]


def test_another_file_may_fill_a_list_when_it_is_imported() -> None:
    registry = """
        plugins = []

        def add(plugin):
            plugins.append(plugin)
    """
    assert found(registry) == [("LS004", 2)]
    assert found(registry, "import plugins\nplugins.add(print)\n") == []
    assert found(registry, "def main():\n    plugins.add(print)\n") == [("LS004", 2)]


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("# noqa", []),
        ("# NOQA : ls001", []),
        ("# noqa: E501, LS001", []),
        ("# noqa: E501 LS001  # because", []),
        ("# type: ignore  # noqa:LS001", []),
        ("# noqa: LS004", [("LS001", 1)]),
        ("# noqa: E501", [("LS001", 1)]),
        ("# cache", [("LS001", 1)]),
    ],
)
def test_a_comment_silences_a_finding(comment: str, expected: list[tuple[str, int]]) -> None:
    source = dedent(CACHE).lstrip().replace("_cache = {}", f"_cache = {{}}  {comment}")
    assert found(source) == expected


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [("# noqa", "", []), ("", "# noqa", []), ("", "", [("LS001", 1)])],
)
def test_a_comment_stands_on_the_first_line_or_the_last(
    first: str, last: str, expected: list[tuple[str, int]]
) -> None:
    several = f"_cache = {{  {first}\n}}  {last}"
    assert found(dedent(CACHE).lstrip().replace("_cache = {}", several)) == expected


def test_a_comment_is_found_in_the_encoding_of_the_file() -> None:
    source = "# coding: latin-1\nname = 'ü'\n" + dedent(CACHE)
    silent = source.replace("_cache = {}", "_cache = {}  # ü # noqa: LS001")
    for text, count in ((source, 1), (silent, 0)):
        scanned = scan_source(text.encode("latin-1"), "app.py")
        assert len(judge([scanned], lambda code: True)) == count


GUIDE = (Path(__file__).parent.parent / "docs" / "scan.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^### (LS\d+)\n(.*?)(?=^##)", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_guide_describes_every_rule() -> None:
    assert [code for code, _ in SECTIONS] == [code for code in RULES if code != "LS000"]


@pytest.mark.parametrize(("code", "section"), SECTIONS, ids=[code for code, _ in SECTIONS])
def test_the_guide_shows_what_a_rule_finds_and_a_cure(code: str, section: str) -> None:
    leak, cure = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert [found_code for found_code, _ in found(leak)] == [code]
    assert found(cure) == []

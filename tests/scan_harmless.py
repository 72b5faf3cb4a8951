"""Sources that look like those that leak, and don't."""

from __future__ import annotations

from scan_leaks import CACHE

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

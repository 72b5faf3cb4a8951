"""Sources that leak, by what they do, with the code and line of each finding."""

from __future__ import annotations

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

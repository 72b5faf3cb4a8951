"""What all that is driven has in common, and the mappings."""

from __future__ import annotations

import asyncio
import copy
import gc
import itertools
import math
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import leaksafe
from leaksafe.compat import cachetools

from .things import NAN, Thing, anything, belongs, key, say, token, value
from .world import DOCUMENTED, World

# What starts to wait for what another thread does, which must not be waiting for it.
WAITING = {
    "get_or_create",
    "aget_or_create",
    "use",
    "override",
    "close",
    "aclose",
    "clear",
    "expire",
    "property",
    "remembered",
    "data",
}
SPECIAL = (
    "__contains__",
    "__copy__",
    "__delitem__",
    "__enter__",
    "__eq__",
    "__exit__",
    "__ge__",
    "__getitem__",
    "__gt__",
    "__hash__",
    "__iadd__",
    "__iand__",
    "__ior__",
    "__isub__",
    "__iter__",
    "__ixor__",
    "__le__",
    "__len__",
    "__length_hint__",
    "__lt__",
    "__next__",
    "__or__",
    "__reduce__",
    "__repr__",
    "__reversed__",
    "__ror__",
    "__setitem__",
    "__sizeof__",
    "__sub__",
    "__xor__",
)


class Driven:
    """One structure and what is done to it: the methods whose names begin with `do_`."""

    names: ClassVar[tuple[str, ...]] = ()
    """The public names that it drives."""

    locks = False

    def __init__(self, world: World) -> None:
        self.world = world
        self.held: list[Any] = []
        """Iterators, views and methods that were asked for, and are used later."""
        self.it: Any = self.make()
        self.deeds = sorted(name for name in dir(self) if name.startswith("do_"))

    def make(self) -> Any:
        raise NotImplementedError

    def act(self) -> None:
        deed = self.world.rng.choice(self.deeds)
        getattr(self, deed)()

    def check(self) -> None:
        """See to what must hold of it at rest. No hook strikes meanwhile."""

    def end(self) -> None:
        """Let go of everything."""
        self.held.clear()
        del self.it

    def step(self, name: str, call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        return self.world.step(name, call)

    def hold(self, what: object) -> None:
        self.held.append(what)
        if len(self.held) > 6:
            del self.held[self.world.rng.randrange(6)]

    def callback(self, name: str, result: Callable[[], Any]) -> Callable[..., Any]:
        """Make a function that strikes."""
        world = self.world

        def call(*arguments: object) -> Any:
            world.strike(name)
            return result()

        return call

    def do_call_anything(self) -> None:
        self.call_any(self.it)

    def do_use_held(self) -> None:
        held = tuple(self.held)  # which another thread may change
        if held:
            self.call_any(self.world.rng.choice(held))

    def do_replace(self) -> None:
        """Let go of it, also where one of its own methods is at work."""
        if not self.world.racing and self.world.chance(0.2):
            made, error = self.step("make another", self.make)
            if error is None:
                self.it = made

    def do_collect(self) -> None:
        gc.collect(self.world.rng.randrange(3))

    def do_async(self) -> None:
        if self.world.mine.depth == 0 and hasattr(self.it, "aget_or_create"):
            self.in_tasks(lambda its_key, factory: self.it.aget_or_create(its_key, factory))

    def call_any(self, it: Any) -> None:
        """Call any of its methods, with anything."""
        world = self.world
        kind = type(it)
        names = [name for name in dir(kind) if not name.startswith("_")]
        names += [name for name in SPECIAL if hasattr(kind, name)]
        if not names:
            return
        name = world.rng.choice(names)
        if name in WAITING and (not world.mine.patient or name.endswith("close")):
            return
        arguments = [anything() for _ in range(world.rng.choice((0, 0, 1, 1, 1, 2, 2, 3)))]
        told = ", ".join(map(say, arguments))

        def call() -> Any:
            method = getattr(it, name)
            return method(*arguments) if callable(method) else method

        result, _ = self.step(f"{kind.__name__}.{name}({told})", call)
        self.consume(result)

    def consume(self, result: Any) -> None:
        """Use what was returned."""
        if hasattr(type(result), "cr_frame"):
            self.step("drive the coroutine", lambda: self.drive(result))
        elif hasattr(type(result), "__next__"):
            self.step("take two", lambda: list(itertools.islice(result, 2)))
            self.hold(result)
        elif type(result).__module__.startswith("leaksafe"):
            self.hold(result)

    def drive(self, coroutine: Any) -> None:
        try:
            coroutine.send(None)
        finally:
            coroutine.close()

    def in_tasks(self, start: Callable[[Any, Callable[[], Any]], Any]) -> None:
        """Have tasks of an event loop ask for keys, some of them the same, and cancel some."""
        world = self.world
        keys = [key() for _ in range(3)]

        async def make(of: object) -> Any:
            for _ in range(world.rng.randrange(3)):
                await asyncio.sleep(0)
                world.strike("async factory")
            return value(of)

        async def one(of: object) -> None:
            found = await start(of, lambda: make(of))
            world.must(belongs(found, of), "a task got another key's value")

        async def main() -> None:
            tasks = [
                asyncio.create_task(one(world.rng.choice(keys)))
                for _ in range(world.rng.randrange(1, 6))
            ]
            for _ in range(world.rng.randrange(4)):
                await asyncio.sleep(0)
            for task in tasks:
                if world.chance(0.3):
                    task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled() and (error := task.exception()) is not None:
                    world.told.append(error)
                    if not isinstance(error, DOCUMENTED):
                        world.fail("a task raised", error)

        # What is raised where a flight is taken off, nobody is told.
        self.world.step("tasks", lambda: asyncio.run(main()), tells=False)


class MappingDriven(Driven):
    """A mapping, of which the model is that each value remembers the key it was put in for."""

    exact = True
    """Whether what was put in is there right after."""

    def look(self, name: str, its_key: Any, call: Callable[[], Any]) -> Any:
        found, error = self.step(f"{name} {say(its_key)}", call)
        if error is None:
            self.world.must(belongs(found, its_key), f"{name} {say(its_key)} gave another's value")
            if type(found) is Thing and not self.world.hostility:
                self.world.must(not found.dead, f"{name} gave what was finalized")
        return found, error

    def do_get(self) -> None:
        one = key()
        self.look("get", one, lambda: self.it.get(one))

    def do_item(self) -> None:
        one = key()
        self.look("item", one, lambda: self.it[one])

    def do_peek(self) -> None:
        one = key()
        if hasattr(self.it, "peek"):
            self.look("peek", one, lambda: self.it.peek(one))

    def do_set(self) -> None:
        one = key()
        made = value(one)
        self.world.keep(made)
        before = self.world.strikes
        it = self.it

        def put() -> None:
            it[one] = made

        _, error = self.step(f"set {say(one)}", put)
        if error is None and self.exact and not self.world.racing:
            found, error = self.step("get it back", lambda: it.get(one))
            if error is None and before == self.world.strikes and not self.world.fickle:
                room = getattr(it, "maxsize", None)
                self.world.must(found is made or room == 0, "what was put in isn't there")

    def do_delete(self) -> None:
        one = key()
        before = self.world.strikes
        it = self.it

        def delete() -> None:
            del it[one]

        _, error = self.step(f"del {say(one)}", delete)
        if error is None and not self.world.racing:
            there, error = self.step("is it there", lambda: one in it)
            if error is None and before == self.world.strikes and not self.world.fickle:
                self.world.must(not there, "what was deleted is there")

    def do_contains(self) -> None:
        one = key()
        self.step(f"in {say(one)}", lambda: one in self.it)

    def do_pop(self) -> None:
        one = key()
        self.look("pop", one, lambda: self.it.pop(one, None))

    def do_popitem(self) -> None:
        found, error = self.step("popitem", lambda: self.it.popitem())
        if error is None:
            self.world.must(belongs(found[1], found[0]), "popitem gave a pair that is none")

    def do_setdefault(self) -> None:
        one = key()
        made = value(one)
        self.look("setdefault", one, lambda: self.it.setdefault(one, made))

    def do_update(self) -> None:
        pairs = [(one, value(one)) for one in (key() for _ in range(self.world.rng.randrange(4)))]
        self.step("update", lambda: self.it.update(pairs))

    def do_create(self) -> None:
        if not self.world.mine.patient or not hasattr(self.it, "get_or_create"):
            return
        one = key()
        make = self.callback("factory", lambda: value(one))
        self.look("get_or_create", one, lambda: self.it.get_or_create(one, make))

    def do_iterate(self) -> None:
        how = self.world.rng.choice(("keys", "values", "items"))

        def loop() -> None:
            for number, found in enumerate(getattr(self.it, how)()):
                if how == "items":
                    self.world.must(belongs(found[1], found[0]), "items gave a pair that is none")
                self.world.strike("a loop's body")
                if number > 30:
                    break

        self.step(f"iterate {how}", loop)

    def do_hold(self) -> None:
        how = self.world.rng.choice(("keys", "values", "items", "__iter__", "__reversed__"))
        if hasattr(self.it, how):
            result, _ = self.step(how, lambda: getattr(self.it, how)())
            self.hold(result)

    def do_clear(self) -> None:
        if self.world.chance(0.3):
            self.step("clear", lambda: self.it.clear())

    def do_copy(self) -> None:
        how = self.world.rng.choice((copy.copy, copy.deepcopy, pickle.dumps, repr, len, list))
        result, _ = self.step(f"{how.__name__}", lambda: how(self.it))
        if type(result) is type(self.it):
            self.hold(result)

    def do_compare(self) -> None:
        self.step(
            "==", lambda: self.it == self.world.rng.choice((self.it, {1: Thing(1)}, self.held))
        )

    def check(self) -> None:
        it, must = self.it, self.world.must
        pairs = list(it.items())
        must(len(it) == len(pairs) == len(list(it.keys())) == len(list(it.values())), "lengths")
        for its_key, found in pairs:
            must(belongs(found, its_key), f"{say(its_key)} has another's value")
        if not self.world.fickle:
            tokens = [token(its_key) for its_key, _ in pairs]
            must(all(tokens.count(one) == 1 for one in tokens if one is not NAN), "a key twice")
            for its_key, _ in pairs:
                must(its_key in it, f"{say(its_key)} is listed and not found")


class Caches(MappingDriven):
    """`LRUCache`."""

    names = ("LRUCache",)
    kind: ClassVar[Any] = leaksafe.LRUCache

    def options(self) -> dict[str, Any]:
        world = self.world
        options: dict[str, Any] = {}
        if world.chance(0.3):
            options["on_remove"] = self.callback("on_remove", lambda: None)
        self.exact = True
        if world.chance(0.2):
            options["max_bytes"] = world.rng.choice((0, 500, 5_000, 1 << 40, "1 KiB"))
            self.exact = False
            return options
        options["maxsize"] = world.rng.choice((0, 1, 2, 3, 5, 100, None))
        if world.chance(0.3):
            self.exact = False
            options["getsizeof"] = self.callback(
                "getsizeof",
                lambda: world.rng.choice(
                    (0, 1, 1, 1, 2, 3, 3) if world.chance(0.9) else (-1, 1 << 70, "x", 1.5, None)
                ),
            )
        return options

    def make(self) -> Any:
        return self.kind(**self.options())

    def do_resize(self) -> None:
        size = self.world.rng.choice((0, 1, 2, 3, 10, None, -1, Thing(1)))
        self.step(f"resize {say(size)}", lambda: self.it.resize(size))

    def do_close(self) -> None:
        if self.world.chance(0.05):
            self.step("close", lambda: self.it.close())
            self.do_replace()

    def check(self) -> None:
        super().check()
        it, must = self.it, self.world.must
        stats = it.stats()
        must(it.maxsize is None or it.currsize <= it.maxsize, f"{it.currsize} of {it.maxsize}")
        gone = sum(stats.removals) - stats.removals.replaced
        must(stats.insertions - gone == len(it), f"{stats} of {len(it)}")
        must(not it.closed or not len(it), "a closed one holds something")
        keys = list(map(id, it))
        must(keys[::-1] == list(map(id, reversed(it))), "two orders")


class TimedCaches(Caches):
    """`TTLCache`, by a timer that goes where it likes."""

    names = ("TTLCache",)
    kind = leaksafe.TTLCache

    def options(self) -> dict[str, Any]:
        world = self.world
        options = super().options()
        options["ttl"] = world.rng.choice((0.001, 1, 5, math.inf, 3.5))
        if world.chance(0.2):
            options["ttl"] = self.callback(
                "ttl", lambda: world.rng.choice((1, 2, 3, 1, 2, -1, "x", NAN))
            )
        if world.chance(0.7):
            options["timer"] = self.callback("timer", self.time)
        options["sliding"] = world.chance(0.3)
        options["jitter"] = world.rng.choice((0.0, 0.5))
        self.exact = False
        return options

    def time(self) -> Any:
        world = self.world
        if world.hostility and not world.mine.quiet and world.chance(0.02):
            return world.rng.choice((NAN, "x", None, world.now - 3, 1e300, -math.inf))
        return world.now

    def do_wait(self) -> None:
        self.world.now += self.world.rng.choice((0.001, 0.5, 1, 4, -1))

    def do_expire(self) -> None:
        self.step("expire", lambda: self.it.expire())

    def do_set_ttl(self) -> None:
        one = key()
        lifetime = self.world.rng.choice((1, 2, 0.001, 1e-9, None, math.inf, 0, "x", Thing(1)))
        self.step("set", lambda: self.it.set(one, value(one), ttl=lifetime))

    def do_touch(self) -> None:
        one = key()
        self.step("touch", lambda: self.it.touch(one))
        self.step("expires_in", lambda: self.it.expires_in(one))

    def check(self) -> None:
        # With the clock of the system, what was listed may have expired meanwhile.
        if self.it.timer is not None:
            super().check()


class WeakCaches(MappingDriven):
    """`WeakCache`."""

    names = ("WeakCache",)

    def make(self) -> Any:
        options: dict[str, Any] = {}
        if self.world.chance(0.3):
            options["ttl"] = self.world.rng.choice((0.001, 100, math.inf))
        self.exact = "ttl" not in options
        if self.world.chance(0.2):
            options["max_bytes"] = self.world.rng.choice((1, 500, 10_000))
            self.exact = False
        else:
            options["maxsize"] = self.world.rng.choice((1, 2, 5, 100))
        return leaksafe.WeakCache(**options)

    def do_close(self) -> None:
        if self.world.chance(0.05):
            self.step("close", lambda: self.it.close())
            self.do_replace()

    def check(self) -> None:
        # It goes by its keys, of which some aren't found again.
        if self.it.ttl is None and not self.world.fickle:
            super().check()


class WeakValues(MappingDriven):
    """`WeakValueDictionary`."""

    names = ("WeakValueDictionary",)
    kind: ClassVar[Any] = leaksafe.WeakValueDictionary

    def make(self) -> Any:
        made = self.kind()
        if self.world.chance(0.3):
            made.on_collect = self.callback("on_collect", lambda: None)
        return made

    def do_forget(self) -> None:
        self.world.strong.clear()


class WeakKeys(WeakValues):
    """`WeakKeyDictionary`."""

    names = ("WeakKeyDictionary",)
    kind = leaksafe.WeakKeyDictionary

    def do_set(self) -> None:
        thing = Thing(self.world.rng.randrange(5))
        self.world.keep(thing)

        def put() -> None:
            self.it[thing] = value(thing)

        self.step(f"set {say(thing)}", put)


class WeakIds(WeakKeys):
    """`WeakIdDictionary`."""

    names = ("WeakIdDictionary",)
    kind = leaksafe.WeakIdDictionary

    def check(self) -> None:
        pairs = list(self.it.items())
        self.world.must(len(self.it) == len(pairs), "lengths")
        self.world.must(len({id(one) for one, _ in pairs}) == len(pairs), "a key twice")


class Compat(MappingDriven):
    """The caches of `leaksafe.compat.cachetools`."""

    locks = True
    names = tuple(f"compat.{name}" for name in cachetools.__all__ if name.endswith("Cache"))

    def make(self) -> Any:
        world = self.world
        kind = getattr(cachetools, world.rng.choice(self.names).removeprefix("compat."))
        arguments: list[Any] = [world.rng.choice((1, 2, 3, 10, 2.5))]
        if kind is cachetools.TTLCache:
            arguments.append(world.rng.choice((0.001, 1, 10)))
        if kind is cachetools.TLRUCache:
            arguments.append(lambda _key, _value, now: now + 2)
        self.exact = False
        if kind in (cachetools.TTLCache, cachetools.TLRUCache) and world.chance(0.7):
            return kind(*arguments, timer=self.callback("timer", lambda: world.now))
        return kind(*arguments)

    def do_wait(self) -> None:
        self.world.now += self.world.rng.choice((0.001, 1, 4))

    def check(self) -> None:
        if not hasattr(self.it, "timer"):
            # It goes by its keys, of which some aren't found again.
            if not self.world.fickle:
                super().check()
            self.world.must(
                self.it.currsize <= self.it.maxsize,
                f"a {type(self.it).__name__} has {self.it.currsize} of {self.it.maxsize}, "
                f"in {len(self.it)} entries",
            )

"""What is driven besides mappings: functions, sets, lists, registries, attributes, tools."""

from __future__ import annotations

import copy
import time
from datetime import timedelta
from typing import Any

import leaksafe
from leaksafe import leaks
from leaksafe.compat import cachetools

from .subjects import Driven
from .things import Thing, anything, belongs, key, say, value
from .world import World


class Functions(Driven):
    """Functions and methods that remember what they returned."""

    locks = True
    names = ("lru_cache", "cache", "ttl_cache", "cached", "compat.cached", "LeakWarning")

    def __init__(self, world: World) -> None:
        self.instances: list[Any] = []
        super().__init__(world)

    def decorator(self) -> Any:
        world, rng = self.world, self.world.rng
        size = rng.choice((0, 1, 2, 5, 100, None))
        kind = rng.randrange(8)
        typed = world.chance(0.3)
        if kind == 0:
            return leaksafe.cache
        if kind == 1:
            return leaksafe.lru_cache(size, typed)
        if kind == 2:
            return leaksafe.lru_cache(max_bytes=rng.choice((0, 1_000, "1 MiB")))
        if kind == 3:
            timer = self.callback("timer", lambda: world.now) if world.chance(0.7) else None
            return leaksafe.ttl_cache(size, rng.choice((0.001, 1, 5)), timer, typed)
        if kind == 4:
            return leaksafe.cached(maxsize=size, typed=typed, single_flight=world.chance(0.7))
        if kind == 5:
            store: Any = rng.choice(
                (leaksafe.LRUCache(3), leaksafe.WeakCache(3), {}, leaksafe.TTLCache(2, 1))
            )
            return leaksafe.cached(store)
        if kind == 6:
            return cachetools.cached(cachetools.LRUCache(3))
        options: dict[str, Any] = {}
        for name, make in {
            "ttl": lambda: rng.choice((0.001, 10, timedelta(seconds=1))),
            "key": lambda: self.callback("key", lambda: key()),
            "wait_timeout": lambda: 0.01,
            "refresh_after": lambda: 0.0001,
            "cache_if": lambda: self.callback("cache_if", lambda: world.chance(0.7)),
            "copy": lambda: rng.choice((True, copy.copy)),
            "on_remove": lambda: self.callback("on_remove", lambda: None),
            "getsizeof": lambda: self.callback("getsizeof", lambda: 1),
            "name": lambda: "name",
        }.items():
            if world.chance(0.3):
                options[name] = make()  # type: ignore[no-untyped-call]
        if "ttl" in options and world.chance(0.3):
            options["stale_if_error"] = 0.01
            self.stale = True
        return leaksafe.cached(maxsize=size, **options)

    def make(self) -> Any:
        world = self.world
        # A result that is stale is answered in place of an error.
        self.stale = False
        decorate = self.decorator()

        def function(*arguments: Any, **named: Any) -> Any:
            world.strike("the function")
            return value(arguments[-1] if arguments else None)

        def method(self: Any, *arguments: Any, **named: Any) -> Any:
            world.strike("the method")
            return value(arguments[-1] if arguments else None)

        how = world.rng.randrange(4)
        if how == 0:
            return decorate(function)
        namespace: dict[str, Any] = {"method": decorate(method)}
        if how == 2:
            namespace["method"] = classmethod(decorate(method))
        if how == 3:
            namespace["method"] = staticmethod(decorate(function))
        owner: Any = type("Owner", (Thing,), namespace)
        self.instances = [owner(number) for number in range(2)]
        return self.instances[0].method

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        arguments = tuple(key() for _ in range(self.world.rng.choice((0, 1, 1, 2))))
        return arguments, {"named": key()} if self.world.chance(0.2) else {}

    def do_call(self) -> None:
        if self.world.mine.patient:
            arguments, named = self.arguments()
            self.world.step(
                f"call ({', '.join(map(say, arguments))}, {', '.join(map(say, named.values()))})",
                lambda: self.it(*arguments, **named),
                tells=not self.stale,
            )

    do_call_again = do_call_once_more = do_call_and_again = do_call

    def do_manage(self) -> None:
        arguments, named = self.arguments()
        name = self.world.rng.choice(
            ("cache_contains", "cache_discard", "cache_peek", "cache_key", "cache_put")
        )
        if hasattr(self.it, name):
            if name == "cache_put":
                arguments = (value(arguments[-1] if arguments else None), *arguments)
            self.step(name, lambda: getattr(self.it, name)(*arguments, **named))

    def do_look(self) -> None:
        name = self.world.rng.choice(("cache_info", "cache_parameters", "cache_clear"))
        if hasattr(self.it, name) and (name != "cache_clear" or self.world.chance(0.2)):
            self.step(name, lambda: getattr(self.it, name)())
        if self.world.chance(0.2) and hasattr(self.it, "cache"):
            self.step("its cache", lambda: list(self.it.cache.items()))

    def do_move_to_another_instance(self) -> None:
        if self.instances and not self.world.racing:
            instance = self.world.rng.choice(self.instances)
            found, error = self.step("another instance's method", lambda: instance.method)
            if error is None:
                self.it = found

    def do_lose_an_instance(self) -> None:
        if len(self.instances) > 1 and not self.world.racing and self.world.chance(0.1):
            kind = type(self.instances[0])
            del self.instances[0]
            made, error = self.step("make an instance", lambda: kind(5))
            if error is None:
                self.instances.append(made)

    def do_wait(self) -> None:
        self.world.now += self.world.rng.choice((0.001, 1, 4))

    def check(self) -> None:
        # What somebody uses is beyond the bound of a `WeakCache`.
        kept = getattr(self.it, "cache", None)
        if hasattr(self.it, "cache_info") and not isinstance(kept, leaksafe.WeakCache):
            info = self.it.cache_info()
            bound = info.maxsize
            self.world.must(
                bound is None or info.currsize <= bound, f"{info}: {self.it.cache_parameters()}"
            )

    def end(self) -> None:
        super().end()
        self.instances.clear()


class Coroutines(Driven):
    """`cached` and its like over `async def`."""

    names = ("cached", "lru_cache", "ttl_cache")

    def make(self) -> Any:
        world = self.world

        async def function(of: Any, make: Any = None) -> Any:
            world.strike("the coroutine")
            return await make.token() if make is not None else value(of)

        decorate = world.rng.choice(
            (
                leaksafe.cached,
                leaksafe.cached(maxsize=2),
                leaksafe.cached(maxsize=3, ttl=0.001),
                leaksafe.cached(leaksafe.LRUCache(2)),
                leaksafe.lru_cache(2),
                leaksafe.ttl_cache(2, 1),
            )
        )
        return decorate(function)

    def do_tasks(self) -> None:
        if self.world.mine.depth == 0:
            self.in_tasks(lambda its_key, _: self.it(its_key))

    def do_look(self) -> None:
        name = self.world.rng.choice(
            ("cache_info", "cache_clear", "cache_contains", "cache_discard")
        )
        one = key()
        arguments = () if name in ("cache_info", "cache_clear") else (one,)
        self.step(name, lambda: getattr(self.it, name)(*arguments))

    def do_drop(self) -> None:
        self.step("call and drop", lambda: self.it(key()).close())

    def check(self) -> None:
        info = self.it.cache_info()
        self.world.must(info.maxsize is None or info.currsize <= info.maxsize, "over its bound")


class Members(Driven):
    """`WeakSet` and `WeakList`."""

    names = ("WeakSet", "WeakList")

    def make(self) -> Any:
        kinds: tuple[Any, ...] = (leaksafe.WeakSet, leaksafe.WeakList)
        made = self.world.rng.choice(kinds)()
        if self.world.chance(0.3):
            made.on_collect = self.callback("on_collect", lambda: None)
        return made

    def do_add(self) -> None:
        thing: Any = Thing(self.world.rng.randrange(5))
        self.world.keep(thing)
        if self.world.chance(0.2):
            thing = thing.method
        add = self.it.append if isinstance(self.it, leaksafe.WeakList) else self.it.add
        before = self.world.strikes
        it = self.it
        _, error = self.step(f"add {say(thing)}", lambda: add(thing))
        if error is None and not self.world.racing:
            there, error = self.step("is it there", lambda: thing in it)
            if error is None and before == self.world.strikes and not self.world.fickle:
                self.world.must(there, "what was added isn't there")

    do_add_more = do_add

    def do_remove(self) -> None:
        thing = Thing(self.world.rng.randrange(5))
        self.step(f"remove {say(thing)}", lambda: self.it.remove(thing))

    def do_iterate(self) -> None:
        def loop() -> None:
            for number, found in enumerate(self.it):
                self.world.must(found is not None, "None among the members")
                self.world.strike("a loop's body")
                if number > 30:
                    break

        self.step("iterate", loop)

    def do_combine(self) -> None:
        copied, _ = self.step("copy", lambda: self.it.copy())
        other = self.world.rng.choice((self.it, [Thing(1), Thing(2)], {3}, copied))
        name = self.world.rng.choice(
            (
                "update",
                "union",
                "difference_update",
                "intersection",
                "symmetric_difference",
                "extend",
            )
        )
        if hasattr(self.it, name):
            result, _ = self.step(name, lambda: getattr(self.it, name)(other))
            self.consume(result)

    def do_forget(self) -> None:
        self.world.strong.clear()

    def check(self) -> None:
        members = list(self.it)
        if len(self.it) != len(members):
            # One may be dying in a thread that is on its way out.
            time.sleep(0.1)
            members = list(self.it)
        self.world.must(len(self.it) == len(members), f"{len(self.it)} of {len(members)}")
        self.world.must(all(one is not None for one in members), "None among the members")
        if not self.world.fickle:
            self.world.must(all(one in self.it for one in members), "listed and not found")


class Registries(Driven):
    """`Registry`."""

    names = ("Registry",)

    def make(self) -> Any:
        rng = self.world.rng
        return leaksafe.Registry(
            rng.choice((1, 2, 5, None)),
            weak=self.world.chance(0.3),
            ttl=rng.choice((None, None, 0.001, 100)),
        )

    def do_create(self) -> None:
        one = key()
        if self.world.mine.patient:
            make = self.callback("factory", lambda: value(one))
            found, error = self.step(
                f"get_or_create {say(one)}", lambda: self.it.get_or_create(one, make)
            )
            self.world.must(error is not None or belongs(found, one), "another's instance")

    do_create_more = do_create

    def do_use(self) -> None:
        one = key()
        if not self.world.mine.patient:
            return

        def use() -> None:
            with self.it.use(one, self.callback("factory", lambda: value(one))):
                self.world.strike("inside use")

        self.step(f"use {say(one)}", use)

    def do_override(self) -> None:
        one = key()
        if not self.world.mine.patient:
            return

        def use() -> None:
            with self.it.override(one, value(one)):
                self.world.strike("inside override")

        self.step(f"override {say(one)}", use)

    def do_pop(self) -> None:
        one = key()
        found, error = self.step(f"pop {say(one)}", lambda: self.it.pop(one, None))
        self.world.must(error is not None or belongs(found, one), "another's instance")

    def do_item(self) -> None:
        one = key()
        self.step(f"item {say(one)}", lambda: self.it[one])
        self.step(f"in {say(one)}", lambda: one in self.it)

    def do_clear(self) -> None:
        if self.world.mine.patient and self.world.chance(0.2):
            self.step("clear", lambda: self.it.clear())

    def do_close(self) -> None:
        if self.world.mine.patient and self.world.chance(0.1):
            self.step("close", lambda: self.it.close())
            self.do_replace()

    def check(self) -> None:
        keys = list(self.it)
        bound = self.it.maxsize
        self.world.must(bound is None or len(self.it) <= bound, f"{len(self.it)} of {bound}")
        del keys


class Lazies(Driven):
    """`LazyObjects` and `lazy`."""

    names = ("LazyObjects", "lazy", "LiveBoundError")

    def make(self) -> Any:
        world, rng = self.world, self.world.rng
        make = self.callback("factory", lambda: Thing(1))
        options: dict[str, Any] = {"identity": world.chance(0.3)}
        if world.chance(0.4):
            options["keep"] = rng.choice((1, 2))
        if world.chance(0.3):
            options["max_live"] = rng.choice((3, 10))
        if world.chance(0.2):

            @leaksafe.lazy
            def loop(number: int) -> Any:
                for _ in range(number):
                    world.strike("a generator")
                    yield Thing(number)

            return loop(rng.randrange(5))
        return leaksafe.LazyObjects(make, rng.choice((0, 3, 20, [Thing(1), Thing(2)])), **options)

    def act(self) -> None:
        # Every look at what is kept may wait for another thread's.
        if self.world.mine.patient:
            super().act()

    def do_index(self) -> None:
        index = self.world.rng.choice(
            (0, 1, -1, 7, slice(1, None), slice(None, None, -1), Thing(1))
        )
        result, error = self.step("index", lambda: self.it[index])
        if error is None and self.world.chance(0.5):
            self.world.keep(result)
        self.consume(result)

    def do_map(self) -> None:
        result, _ = self.step("map", lambda: self.it.map(self.callback("map", lambda: Thing(3))))
        self.consume(result)

    def do_iterate(self) -> None:
        def loop() -> None:
            for number, _ in enumerate(self.it):
                self.world.strike("a loop's body")
                if number > 10:
                    break

        self.step("iterate", loop)


class Attributes(Driven):
    """What stands in a class: `cached_property`, `weakattr`, `singleton` and what is attached."""

    locks = True
    names = (
        "cached_property",
        "weakattr",
        "per_instance",
        "weak_callback",
        "singleton",
        "compat.cachedmethod",
    )

    def make(self) -> Any:
        world = self.world
        attached = leaksafe.per_instance(self.callback("per_instance", lambda: value(1)))
        attribute: Any = leaksafe.weakattr(on_collect=self.callback("on_collect", lambda: None))
        members: Any = leaksafe.weakattr.list()

        class Owner(Thing):
            near = attribute
            many = members

            def __init__(self, number: object = 0) -> None:
                world.strike("__init__")
                super().__init__(number)
                self.cache: Any = cachetools.LRUCache(3)

            @leaksafe.cached_property
            def property(self) -> Any:
                world.strike("a property")
                return value(1)

            @cachetools.cachedmethod(lambda self: self.cache)
            def remembered(self, of: object) -> Any:
                world.strike("a method")
                return value(of)

            def data(self) -> Any:
                return attached(self)

            def forget(self) -> None:
                attached.discard(self)

        self.single: Any = leaksafe.singleton(weak=world.chance(0.3))(type("Single", (Owner,), {}))
        return Owner(1)

    def do_read(self) -> None:
        name = self.world.rng.choice(("near", "many", "property", "data", "remembered", "forget"))
        if name in ("property", "data", "remembered") and not self.world.mine.patient:
            return
        call = {
            "data": lambda: self.it.data(),
            "forget": lambda: self.it.forget(),
            "remembered": lambda: self.it.remembered(key()),
        }.get(name, lambda: getattr(self.it, name))
        self.step(name, call)

    do_read_more = do_read

    def do_write(self) -> None:
        thing = Thing(1)
        self.world.keep(thing)
        name = self.world.rng.choice(("near", "many", "property"))
        new = [thing] if name == "many" else thing
        self.step(f"write {name}", lambda: setattr(self.it, name, new))

    def do_delete(self) -> None:
        name = self.world.rng.choice(("near", "property"))
        self.step(f"delete {name}", lambda: delattr(self.it, name))

    def do_single(self) -> None:
        if not self.world.mine.patient:
            return
        what = self.world.rng.randrange(6)
        if what == 0:
            self.step("reset", lambda: leaksafe.singleton.reset(self.single))
        elif what == 1 and not self.world.racing:

            def override() -> None:
                with leaksafe.singleton.override(self.single, Thing(1)):
                    self.world.strike("inside override")
                    self.single()

            self.step("override", override)
        elif what == 2:
            self.step("copy", lambda: copy.copy(self.single()))
        else:
            self.step("single", lambda: self.single())

    def do_callback(self) -> None:
        callback, error = self.step(
            "weak_callback", lambda: leaksafe.weak_callback(Thing(1).method)
        )
        if error is None:
            self.step("call back", lambda: (callback(1), callback.alive, callback == callback))

    def do_copy(self) -> None:
        if self.world.chance(0.3):
            self.step("deepcopy", lambda: copy.deepcopy(self.it))

    def end(self) -> None:
        leaksafe.singleton.reset(self.single)
        del self.single
        super().end()


class Tools(Driven):
    """What looks at objects, and what only says something."""

    names = (
        "deep_sizeof",
        "census",
        "clear_all",
        "CacheStats",
        "Removals",
        "Living",
        "__version__",
        "compat.CacheInfo",
        "leaks",
    )

    def make(self) -> Any:
        return leaksafe.LRUCache(5)

    def do_fill(self) -> None:
        thing = Thing(self.world.rng.randrange(5))
        thing.link = [anything(), thing]
        self.step("fill", lambda: self.it.__setitem__(thing.token, thing))

    def do_weigh(self) -> None:
        one = [anything() for _ in range(3)]
        self.step("deep_sizeof", lambda: leaksafe.deep_sizeof(one))

    def do_census(self) -> None:
        self.step("census", lambda: leaksafe.census())

    def do_clear_all(self) -> None:
        if self.world.mine.patient and self.world.chance(0.2):
            self.step("clear_all", leaksafe.clear_all)

    def do_say(self) -> None:
        kind = self.world.rng.choice((leaksafe.CacheStats, leaksafe.Removals, leaksafe.Living))
        arguments = [anything() for _ in range(self.world.rng.randrange(9))]
        self.step(kind.__name__, lambda: repr(kind(*arguments)))

    def do_ask_why(self) -> None:
        # Slow: it looks at the whole heap.
        if self.world.mine.depth == 0 and not self.world.racing and self.world.chance(0.1):
            thing = Thing(1)
            self.world.keep(thing)
            self.step("why_alive", lambda: repr(leaks.why_alive(thing)))

    def do_check_for_leaks(self) -> None:
        if self.world.mine.depth == 0 and not self.world.racing and self.world.chance(0.05):

            def check() -> None:
                with leaks.check():
                    self.do_fill()

            self.step("check", check)


def unnamed() -> set[str]:
    """Return the public names that nothing drives."""
    public = set(leaksafe.__all__) | {f"compat.{name}" for name in cachetools.__all__}
    driven = {name for kind in _subclasses(Driven) for name in kind.names}
    return public - driven


def _subclasses(kind: type[Driven]) -> list[type[Driven]]:
    return [kind, *(one for sub in kind.__subclasses__() for one in _subclasses(sub))]

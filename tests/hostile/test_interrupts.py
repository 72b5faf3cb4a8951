"""An interrupt at each bytecode of a call: what it hits is whole, and the next call works."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from actors import check

import leaksafe
from isolated import each, isolated

OURS = (str(Path(leaksafe.__file__).parent), __file__)
PATIENCE = 10.0


class Thing:
    """A value; its key is hashed and compared by Python code."""

    def __init__(self, name: object) -> None:
        self.name = name


class Key:
    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.number == other.number


def interrupted_at(number: int, call: Callable[[], object]) -> bool:
    """Whether the call came to its `number`th bytecode, and was interrupted there."""
    left = number

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(OURS) or frame.f_code is code:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    code = sys._getframe().f_code
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    # An interrupt in a place where nobody can be told counts as well.
    return left <= 0


def elsewhere(call: Callable[[], Any]) -> Any:
    """Make a call in another thread: it would wait for what was left under way."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the next call hangs"
    assert results, "the next call failed"
    return results[0]


class Case:
    """A call and what must hold after it."""

    def call(self) -> Any:
        raise NotImplementedError

    def check(self) -> None:
        pass


class Creation(Case):
    def __init__(self) -> None:
        self.cache: Any = leaksafe.LRUCache(2, on_remove=lambda *_: None)
        self.cache[Key(1)] = self.cache[Key(2)] = Thing(0)

    def call(self) -> Any:
        return self.cache.get_or_create(Key(3), lambda: Thing(3)).name

    def check(self) -> None:
        check(self.cache)


class TimedCreation(Creation):
    def __init__(self) -> None:
        self.cache = leaksafe.TTLCache(2, 100, lambda: 1.0, lambda _: 1)
        self.cache[Key(1)] = Thing(0)


class Function(Case):
    options: ClassVar[dict[str, Any]] = {"maxsize": 2}

    def __init__(self) -> None:
        @leaksafe.cached(**self.options)
        def function(key: object) -> Thing:
            return Thing(3)

        self.function = function
        function(Key(1)), function(Key(2))

    def call(self) -> Any:
        return self.function(Key(3)).name

    def check(self) -> None:
        info = self.function.cache_info()
        assert info.maxsize is None or info.currsize <= info.maxsize


class KeptFunction(Function):
    options: ClassVar[dict[str, Any]] = {
        "maxsize": 2,
        "key": lambda key: key,
        "cache_if": lambda _: True,
    }


class AgedFunction(Function):
    options: ClassVar[dict[str, Any]] = {
        "maxsize": 2,
        "ttl": 100,
        "stale_if_error": 5,
        "copy": lambda one: one,
    }


class WeakFunction(Function):
    @property
    def options(self) -> dict[str, Any]:  # type: ignore[override]
        return {"cache": leaksafe.WeakCache(2)}

    def check(self) -> None:
        pass


class Method(Case):
    def __init__(self) -> None:
        class Owner:
            @leaksafe.lru_cache(maxsize=2)
            def method(self, key: object) -> Thing:
                return Thing(3)

            @leaksafe.cached_property
            def property(self) -> Thing:
                return Thing(3)

        self.owner = Owner()

    def call(self) -> Any:
        assert self.owner.property.name == 3
        return self.owner.method(Key(1)).name


class Values(Case):
    def __init__(self) -> None:
        self.values = leaksafe.WeakValueDictionary[Key, Thing]()
        self.thing = self.values[Key(1)] = Thing(3)

    def call(self) -> Any:
        self.values.update([(Key(2), self.thing)])
        return self.values.get_or_create(Key(3), lambda: Thing(3)).name

    def check(self) -> None:
        assert len(self.values) == len(list(self.values.items()))


class OneOfEach(Case):
    def __init__(self) -> None:
        self.registry = leaksafe.Registry[Any, Thing](2)
        self.registry.get_or_create(Key(1), lambda: Thing(1))

    def call(self) -> Any:
        with self.registry.use(Key(3), lambda: Thing(3)) as thing:
            return thing.name

    def check(self) -> None:
        assert len(self.registry) == len(list(self.registry)) <= 2
        # Nothing is in use any more: all may go.
        for number in range(5, 9):
            self.registry.get_or_create(number, lambda: Thing(1))
        assert len(self.registry) <= 2


class Single(Case):
    def __init__(self) -> None:
        @leaksafe.singleton
        class One:
            def __init__(self) -> None:
                self.name = 3

        self.one: Any = One

    def call(self) -> Any:
        return self.one().name


class Objects(Case):
    def __init__(self) -> None:
        self.objects = leaksafe.LazyObjects(
            lambda _: Thing(3), 5, keep=1, identity=True, max_live=3
        )

    def call(self) -> Any:
        return self.objects[1].name


class Coroutine(Case):
    def __init__(self) -> None:
        self.cache: Any = leaksafe.LRUCache(2)

    def call(self) -> Any:
        async def make() -> Thing:
            await asyncio.sleep(0)
            return Thing(3)

        async def main() -> Any:
            return await asyncio.gather(*(self.cache.aget_or_create(1, make) for _ in range(2)))

        return asyncio.run(main())[0].name

    def check(self) -> None:
        check(self.cache)


CASES = {
    kind.__name__: kind
    for kind in (
        AgedFunction,
        Coroutine,
        Creation,
        Function,
        KeptFunction,
        Method,
        Objects,
        OneOfEach,
        Single,
        TimedCreation,
        Values,
        WeakFunction,
    )
}


@each("name", CASES)
@isolated(limit=120, malloc="default")
def test_an_interrupt_at_each_bytecode(name: str) -> None:
    # What a finalizer or a weak reference's callback was interrupted in is told there.
    sys.unraisablehook = lambda told: None
    # A loop that was interrupted says so of its tasks.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    number = missed = 0
    # From 3.12 on, code isn't traced the first time that it runs after tracing began anew.
    while missed < 3:
        number += not missed
        case = CASES[name]()
        missed = 0 if interrupted_at(number, case.call) else missed + 1
        try:
            case.check()
            assert elsewhere(case.call) == 3
            case.check()
        except BaseException as error:
            error.add_note(f"interrupted at bytecode {number}")
            raise
    assert number > 3
    del case
    for _ in range(3):
        gc.collect()
    assert not [one for one in gc.get_objects() if type(one) in (Thing, Key)]

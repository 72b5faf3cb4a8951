"""Cached functions called within each other, and results within results, as deep as it goes."""

from __future__ import annotations

import functools
import gc
import sys
import threading
from collections.abc import Callable
from typing import Any

from actors import Value, nothing_left
from decorated import OURS, THEIRS

from isolated import each, isolated, raises
from leaksafe import LRUCache, lru_cache


def deepest(decorate: Any, most: int) -> int:
    """How deep a cached function may call itself here, up to this."""

    @decorate(maxsize=None)  # type: ignore[untyped-decorator, unused-ignore]
    def down(n: int) -> int:
        return 0 if n == 0 else down(n - 1) + 1

    def reached(depth: int) -> bool:
        down.cache_clear()
        try:
            assert down(depth) == depth
        except RecursionError:
            return False
        return True

    if reached(most):
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if reached(middle):
            low = middle
        else:
            high = middle
    return low


def in_a_deep_thread(job: Callable[[], object]) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            job()
        except BaseException as error:
            errors.append(error)

    threading.stack_size(512 * 2**20)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


@isolated()
def test_recursion_is_as_deep_as_functools() -> None:
    theirs = deepest(THEIRS, 20_000)
    assert theirs > 100
    assert deepest(OURS, theirs) == theirs


@isolated(malloc="default")
def test_recursion_50_000_deep() -> None:
    """cachebox takes quadratic time: more than the limit of this test."""
    sys.setrecursionlimit(200_000)

    def job() -> None:
        theirs = deepest(THEIRS, 50_000)
        assert deepest(OURS, theirs) == theirs

    in_a_deep_thread(job)


@isolated()
def test_recursion_without_end() -> None:
    """RecursionError, as often as it is asked for, and then all is as before."""

    @lru_cache(maxsize=100)
    def plain(n: int) -> int:
        return plain(n + 1)

    @lru_cache
    def keyword(*, n: int) -> int:
        return keyword(n=n + 1)

    @lru_cache(typed=True)
    def same(n: int) -> int:
        return same(n)

    class Class(Value):
        @lru_cache
        def method(self, n: int) -> int:
            return self.method(n + 1)

        @property
        @lru_cache
        def attribute(self) -> int:
            return self.attribute

        @lru_cache
        def __hash__(self) -> int:
            return hash(self)

    instance = Class()
    calls: list[Callable[[], object]] = [
        lambda: plain(0),
        lambda: keyword(n=0),
        lambda: same(0),
        lambda: Class.method.__wrapped__(instance, 0),
        lambda: hash(instance),
    ]
    for call in calls * 3:
        with raises(RecursionError) as caught:
            call()
        caught.value = None
    assert plain.cache_info().currsize == keyword.cache_info().currsize == 0
    assert same.cache_info().currsize == 0
    del instance
    nothing_left()


@isolated()
def test_wrappers_around_wrappers() -> None:
    """No frame of Python lies between them: the last is reached, or RecursionError is raised."""
    depth, every = 12_000, 20
    function = bound = OURS(lambda *args, **kwargs: (args, kwargs))
    bind = type(OURS(len).__get__(1))
    for number in range(depth):
        function = OURS(function)
        # an argument more at each would make the last ones as slow as they are many
        bound = OURS(bind(bound, 1) if number % every == 0 else bound)
    raised = 0
    for one, before in ((function, 0), (bound, depth // every)):
        for args, kwargs in (((1,), {}), ((), {"x": 1})):
            try:
                result = one(*args, **kwargs)
            except RecursionError:
                raised += 1
            else:
                assert result == ((1,) * before + args, kwargs)
    # Since 3.14, the limit is that of the stack itself.
    assert raised == 4 or sys.version_info >= (3, 14)


@isolated()
def test_recursion_through_eq_and_hash() -> None:
    function = OURS(lambda x: Value())
    asking = ""

    class Asking:
        def __hash__(self) -> int:
            if asking == "hash":
                function(self)
            return 7

        def __eq__(self, other: object) -> bool:
            if asking == "eq":
                function(Asking())
            return self is other

    for at in ("hash", "eq"):
        function(Asking())
        for _ in range(3):
            asking = at
            with raises(RecursionError) as caught:
                function(Asking())
            caught.value = None
            asking = ""
    argument = Asking()
    assert function(argument) is function(argument)


DEPTH = 50_000


class Node:
    """The last of a chain owns a value."""

    def __init__(self, following: object) -> None:
        self.following = following

    @lru_cache(maxsize=None)
    def link(self) -> list[object]:
        following, self.following = self.following, None
        return [following]

    @lru_cache(maxsize=None)
    def bound(self) -> object:
        return self


class SlottedNode:
    __slots__ = ("__weakref__", "following")

    def __init__(self, following: object) -> None:
        self.following = following

    @lru_cache(maxsize=None)
    def link(self) -> list[object]:
        following, self.following = self.following, None
        return [following]


def chain_by_results(inner: Any) -> Any:
    node = Node(inner)
    node.link()
    return node


def chain_by_results_of_slotted(inner: Any) -> Any:
    node = SlottedNode(inner)
    node.link()
    return node


def chain_by_bound_methods(inner: Any) -> Any:
    return Node(inner).bound


def chain_by_bare_results(inner: Any) -> Any:
    function = OURS(1)(lambda x: x)
    function(inner)
    return function


def chain_by_arguments(inner: Any) -> Any:
    function = OURS(1)(lambda pair: len(pair))
    function((1, inner))
    return function


def chain_by_wrapped(inner: Any) -> Any:
    return OURS(1)(functools.partial(print, inner))


def chain_by_attributes(inner: Any) -> Any:
    function = OURS(1)(lambda: None)
    function.back = inner
    return function


CHAINS = {
    chain.__name__.removeprefix("chain_by_"): chain
    for chain in (
        chain_by_results,
        chain_by_results_of_slotted,
        chain_by_bound_methods,
        chain_by_bare_results,
        chain_by_arguments,
        chain_by_wrapped,
        chain_by_attributes,
    )
}


@each("how", CHAINS)
@isolated(malloc="default", limit=40)
def test_a_long_chain_is_dropped(how: str) -> None:
    """Each link holds the next: freeing the first may not take a stack frame for each."""
    gc.disable()
    outer: Any = (Value(),)
    for _ in range(DEPTH):
        outer = CHAINS[how](outer)
    assert Value.living() == 1
    box = [outer]
    del outer
    # a small stack, so that the depth is great on any
    threading.stack_size(256 * 1024)
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    assert Value.living() == 0


@isolated()
def test_what_is_deep_inside_a_function_goes_with_it_at_once() -> None:
    """Nothing else of ours is called afterwards, which could let go of it late."""
    gc.disable()
    inner: Any = Value()
    for _ in range(200):
        outer = LRUCache[str, Any](1)
        outer["inner"] = inner
        inner = outer
    function = OURS(1)(functools.partial(print, inner))
    del inner, outer
    assert Value.living() == 1
    del function
    assert Value.living() == 0

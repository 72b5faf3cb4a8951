"""The tutorial's programs, each with one line changed, do what they were meant to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import in_threads
from leaksafe import LazyObjects, LiveBoundError, lazy, singleton


def test_one_list_for_the_whole_program() -> None:
    @singleton
    class Singleton:
        def __init__(self) -> None:
            self.my_list = list(range(1_000))

        def add_data(self, x: int) -> None:
            self.my_list.append(x)

        def get_data(self) -> list[int]:
            return self.my_list

    Singleton().add_data(1_000)
    Singleton().add_data(1_001)
    assert Singleton().get_data() == list(range(1_002))
    assert in_threads(Singleton, Singleton) == [Singleton()] * 2
    singleton.reset(Singleton)
    assert len(Singleton().get_data()) == 1_000


class MyClass:
    def __init__(self, number: int) -> None:
        self.number = number


def test_a_million_objects_of_which_none_is_kept() -> None:
    objs = LazyObjects(MyClass, 1_000_000)
    assert len(objs) == 1_000_000
    assert sum(obj.number for obj in objs[::1_000]) == 499_500_000


def test_the_loop_that_appends_each_object() -> None:
    objs = []
    with pytest.raises(LiveBoundError, match="held by a list of 100 'objs' in test_the_loop"):
        for obj in LazyObjects(MyClass, 1_000_000, max_live=100):
            objs.append(obj)


def test_a_generator_that_can_be_walked_twice() -> None:
    @lazy
    def create_objs(num: int) -> Iterator[MyClass]:
        for i in range(num):
            yield MyClass(i)

    objs = create_objs(1_000)
    assert [obj.number for obj in objs] == [obj.number for obj in objs] == list(range(1_000))

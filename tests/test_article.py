"""The tutorial's programs, each with one line changed, do what they were meant to do."""

from __future__ import annotations

from harness import in_threads
from leaksafe import singleton


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

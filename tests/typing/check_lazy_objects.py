# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers make of LazyObjects and lazy. Not run: mypy and pyright read it.

Every `type: ignore` here is an error that both have to report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import assert_type

from leaksafe import LazyObjects, lazy


class Thing:
    def __init__(self, number: int) -> None:
        self.number = number


def length(text: str) -> int:
    return len(text)


@lazy
def create_objs(num: int, *, step: int = 1) -> Iterator[Thing]:
    yield Thing(num * step)


objs = LazyObjects(Thing, 10)
assert_type(objs, LazyObjects[Thing])
assert_type(LazyObjects(Thing, range(10), keep=3), LazyObjects[Thing])
assert_type(LazyObjects(length, ["a"]), LazyObjects[int])
assert_type(objs[1], Thing)
assert_type(objs[1:], LazyObjects[Thing])
assert_type(objs.map(lambda one: str(one.number)), LazyObjects[str])
assert_type(objs.batched(3)[0], LazyObjects[Thing])
assert_type(objs.live, int | None)
sequence: Sequence[Thing] = objs
LazyObjects(length, [1])  # type: ignore[arg-type]
LazyObjects(Thing, 10, keep="3")  # type: ignore[call-overload]
objs[1] = Thing(1)  # type: ignore[index]
assert_type(create_objs(3, step=2), Iterable[Thing])
create_objs("3")  # type: ignore[arg-type]
lazy(length)  # type: ignore[arg-type]

"""What `WeakSet` does beyond weakref's, and `WeakList`."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable, Iterator, MutableSet
from types import MethodType
from typing import Any

import pytest

from leaksafe import WeakList, WeakSet


class Window:
    def __init__(self, name: str = "") -> None:
        self.name = name
        self.drawn: list[str] = []

    def draw(self, what: str = "") -> None:
        self.drawn.append(what)

    def hide(self) -> None:
        pass


class Equal:
    """Unhashable, and equal to others of its kind."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def _no_gc() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_a_bound_method_is_a_member_as_long_as_its_instance_lives() -> None:
    window, other = Window(), Window()
    handlers = WeakSet([window.draw, window.draw, window.hide, other.draw])
    assert len(handlers) == 3
    assert window.draw in handlers and other.hide not in handlers
    assert window not in handlers
    for handler in handlers:
        handler.__self__.draw("x")  # type: ignore[attr-defined]
    del handler
    assert window.drawn == ["x", "x"]
    handlers.remove(window.hide)
    handlers.add(window)  # type: ignore[arg-type]
    assert len(handlers) == 3
    del window
    assert list(handlers) == [other.draw]


def test_the_function_of_a_method_is_not_kept_either() -> None:
    window = Window()
    window.on = lambda self=window: self  # type: ignore[attr-defined]
    handlers: WeakSet[Any] = WeakSet([MethodType(lambda self: None, window)])
    assert list(handlers) == []


def test_members_that_can_not_be_weak_are_refused_by_name() -> None:
    for refuse in (WeakSet[object]().add, WeakList[object]().append, WeakSet[object]().discard):
        with pytest.raises(TypeError, match="weak reference to 'int' object"):
            refuse(1)
    assert 1 not in WeakSet[object]()
    with pytest.raises(TypeError, match="unhashable"):
        WeakSet([Equal()])


def test_on_collect_is_called_after_each_removal() -> None:
    for container in (WeakSet[Window](), WeakList[Window]()):
        told: list[int] = []
        container.on_collect = lambda c=container, told=told: told.append(len(c))
        windows = [Window(), Window()]
        for window in windows:
            container.append(window) if isinstance(container, WeakList) else container.add(window)
        del window, windows[0]
        assert told == [1]
        container.clear()
        assert told == [1]


def test_a_set_is_copied_and_pickled_with_its_living_members() -> None:
    class_members = [Window("a"), Window("b")]
    original = WeakSet(class_members)
    assert copy.deepcopy(original) == original
    twins, list_twin = copy.deepcopy((class_members, WeakList(class_members)))
    assert list(list_twin) == twins != class_members
    assert copy.copy(original) == original
    assert isinstance(original, MutableSet)
    loaded, windows = pickle.loads(pickle.dumps((WeakList(class_members), class_members)))
    assert [window.name for window in loaded] == ["a", "b"]
    assert loaded[0] is windows[0]


def test_a_list_reads_as_a_list_of_the_living() -> None:
    windows = [Window(str(number)) for number in range(6)]
    weak = WeakList(windows)
    weak.append(windows[0])
    del windows[2:4]

    def names(some: Any) -> str:
        return "".join(window.name for window in some)

    assert names(weak) == "01450"
    assert names(reversed(weak)) == "05410"
    assert names(weak[1:3]) == "14"
    assert weak[-1] is windows[0] is weak[0]
    assert len(weak) == 5
    assert weak.count(windows[0]) == 2
    assert weak.index(windows[2]) == 2
    assert windows[1] in weak and Window() not in weak
    weak.remove(windows[0])
    assert names(weak) == "1450"
    assert weak.pop() is windows[0]
    assert weak.pop(0) is windows[1]
    weak += [windows[1]]
    assert names(weak) == "451"
    del weak[0]
    assert names(weak) == "51"
    del weak[::-1]
    assert names(weak) == ""
    assert weak == WeakList() != []
    operations: list[Callable[[], object]] = [lambda: weak.pop(), lambda: weak[0]]
    for operation in operations:
        with pytest.raises(IndexError):
            operation()
    operations = [lambda: weak.remove(windows[0]), lambda: weak.index(windows[0])]
    for operation in operations:
        with pytest.raises(ValueError, match="not in this WeakList"):
            operation()


def test_a_list_compares_by_equality_and_needs_no_hash() -> None:
    one, two = Equal(), Equal()
    weak = WeakList([one, two])
    assert Equal() in weak
    assert weak.count(one) == 2
    weak.remove(two)  # the first that is equal
    assert weak[0] is two
    assert "Equal" in repr(weak)


def test_a_list_may_change_while_it_is_walked() -> None:
    windows = [Window(str(number)) for number in range(10)]
    weak = WeakList(windows)
    seen = []
    for window in weak:
        seen.append(window.name)
        weak.append(window)
        del window, windows[-1:]
    assert "".join(seen) == "01234"

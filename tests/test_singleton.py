"""`singleton`: one instance of a class, whoever asks."""

from __future__ import annotations

import copy
import enum
import inspect
import pickle
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import pytest

from harness import Boom, in_threads, outcomes, wait
from isolated import each, full_collection
from leaksafe import singleton

T = TypeVar("T")

pytestmark = pytest.mark.thread_unsafe(reason="each test resets the singletons of the process")


@singleton
class Shared:
    """At the top of a module, so that it can be pickled."""

    def __init__(self, path: str = "app.toml") -> None:
        self.path = path


class SharedBelow(Shared):
    pass


@pytest.fixture(autouse=True)
def clean(fresh_singletons: None) -> None:
    pass


# One instance


def test_calls_give_the_one_instance() -> None:
    assert Shared() is Shared()
    assert Shared().path == "app.toml"
    assert isinstance(Shared(), Shared)


def test_the_first_call_may_have_arguments_and_keywords() -> None:
    @singleton
    class Point:
        def __init__(self, x: int, *, y: int) -> None:
            self.at = x, y

    point = Point(1, y=2)
    assert point.at == (1, 2)
    assert Point() is point  # type: ignore[call-arg]


@each("arguments", [[("a",), {}], [(), {"path": "a"}]])
def test_later_arguments_are_refused_and_change_nothing(arguments: Any) -> None:
    first = Shared("first")
    args, kwargs = arguments
    with pytest.raises(TypeError, match="Shared is built already"):
        Shared(*args, **kwargs)
    assert Shared() is first
    assert first.path == "first"


def test_later_arguments_can_be_ignored() -> None:
    @singleton(extra_args="ignore")
    class Settings:
        def __init__(self, path: str) -> None:
            self.path = path

    assert Settings("a") is Settings("b")
    assert Settings("c").path == "a"


def test_init_runs_once() -> None:
    runs = []

    @singleton
    class Counted:
        def __init__(self) -> None:
            runs.append(1)

    for _ in range(10):
        Counted()
    assert runs == [1]


@each("hot", ["plain", "slots", "arguments", "new", "abc", "below", "dataclass"])
def test_ten_thousand_calls_at_one_site(hot: str) -> None:
    """The interpreter specialises hot call sites, past what a class says of its own calls."""

    @singleton
    class Plain:
        def __init__(self) -> None:
            self.value = 1

    class Below(Plain):
        def __init__(self) -> None:
            super().__init__()

    @singleton
    class Slots:
        __slots__ = ("value",)

    @singleton
    class Arguments:
        def __init__(self, value: int = 3) -> None:
            self.value = value

    @singleton
    class New:
        def __new__(cls) -> Self:
            return super().__new__(cls)

    @singleton
    class Abstract(ABC):  # noqa: B024
        pass

    @singleton
    @dataclass
    class Data:
        value: int = 3

    classes = {"plain": Plain, "slots": Slots, "arguments": Arguments, "new": New}
    classes |= {"abc": Abstract, "below": Below, "dataclass": Data}
    cls: Callable[[], object] = classes[hot]
    first = cls()
    assert type(first) is cls
    assert all(cls() is first for _ in range(10_000))


def test_a_site_that_was_hot_before_the_class_became_one() -> None:
    class Late:
        def __init__(self) -> None:
            self.value = 1

    def call() -> Late:
        return Late()

    assert len({id(made) for made in [call() for _ in range(1_000)]}) == 1_000
    singleton(Late)
    assert len({id(call()) for _ in range(1_000)}) == 1


def test_every_way_to_call() -> None:
    one = Shared()
    assert Shared(*()) is one
    assert list(map(lambda _: Shared(), range(2))) == [one, one]
    assert Shared.__call__() is one
    assert type(Shared).__call__(Shared) is one
    assert [*map(type(Shared).__call__, [Shared])] == [one]


# The class stays a class


def test_the_class_stays_the_same() -> None:
    class Before:
        def __init__(self, path: str = "x", *, deep: bool = False) -> None: ...

    signature = inspect.signature(Before)
    after = singleton(Before)
    assert after is Before
    assert inspect.isclass(after)
    assert inspect.signature(after) == signature
    assert isinstance(after, type)
    assert repr(after) == repr(Before)


def test_each_subclass_has_its_own() -> None:
    class Below(Shared):
        pass

    class Deeper(Below):
        def __init__(self) -> None:
            super().__init__("deeper")

    instances = Shared(), Below(), Deeper()
    assert [type(instance) for instance in instances] == [Shared, Below, Deeper]
    assert Deeper().path == "deeper"
    assert (Shared(), Below(), Deeper()) == instances


def test_a_subclass_keeps_the_rules_and_can_have_its_own() -> None:
    @singleton(extra_args="ignore")
    class Base:
        def __init__(self, *args: object) -> None: ...

    class Below(Base): ...

    @singleton
    class Strict(Base): ...

    assert Below(1) is Below(2)
    Strict(1)
    with pytest.raises(TypeError):
        Strict(2)


def test_classes_with_metaclasses() -> None:
    class Meta(type):
        calls = 0

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            Meta.calls += 1
            return super().__call__(*args, **kwargs)

    @singleton
    class A(metaclass=Meta): ...

    @singleton
    class B(metaclass=Meta): ...

    class Both(A, B): ...

    assert A() is A()
    assert Both() is Both()
    assert len({type(A), type(B)}) == 1
    assert isinstance(A, Meta)
    assert Meta.calls == 2


def test_a_metaclass_below_ours_is_asked_each_time() -> None:
    calls = []

    class Watching(type(Shared)):  # type: ignore[misc]
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            return super().__call__(*args, **kwargs)

    class Watched(Shared, metaclass=Watching): ...

    assert Watched() is Watched()
    assert calls == [1, 1]


def test_an_abstract_class_stays_abstract() -> None:
    @singleton
    class Abstract(ABC):
        @abstractmethod
        def method(self) -> int: ...

    class Concrete(Abstract):
        def method(self) -> int:
            return 1

    with pytest.raises(TypeError):
        Abstract()  # type: ignore[abstract]
    assert Concrete() is Concrete()


def test_generic_classes() -> None:
    @singleton
    class Box(Generic[T]):
        def __init__(self) -> None:
            self.items: list[T] = []

    assert Box[int]() is Box()


@each("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@each("cls", [Shared, SharedBelow])
def test_pickling_gives_the_one_instance(protocol: int, cls: type[Shared]) -> None:
    assert pickle.loads(pickle.dumps(cls(), protocol)) is cls()
    assert pickle.loads(pickle.dumps(cls, protocol)) is cls


def test_copying_gives_the_one_instance() -> None:
    assert copy.copy(Shared()) is Shared()
    assert copy.deepcopy([Shared()]) == [Shared()]


@each("wrong", [1, lambda: 1, [], int, enum.Enum("E", "a").a])  # type: ignore[attr-defined]
def test_what_is_no_class_of_python_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="singleton"):
        singleton(wrong)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="weak must be a bool, not int"):
        singleton(weak=1)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="scope must be"):
        singleton(scope="module")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="extra_args must be"):
        singleton(extra_args="drop")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="Shared is a singleton already"):
        singleton(Shared)
    with pytest.raises(TypeError, match="expected a class that is decorated"):
        singleton.reset(int)


# Threads


@each("arguments", [(), ("a",)])
def test_sixteen_threads_build_one(arguments: tuple[str, ...]) -> None:
    for _ in range(60):
        built = []
        gate = threading.Barrier(16)

        @singleton(extra_args="ignore")
        class Cold:
            def __init__(self, *_: object) -> None:
                built.append(1)
                time.sleep(0)

        def ask() -> Cold:
            gate.wait()
            return Cold(*arguments)

        instances = in_threads(*[ask] * 16)
        assert built == [1]
        assert len(set(instances)) == 1


def test_a_failure_leaves_nothing_and_the_next_call_tries_again() -> None:
    outcome: list[Any] = [Boom("first"), Boom("second"), None]

    @singleton
    class Fragile:
        def __init__(self) -> None:
            if (error := outcome.pop(0)) is not None:
                raise error

    for _ in range(2):
        with pytest.raises(Boom):
            Fragile()
    assert Fragile() is Fragile()


def test_who_waits_for_a_failure_builds() -> None:
    began, go_on = threading.Event(), threading.Event()
    first = [True]

    @singleton
    class Fragile:
        def __init__(self) -> None:
            if first.pop() if first else False:
                began.set()
                wait(go_on)
                raise Boom

    def second() -> Fragile:
        wait(began)
        threading.Timer(0.05, go_on.set).start()
        return Fragile()

    failed, made = outcomes(Fragile, second)
    assert isinstance(failed, Boom)
    assert made is Fragile()


def test_a_failure_is_not_held() -> None:
    class Local: ...

    gone: list[weakref.ref[Local]] = []

    @singleton
    class Fragile:
        def __init__(self) -> None:
            local = Local()
            gone.append(weakref.ref(local))
            raise Boom

    with pytest.raises(Boom):
        Fragile()
    full_collection()
    assert gone[0]() is None


def test_a_class_that_asks_for_itself() -> None:
    @singleton
    class Ego:
        def __init__(self) -> None:
            Ego()

    with pytest.raises(RuntimeError, match=r"\.Ego → .*\.Ego$"):
        Ego()


def test_a_circle_says_its_way() -> None:
    @singleton
    class A:
        def __init__(self) -> None:
            B()

    @singleton
    class B:
        def __init__(self) -> None:
            C()

    @singleton
    class C:
        def __init__(self) -> None:
            B()

    with pytest.raises(RuntimeError) as caught:
        A()
    names = str(caught.value).rpartition(": ")[2].split(" → ")
    assert [name.rpartition(".")[2] for name in names] == ["B", "C", "B"]


def test_a_circle_across_threads() -> None:
    gate = threading.Barrier(2)
    # Who is told of the circle fails, and the other one then builds what failed.
    meeting = {"Left", "Right"}

    def meet(name: str) -> None:
        if name in meeting:
            meeting.remove(name)
            gate.wait()

    @singleton
    class Left:
        def __init__(self) -> None:
            meet("Left")
            Right()

    @singleton
    class Right:
        def __init__(self) -> None:
            meet("Right")
            Left()

    ended = outcomes(Left, Right)
    texts = [str(end).rpartition(": ")[2] for end in ended if isinstance(end, RuntimeError)]
    chains = [[name.rpartition(".")[2] for name in text.split(" → ")] for text in texts]
    assert chains[0] in (["Left", "Right", "Left"], ["Right", "Left", "Right"])

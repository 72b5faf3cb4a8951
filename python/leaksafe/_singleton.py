"""`singleton`: its arguments, and what becomes of the instances. The one instance is in Rust."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar, final, overload

from leaksafe._core import (
    _make_single,  # pyright: ignore[reportPrivateUsage]
    _Single,  # pyright: ignore[reportPrivateUsage]
    _single,  # pyright: ignore[reportPrivateUsage]
    _singletons,  # pyright: ignore[reportPrivateUsage]
)
from leaksafe._kinds import is_coroutine_function

_C = TypeVar("_C", bound=type[Any])


@final
class Singleton:
    """Make a class have one instance: each call of it gives that one.

    >>> from leaksafe import singleton
    >>> @singleton
    ... class Settings:
    ...     def __init__(self, path="app.toml"):
    ...         self.path = path
    >>> Settings() is Settings()
    True

    The class stays the class that it is. It is called without arguments, or with some the
    first time; later ones raise `TypeError`, and are ignored with `extra_args="ignore"`. Each
    subclass has an instance of its own. However many threads ask at once, one builds; what
    `__init__` raises leaves nothing behind, and the next call tries again. A class that needs
    itself while it is built raises `RuntimeError`, with the classes on the way. Pickling and
    copying an instance give the one instance.

    With `weak=True` it lives for as long as somebody holds it, with `scope="thread"` each
    thread has its own. Otherwise it lives as long as its class, and is closed when the
    interpreter exits: by `close()`, else by `__exit__`, where it has one of them, those built
    last first. `reset` does so earlier.

    `Settings()` is O(1), and takes about the time of a function that remembers its result.
    """

    __slots__ = ()

    @overload
    def __call__(self, cls: _C, /) -> _C: ...
    @overload
    def __call__(
        self,
        cls: None = None,
        /,
        *,
        weak: bool = False,
        scope: Literal["process", "thread"] = "process",
        extra_args: Literal["error", "ignore"] = "error",
    ) -> Callable[[_C], _C]: ...
    def __call__(
        self,
        cls: Any = None,
        /,
        *,
        weak: object = False,
        scope: str = "process",
        extra_args: str = "error",
    ) -> Any:
        """Decorate a class, at once or with these arguments."""
        if not isinstance(weak, bool):
            raise TypeError(f"weak must be a bool, not {type(weak).__name__}")
        if scope not in ("process", "thread"):
            raise ValueError(f'scope must be "process" or "thread", not {scope!r}')
        if extra_args not in ("error", "ignore"):
            raise ValueError(f'extra_args must be "error" or "ignore", not {extra_args!r}')

        def decorate(cls: object, /) -> type[Any]:
            if not isinstance(cls, type):
                raise TypeError(f"singleton decorates a class, not {type(cls).__name__}")
            return _make_single(cls, weak, scope == "thread", extra_args == "ignore", _reduce)

        return decorate if cls is None else decorate(cls)

    def reset(self, cls: type[Any], /) -> None:
        """Close a class's instance and forget it; the next call builds another. O(singletons).

        >>> from leaksafe import singleton
        >>> @singleton
        ... class Settings:
        ...     pass
        >>> old = Settings()
        >>> singleton.reset(Settings)
        >>> Settings() is old
        False

        Subclasses keep theirs. With `scope="thread"` those of all threads go. An instance of
        `weak=True` is forgotten, and not closed. What `close()` raises is raised, once the instance
        is forgotten.
        """
        whole = _single(cls)
        _close(lambda single: single.is_of(whole))

    def reset_all(self) -> None:
        """Reset every singleton, those built last first.

        >>> from leaksafe import singleton
        >>> singleton.reset_all()

        Each is closed even if others fail; then what they raised is raised in an `ExceptionGroup`.
        """
        _close(lambda _single: True)

    @contextmanager
    def override(self, cls: type[Any], fake: object) -> Generator[None]:
        """Have calls of a class give something else within a `with`, for a test.

        >>> from leaksafe import singleton
        >>> @singleton
        ... class Settings:
        ...     path = "app.toml"
        >>> class Fake:
        ...     path = "/dev/null"
        >>> with singleton.override(Settings, Fake()):
        ...     Settings().path
        '/dev/null'
        >>> Settings().path
        'app.toml'

        It holds for all threads, whatever the arguments of the calls are, and not for subclasses.
        """
        single = _single(cls)
        before = single.replace_fake(fake)
        try:
            yield
        finally:
            single.replace_fake(*before)

    def __repr__(self) -> str:
        return "leaksafe.singleton"


singleton = Singleton()


def _reduce(self: object, _protocol: object = None, /) -> tuple[type[Any], tuple[()]]:
    """Say how an instance is copied and pickled: by asking its class for it."""
    return type(self), ()


def _close(chosen: Callable[[_Single], bool]) -> None:
    """Forget the instances of those that are chosen, and close them, the last built first."""
    errors: list[Exception] = []
    for number, reference in sorted(_singletons.items(), reverse=True):
        single = reference()
        if single is None or not chosen(single):
            continue
        _singletons.pop(number, None)
        for instance in single.take():
            try:
                if single.owns:
                    _close_one(instance)
            except Exception as error:  # noqa: BLE001  # raised once all are closed
                errors.append(error)
    try:
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup("several singletons could not be closed", errors)
    finally:
        # The errors' frames refer to it, which would keep them until a collection.
        errors.clear()


def _close_one(instance: object) -> None:
    # What is awaited needs a loop, and which one that is, nobody here can know.
    close = getattr(instance, "close", None)
    if callable(close) and not is_coroutine_function(close):
        close()
    elif leave := getattr(type(instance), "__exit__", None):
        leave(instance, None, None, None)


atexit.register(singleton.reset_all)

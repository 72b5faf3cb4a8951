"""How things that are owned come to their end: by `close()`, or by what they have instead."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from types import ModuleType
from typing import TYPE_CHECKING, Any

from leaksafe._kinds import is_awaitable

if TYPE_CHECKING:
    import asyncio
    from weakref import ref

# A loop holds its tasks weakly.
_tasks: set[asyncio.Task[None]] = set()


def end(instance: object, *methods: str) -> Awaitable[Any] | None:
    """End something by the first of these methods that it has; return what is yet to be awaited.

    Without any of them, it is ended by `__exit__` or `__aexit__`. Locks are not: theirs is for
    those who acquired them. Classes and modules are nobody's to end.
    """
    if isinstance(instance, (type, ModuleType)):
        return None
    for name in methods:
        method: Any = getattr(instance, name, None)
        if callable(method):
            return _awaitable(method())
    if not hasattr(instance, "acquire"):
        for name in "__exit__", "__aexit__":
            leave: Any = getattr(type(instance), name, None)
            if leave is not None:
                return _awaitable(leave(instance, None, None, None))
    return None


def close(instance: object, home: ref[asyncio.AbstractEventLoop] | None = None) -> None:
    """Close something; what has to be awaited for it runs in the loop that it was made in."""
    if (unfinished := end(instance, "close", "aclose")) is None:
        return
    import asyncio  # noqa: PLC0415  # slow to import, and there wherever something is awaited

    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    loop = running if home is None else home()
    if loop is None or not loop.is_running():
        if isinstance(unfinished, Coroutine):
            unfinished.close()
        raise RuntimeError(
            f"the end of this {type(instance).__qualname__} has to be awaited, and the event loop "
            "for it does not run: close it before, with `await registry.aclose()`"
        )
    owner = loop

    async def finish() -> None:
        try:
            await unfinished
        except Exception as error:  # noqa: BLE001  # nobody awaits this
            message = f"closing this {type(instance).__qualname__} failed"
            owner.call_exception_handler({"message": message, "exception": error})

    def start() -> None:
        task = owner.create_task(finish())
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    if owner is running:
        start()
    else:
        owner.call_soon_threadsafe(start)


async def aclose(instance: object) -> None:
    """Close something, and await that."""
    if (unfinished := end(instance, "aclose", "close")) is not None:
        await unfinished


def fail_together(errors: list[BaseException], what: str) -> None:
    """Raise what the closing of several things raised, if there is any, and empty the list.

    The errors' own frames refer to it, which would keep them until a collection.
    """
    failed = [error for error in errors if isinstance(error, Exception)]
    others = [error for error in errors if not isinstance(error, Exception)]
    errors.clear()
    rest = [*failed, *others[1:]]
    # An `ExceptionGroup` where all are of that kind.
    group = BaseExceptionGroup(what, rest) if rest else None
    try:
        if others:
            # An interrupt or a cancellation, which had to wait until all were closed.
            raise others[0] from group
        if group is not None:
            raise group
    finally:
        del failed, others, rest, group


def _awaitable(result: object) -> Awaitable[Any] | None:
    return result if is_awaitable(result) else None

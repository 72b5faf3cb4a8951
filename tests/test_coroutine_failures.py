"""Coroutines that fail: who is told, and that nothing of it is kept."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from leaksafe import (
    lru_cache,
)
from test_coroutines import Value, gated, run, settled


def test_a_failure_goes_to_everyone_who_waited_once() -> None:
    async def main() -> None:
        gate, function = gated(lambda: 1 / 0)
        tasks = [asyncio.create_task(function()) for _ in range(20)]
        await settled()
        gate.open.set()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(type(error) is ZeroDivisionError for error in errors)
        assert len(set(map(id, errors))) == 20 and gate.begun == 1
        lengths = {depth(error) for error in errors}
        assert len(lengths) == 1
        # the next call tries again
        gate.make = Value
        assert isinstance(await function(), Value) and gate.begun == 2

    run(main)


def depth(error: Any) -> int:
    length, at = 0, error.__traceback__
    while at is not None:
        length, at = length + 1, at.tb_next
    return length


class Uncopied(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")


class Slotted(Exception):
    __slots__ = ("code",)


def test_an_error_that_cannot_be_copied_is_the_same_with_its_traceback_reset() -> None:
    async def main() -> None:
        for error in (Uncopied(7, "why"), Slotted("why")):

            def fail(error: Exception = error) -> None:
                raise error

            gate, function = gated(fail)
            lengths: list[int] = []

            async def ask(function: Any = function, lengths: list[int] = lengths) -> object:
                try:
                    await function()
                except Exception as caught:
                    lengths.append(depth(caught))
                    return caught
                return None

            tasks = [asyncio.create_task(ask()) for _ in range(20)]
            await settled()
            gate.open.set()
            assert set(await asyncio.gather(*tasks)) == {error}
            assert len(set(lengths)) == 1

    run(main)


def test_copies_say_what_the_error_said() -> None:
    async def main() -> None:
        try:
            raise KeyError("cause")
        except KeyError as caught:
            cause = caught

        def fail() -> None:
            error = OSError(2, "gone", "file")
            error.add_note("noted")
            raise error from cause

        gate, function = gated(fail)
        tasks = [asyncio.create_task(function()) for _ in range(2)]
        await settled()
        gate.open.set()
        first, second = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(first, OSError) and isinstance(second, OSError)
        assert first is not second and str(first) == str(second) and second.filename == "file"
        assert second.__cause__ is cause and second.__notes__ == ["noted"]
        first.add_note("more")
        assert second.__notes__ == ["noted"]

    run(main)


def test_nothing_of_a_failure_is_kept() -> None:
    async def main() -> None:
        local: Any = None

        @lru_cache
        async def function() -> None:
            nonlocal local
            request = Value()
            local = weakref.ref(request)
            raise ValueError

        async def ask() -> None:
            with pytest.raises(ValueError):
                await function()

        gc.disable()
        try:
            await asyncio.gather(*(ask() for _ in range(3)))
            await settled()
        finally:
            gc.enable()
        gc.collect()
        assert local() is None

    run(main)


@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_what_ends_a_task_belongs_to_one_caller_and_the_next_takes_over(
    kind: type[BaseException],
) -> None:
    async def main() -> None:
        first = True

        def fail() -> Any:
            nonlocal first
            if first:
                first = False
                raise kind("for one")
            return "made"

        gate, function = gated(fail)

        async def ask() -> object:
            try:
                return await function()
            except BaseException as error:
                return type(error)

        tasks = [asyncio.create_task(ask()) for _ in range(5)]
        await settled()
        gate.open.set()
        assert await asyncio.gather(*tasks) == [kind, *["made"] * 4]
        assert gate.begun == 2

    run(main)

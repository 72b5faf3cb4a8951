"""Settings and fixtures that every test shares."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from harness import Unraisable

# The same examples at every run, so that a failure in CI is a failure at home.
# `pytest --hypothesis-profile=search` looks further, at random.
settings.register_profile(
    "repeatable",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("search", max_examples=5_000, deadline=None)
# `make soak`: models for ten minutes
settings.register_profile("soak", max_examples=25_000, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture
def unraisables(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Unraisable]]:
    """What reached `sys.unraisablehook` during the test."""
    seen: list[Unraisable] = []

    def hook(args: sys.UnraisableHookArgs) -> None:
        seen.append(Unraisable(args.exc_value, args.object, args.err_msg))

    monkeypatch.setattr(sys, "unraisablehook", hook)
    yield seen
    seen.clear()


@pytest.fixture(scope="module")
def frozen() -> Iterator[None]:
    """Many collections needn't look at whatever was there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()

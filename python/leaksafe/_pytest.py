"""The fixtures that pytest finds by itself, wherever leaksafe is installed. Imports little."""

from __future__ import annotations

from collections.abc import Generator

import pytest


@pytest.fixture
def fresh_singletons() -> Generator[None]:
    """A test that begins without singletons, and leaves none behind."""
    from leaksafe import singleton  # noqa: PLC0415  # pytest starts whether or not a test wants this

    singleton.reset_all()
    yield
    singleton.reset_all()


@pytest.fixture
def clear_caches() -> Generator[None]:
    """A test that begins with every cache and decorated function empty, and leaves them so."""
    from leaksafe import clear_all  # noqa: PLC0415  # as above

    clear_all()
    yield
    clear_all()

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

"""What pytest finds by itself, wherever leaksafe is installed. Imports little."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from leaksafe import leaks as _leaks


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


@pytest.fixture
def leaks() -> Generator[_leaks.check]:
    """A `leaksafe.leaks.check` around the test, which fails when something outlives it.

    What was imported or cached the first time counts too: `--leaks` tells that apart.
    """
    from leaksafe.leaks import LeakError, Report, check  # noqa: PLC0415
    from leaksafe.leaks._plugin import not_pytests, outside_calls  # noqa: PLC0415

    with check() as found:
        yield found
    groups = outside_calls(not_pytests(found.report().groups))
    if groups:
        raise LeakError(f"outlives the test:\n{Report(groups, [], [])}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `--leaks`."""
    group = parser.getgroup("leaksafe")
    group.addoption(
        "--leaks",
        action="store_true",
        help="run each test again, with its fixtures, until it is sure whether it leaks, and fail "
        "it with who holds what if it does. A clean test takes warm-up + runs runs; a leaking one "
        "some 200. A test that fails, or passes only once, isn't judged; leave one out with "
        "@pytest.mark.leaks(allow=True)",
    )
    group.addoption(
        "--leaks-warmup",
        type=int,
        default=2,
        metavar="N",
        help="runs of a test that may fill caches, the first included (default: 2). More spare "
        "time where many tests fill a cache for longer, since a suspect is run 150 times more",
    )
    group.addoption(
        "--leaks-runs",
        type=int,
        default=3,
        metavar="N",
        help="runs in each of the rounds, after every one of which there has to be more: one "
        "object a run at least (default: 3). More tell leaks from noise sooner, and take longer",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say what the mark means, and watch for leaks where that is asked for."""
    config.addinivalue_line(
        "markers",
        "leaks(allow=None): under --leaks, let the test leave objects behind: all with "
        "allow=True, or those "
        "of the classes whose names are given, as `module.Class`",
    )
    if config.getoption("--leaks"):
        from leaksafe.leaks._plugin import LeakPlugin  # noqa: PLC0415

        config.pluginmanager.register(LeakPlugin(config), "leaksafe-leaks")

# Objects of any kind: what is in them isn't known.
# pyright: reportUnknownArgumentType=false
"""What grows while a program runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Self

from leaksafe import _core
from leaksafe.leaks import _advice, _names, _page, _plain
from leaksafe.leaks._repeat import classes
from leaksafe.leaks._roots import Roots

_CONTAINERS = 10
_ROUNDS = 3


@dataclass(frozen=True)
class GrowingContainer:
    """A container that held more at each of the last looks.

    >>> from leaksafe import leaks
    >>> leaks.GrowingContainer("app.py global cache", "dict", 10, 500).now
    500
    """

    path: str
    """Who holds it, from the nearest holder to a root."""
    type: str
    before: int
    """References that it held when the watch began."""
    now: int
    advice: str = ""
    """What to use instead."""

    def __str__(self) -> str:
        cure = f"; {self.advice}" if self.advice else ""
        return f"{self.path}: a {self.type} that held {self.before:,} and holds {self.now:,}{cure}"


@dataclass(frozen=True)
class GrowthReport:
    """What a watch has seen grow.

    Attributes:
        types: the classes of which there were more at each of the last looks, with how many more
            there are than when the watch began; the most first.
        containers: the ten containers that have grown most.

    >>> from leaksafe import leaks
    >>> cache = leaks.GrowingContainer("app.py global cache", "dict", 10, 500)
    >>> print(leaks.GrowthReport({}, (cache,)))
    app.py global cache: a dict that held 10 and holds 500
    """

    types: dict[str, int]
    containers: tuple[GrowingContainer, ...]

    def __str__(self) -> str:
        lines = [str(one) for one in self.containers]
        lines += [f"{count:,} more {name}" for name, count in list(self.types.items())[:10]]
        return "\n".join(lines)

    def to_json(self) -> str:
        """Return the fields as JSON.

        >>> from leaksafe import leaks
        >>> leaks.GrowthReport({"app.Session": 12}, ()).to_json()
        '{"types": {"app.Session": 12}, "containers": []}'

        """
        fields: dict[str, Any] = {
            "types": self.types,
            "containers": [asdict(one) for one in self.containers],
        }
        return json.dumps(fields, ensure_ascii=False)

    def html(self, title: str = "What grows") -> str:
        """Return a page for a browser, of the kind that `Report.html` makes.

        Args:
            title: its heading.

        Returns:
            The page, to be written as UTF-8: O(n) in the containers and classes.

        >>> from leaksafe import leaks
        >>> cache = leaks.GrowingContainer("app.py global cache", "dict", 10, 500)
        >>> "held 10, holds 500" in leaks.GrowthReport({}, (cache,)).html()
        True

        """
        return _page.document(title, list(_page.growth(self)))

    def __rich__(self) -> Any:
        """A table, where rich prints the report."""
        from rich.table import Table  # noqa: PLC0415  # only rich itself calls this

        table = Table("what grows", "before", "now", "what to do", show_lines=True)
        for one in self.containers:
            name = f"{one.path}: a {one.type}"
            table.add_row(name, f"{one.before:,}", f"{one.now:,}", one.advice)
        for kind, count in list(self.types.items())[:10]:
            table.add_row(kind, "", f"{count:,} more", "")
        return table


class watch:  # noqa: N801  # `with leaks.watch(…)`
    """Look for growth every so often, in a thread, and tell of what has grown three times on end.

    Args:
        every: seconds between two looks, over 0.
        on_growth: is called with a `GrowthReport`, in the thread of the watch, after each look at
            which a container or a class of objects has grown for the third time on end or more.
            What it raises goes to `threading.excepthook` and ends the watch. `print` if not given.

    A look walks all objects: for a million, some 0.13 s, which is 0.2 % of one core at one look a
    minute. Only when there is something to tell, it is found out who holds the containers,
    in some 0.3 s more. No collection is forced, no reference kept, and no code of the objects
    runs.

    `close()`, or the end of a `with` block, stops the thread, and waits for it.

    Raises:
        TypeError: `every` is no number.
        ValueError: `every` isn't over 0, or is longer than a thread can wait.

    >>> from leaksafe import leaks
    >>> with leaks.watch(every=60, on_growth=print) as watching:
    ...     watching.closed
    False
    >>> watching.closed
    True

    """

    def __init__(
        self, every: float = 60.0, on_growth: Callable[[GrowthReport], object] | None = None
    ) -> None:
        if type(every) not in (int, float):
            raise TypeError(f"every must be a number of seconds, not {type(every).__name__}")
        if not 0 < every <= threading.TIMEOUT_MAX:
            most = f"{threading.TIMEOUT_MAX:g}"
            raise ValueError(f"every must be over 0 and at most {most} seconds, not {every!r}")
        self._stop = threading.Event()
        # The thread has no hold on this object.
        self._thread = threading.Thread(
            target=_run,
            args=(every, on_growth or print, self._stop),
            daemon=True,
            name="leaks.watch",
        )
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait for a look that goes on. Does nothing the second time.

        >>> from leaksafe import leaks
        >>> watching = leaks.watch()
        >>> watching.close()

        """
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    @property
    def closed(self) -> bool:
        """Whether it has been closed.

        >>> from leaksafe import leaks
        >>> watching = leaks.watch()
        >>> watching.close()
        >>> watching.closed
        True

        """
        return self._stop.is_set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        stop: threading.Event | None = getattr(self, "_stop", None)
        if stop is not None:
            stop.set()


class _Streaks:
    """How often on end each of some things has grown."""

    def __init__(self) -> None:
        self._last: dict[Any, int] = {}
        self._times: dict[Any, int] = {}

    def look(self, now: dict[Any, int]) -> None:
        self._times = {
            key: self._times.get(key, 0) + 1
            for key, count in now.items()
            if count > self._last.get(key, 0)
        }
        self._last = now

    def growing(self) -> set[Any]:
        return {key for key, times in self._times.items() if times >= _ROUNDS}


def _run(every: float, on_growth: Callable[[GrowthReport], object], stop: threading.Event) -> None:
    snapshot = _core._HeapSnapshot()
    start = classes()
    types, containers = _Streaks(), _Streaks()
    types.look(start)
    while not stop.wait(every):
        now = classes()
        types.look(now)
        containers.look(_held(snapshot))
        growing = types.growing()
        wanted = containers.growing()
        if growing or wanted:
            more = {name: now[name] - start.get(name, 0) for name in growing}
            ordered = sorted(more.items(), key=_second, reverse=True)
            on_growth(GrowthReport(dict(ordered), _named(snapshot, wanted)))


def _second(pair: tuple[str, int]) -> int:
    return pair[1]


def _grown(snapshot: _core._HeapSnapshot) -> list[tuple[Any, int, int]]:
    return [one for one in snapshot.compare()[1] if _plain.is_container(one[0])]


def _held(snapshot: _core._HeapSnapshot) -> dict[int, int]:
    """How much each container holds that has grown, by id."""
    return {id(one): now for one, _, now in _grown(snapshot)}


def _named(snapshot: _core._HeapSnapshot, wanted: set[int]) -> tuple[GrowingContainer, ...]:
    """Those of some containers that have grown most, by who holds them."""
    grown = [one for one in _grown(snapshot) if id(one[0]) in wanted]
    grown.sort(key=_by_growth, reverse=True)
    del grown[_CONTAINERS:]
    sizes = {id(one): (before, now) for one, before, now in grown}
    roots = Roots()
    found: list[GrowingContainer] = []
    chains = _core._survivors([one for one, _, _ in grown], roots.objects, [grown])[0]
    for chain, held, _, _ in chains:
        for container in held:
            # One that holds another is met with it.
            before, now = sizes[id(container)]
            steps = _names.steps([container, *chain], roots)
            some = _plain.one_element(container)
            advice = _advice.advise(some, [container, *chain], steps)
            kind = _plain.full_name(type(container))
            found.append(GrowingContainer(_names.join(steps), kind, before, now, advice))
            del some
    found.sort(key=_container_growth, reverse=True)
    return tuple(found)


def _by_growth(one: tuple[Any, int, int]) -> int:
    return one[2] - one[1]


def _container_growth(one: GrowingContainer) -> int:
    return one.now - one.before

"""Log-ins that expire: a dict that asks for their age at the next visit, and a `TTLCache`."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from platform import python_version
from weakref import WeakSet

from leaksafe import TTLCache
from leaksafe.demo.act import Act, Figure, Job, Options, Progress, Run, Sample
from leaksafe.demo.measure import resident
from leaksafe.demo.source import read_pairs, write_identifiers

_TICKS = 240
_TICK = 0.006
_BUSY = 40
_TTL = 0.5
_LOGINS = 400
_LEAKED = 20
_PICTURE = 200_000
_INPUT = "identifiers.txt"
_DICT, _TTL_CACHE = range(2)
_MEMORY, _ALIVE = range(2)


class Session:
    """Who is logged in, and the picture that they have uploaded."""

    def __init__(self, name: str) -> None:
        """Log in."""
        self.name = name
        self.picture = name.encode().ljust(_PICTURE, b".")


_LIVING: WeakSet[Session] = WeakSet()
"""Whom the figures count; the classes know nothing of it."""


class Sessions(ABC):
    """Sessions by token, each of which is good for a while."""

    @abstractmethod
    def log_in(self, token: str, session: Session) -> None:
        """Begin a session."""

    @abstractmethod
    def visit(self, token: str) -> Session | None:
        """Return a session that is still good."""


class Dated(Sessions):
    """The leak: whose session is over is found out when they come again, and most don't."""

    def __init__(self) -> None:
        """Begin without any."""
        self._sessions: dict[str, tuple[float, Session]] = {}

    def log_in(self, token: str, session: Session) -> None:
        """Note when it will be over."""
        self._sessions[token] = time.monotonic() + _TTL, session

    def visit(self, token: str) -> Session | None:
        """Look whether it is over."""
        until, session = self._sessions.get(token, (0.0, None))
        if time.monotonic() < until:
            return session
        self._sessions.pop(token, None)
        return None


SESSIONS = Dated()


class Expiring(Sessions):
    """The cure."""

    def __init__(self) -> None:
        """Begin without any."""
        self._sessions: TTLCache[str, Session] = TTLCache(None, ttl=_TTL)

    def log_in(self, token: str, session: Session) -> None:
        """Keep it for its time."""
        self._sessions[token] = session

    def visit(self, token: str) -> Session | None:
        """Look it up."""
        return self._sessions.get(token)


class LoginsAct(Act):
    """On both sides the same people log in, upload a picture, and don't come back."""

    title = "Log-ins that expire"
    unit = f"ticks of {_TICK * 1000:.0f} ms"
    axis = "resident memory, MiB"
    figures = (
        Figure("resident memory", "{:,.1f} MiB"),
        Figure("sessions held", "{:,.0f}", " sessions held"),
    )

    def prepare(self, options: Options, scratch: Path, progress: Progress) -> Job:
        """Find the identifiers."""
        limit = min(options.lookups or _LOGINS, _LOGINS)
        source = write_identifiers(scratch / _INPUT, limit, progress)
        return Job(
            options=options,
            scratch=scratch,
            sides=("dict with deadlines", f"TTLCache(ttl={_TTL})"),
            total=_TICKS,
            note=(
                f"{source.pairs:,} people, named by identifiers of Python {python_version()}'s"
                f" standard library, log in for {_TTL} s each, with {_PICTURE:,} bytes, in"
                f" the first {_BUSY} ticks; after that nobody touches either"
            ),
        )

    def measure(self, side: int, job: Job) -> Iterator[Sample]:
        """Log in, then wait."""
        sessions = Expiring() if side == _TTL_CACHE else Dated()  # the one difference
        people = enumerate(read_pairs(job.scratch / _INPUT))
        yield _sample(0)
        for tick in range(1, job.total + 1):
            # All that are left, at the end of the busy time.
            count = _LOGINS // _BUSY if tick < _BUSY else None if tick == _BUSY else 0
            for number, (name, _) in islice(people, count):
                token = f"{name}-{number}"
                session = Session(name)
                _LIVING.add(session)
                sessions.log_in(token, session)
                del session
                if sessions.visit(token) is None and tick < _BUSY:
                    raise AssertionError("a session is over before its time")
            time.sleep(_TICK)
            yield _sample(tick)

    def leak(self, job: Job) -> None:
        """Log some people in who don't come back."""
        for number, (name, _) in enumerate(islice(read_pairs(job.scratch / _INPUT), _LEAKED)):
            SESSIONS.log_in(f"{name}-{number}", Session(name))

    def meaning(self, run: Run) -> str:
        """Say what is left when all are over."""
        kept, gone = (run.last(side).values for side in (_DICT, _TTL_CACHE))
        peak = max(sample.values[_MEMORY] for sample in run.samples[_TTL_CACHE])
        return (
            "Every session was over long before the end, and nobody came back to find that out."
            f" The dict still holds {kept[_ALIVE]:,.0f} of them: {kept[_MEMORY]:.0f} MiB. TTLCache"
            f" holds {gone[_ALIVE]:,.0f}: its sweeper freed each as its time was over, without a"
            f" call from anybody, and memory went from {peak:.0f} to {gone[_MEMORY]:.0f} MiB."
        )


def _sample(tick: int) -> Sample:
    return Sample(tick, (resident() / 2**20, len(_LIVING)))

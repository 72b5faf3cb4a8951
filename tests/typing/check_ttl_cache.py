# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers make of TTLCache. Not run: mypy and pyright read it.

Every `type: ignore` here is an error that both have to report.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import assert_type

from leaksafe import TTLCache


def lifetime(key: str, value: bytes) -> float:
    return len(key) + len(value)


counted = TTLCache[str, bytes](100, 600)
weighed = TTLCache[str, bytes](None, timedelta(minutes=1), time.monotonic, len, sliding=True)
in_bytes = TTLCache[str, bytes](max_bytes="64 MiB", ttl=lifetime, jitter=0.1)
assert_type(counted["a"], bytes)
assert_type(in_bytes.ttl, float | Callable[[str, bytes], float | timedelta] | None)
assert_type(weighed.expires_in("a"), float)

TTLCache()  # type: ignore[call-overload]
TTLCache[str, bytes](100)  # type: ignore[call-overload]
TTLCache[str, bytes](ttl=600)  # type: ignore[call-overload]
TTLCache[str, bytes](100, "600")  # type: ignore[call-overload]
TTLCache[str, bytes](max_bytes="64 MiB")  # type: ignore[call-overload]
TTLCache[str, bytes](100, 600, max_bytes="64 MiB")  # type: ignore[call-overload]
counted.set(1, b"")  # type: ignore[arg-type]

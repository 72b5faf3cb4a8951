"""Each allocation of a call fails, one after the other: `MemoryError`, and nothing is broken.

By `_testcapi.set_nomemory`, which stands in front of CPython's allocators. Rust's own memory comes
from the system's, which ends the process where it has none.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest

import leaksafe
from actors import check
from isolated import _in_child, each, isolated

pytest.importorskip("_testcapi") if not _in_child else None

"""How sizes are written."""

from __future__ import annotations


def show_bytes(count: float) -> str:
    """Bytes in the unit that suits.

    >>> show_bytes(1536)
    '1.5 KiB'

    """
    for unit in ("bytes", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def show_count(count: int) -> str:
    """Write so many objects in words."""
    return f"{count:,} object{'' if count == 1 else 's'}"

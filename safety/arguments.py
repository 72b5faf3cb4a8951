"""Odd arguments, copies, objects half made."""

import copy
from typing import Any

from safety.case import FailsError, must
from safety.contestants import Contestant, NotOfferedError


def long_times(peer: Contestant) -> None:
    """`ttl` of infinity and of 1e20 seconds"""
    for seconds in (float("inf"), 1e20):
        try:
            cache = peer.ttl(8, seconds)
            peer.put(cache, 1, 1)
        except (ValueError, OverflowError):
            continue
        must(peer.get(cache, 1) == 1, "expired")


def senseless_times(peer: Contestant) -> None:
    """`ttl` of -5 s and NaN"""
    for seconds in (-5.0, float("nan")):
        try:
            cache = peer.ttl(8, seconds)
            peer.put(cache, 1, 1)
        except ValueError:
            continue
        never = peer.get(cache, 1) == 1
        raise FailsError(f"{seconds:g} s " + ("never expires" if never else "is accepted"))


def senseless_sizes(peer: Contestant) -> None:
    """`maxsize` 0 and NaN"""
    for size in (0, float("nan")):
        try:
            cache = peer.lru(size)
        except (TypeError, ValueError):
            continue
        for number in range(1_000):
            try:
                peer.put(cache, number, number)
            except ValueError:
                pass
        must(peer.count(cache) < 1_000, f"{size} is unlimited")


def large_sizes(peer: Contestant) -> None:
    """`maxsize=2**40`"""
    try:
        cache = peer.lru(2**40)
    except (OverflowError, ValueError):
        return
    peer.put(cache, 1, 1)
    must(peer.get(cache, 1) == 1, "lost")


def without_init(peer: Contestant) -> None:
    """`__new__` without `__init__`, then use"""
    cls: Any = type(peer.lru(8))
    try:
        cache = cls.__new__(cls)
        peer.put(cache, 1, 1)
        peer.get(cache, 1)
        repr(cache)
    except Exception:
        return


def a_copy(peer: Contestant) -> None:
    """`copy.copy` shares state"""
    cache = peer.lru(8)
    peer.put(cache, 1, 1)
    try:
        other = copy.copy(cache)
    except TypeError:
        raise NotOfferedError from None
    peer.put(other, 2, 2)
    peer.clear(other)
    must(peer.get(cache, 1) == 1, "shares state")


CASES = (
    long_times,
    senseless_times,
    senseless_sizes,
    large_sizes,
    without_init,
    a_copy,
)

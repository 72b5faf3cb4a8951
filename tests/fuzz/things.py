"""Keys, values and callables whose every hook may strike."""

from __future__ import annotations

import types
from typing import Any

from .world import here

SIZES = (16, 1_000, 0, 1, 1 << 70, -1, "x", None)


class Thing:
    """Equal to a thing of the same number, and hooked wherever Python code can be."""

    def __init__(self, token: object = 0, salt: int = 3) -> None:
        self.token, self.salt = token, salt
        self.dead = False
        self.link: object = None

    def __hash__(self) -> int:
        here().strike("__hash__", self)
        return hash(self.token) % self.salt

    def __eq__(self, other: object) -> bool:
        here().strike("__eq__", self)
        return type(other) is type(self) and self.token == other.token

    def __del__(self) -> None:
        self.dead = True
        here().strike("__del__")

    def __repr__(self) -> str:
        here().strike("__repr__", self)
        return f"Thing({self.token!r})"

    def __sizeof__(self) -> Any:
        here().strike("__sizeof__", self)
        return 64

    @property
    def __class__(self) -> Any:
        here().strike("__class__", self)
        return type(self)

    @__class__.setter
    def __class__(self, value: Any) -> None:
        pass

    def __bool__(self) -> bool:
        here().strike("__bool__", self)
        return True

    def __index__(self) -> int:
        here().strike("__index__", self)
        return hash(self.token) % 5

    def __iter__(self) -> Any:
        here().strike("__iter__", self)
        return iter((Thing(1), Thing(2)))

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        here().strike("__call__", self)
        return Thing(self.token)

    def __reduce__(self) -> Any:
        here().strike("__reduce__", self)
        return Thing, (self.token, self.salt)

    def __lt__(self, other: object) -> bool:
        here().strike("__lt__", self)
        return True

    def method(self, *arguments: Any) -> Thing:
        here().strike("method", self)
        return Thing(self.token)

    def close(self) -> None:
        here().strike("close")


class Fickle(Thing):
    """Its hash and its size change, and it takes itself for whatever it is compared with."""

    def __hash__(self) -> int:
        here().strike("__hash__", self)
        return 0 if here().mine.quiet else here().rng.randrange(3)

    def __eq__(self, other: object) -> bool:
        here().strike("__eq__", self)
        return self is other if here().mine.quiet else here().chance(0.5)

    def __sizeof__(self) -> Any:
        here().strike("__sizeof__", self)
        return here().rng.choice(SIZES)

    @property
    def __class__(self) -> Any:
        here().strike("__class__", self)
        return here().rng.choice((int, Thing, dict, type(self)))

    @__class__.setter
    def __class__(self, value: Any) -> None:
        pass


class Number(int):
    """An int with a hash and an equality of its own."""

    def __hash__(self) -> int:
        here().strike("int.__hash__")
        return int.__hash__(self)

    def __eq__(self, other: object) -> bool:
        here().strike("int.__eq__")
        return int.__eq__(self, other)

    def __del__(self) -> None:
        here().strike("int.__del__")


class Text(str):
    """A str with a finalizer."""

    def __eq__(self, other: object) -> bool:
        here().strike("str.__eq__")
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        return str.__hash__(self)

    def __del__(self) -> None:
        here().strike("str.__del__")


NAN = float("nan")
KINDS = (Thing, Fickle, Number, Text)
"""Of which no instance may be left when a case is over."""


def token(key: object) -> object:
    """What tells keys apart, without a hook."""
    kind = type(key)
    if kind is Thing:
        return ("Thing", key.token)  # type: ignore[attr-defined]
    if kind is Number:
        return int.__add__(key, 0)  # type: ignore[operator]
    if kind is Text:
        return str.__str__(key) + ""
    if kind is tuple:
        return tuple(map(token, key))  # type: ignore[call-overload]
    return "fickle" if kind is Fickle else key


def key() -> Any:
    rng = here().rng
    number = rng.randrange(6)
    kind = rng.randrange(12)
    if kind < 4:
        return Thing(number)
    if kind == 4:
        return Text(number)
    if kind == 5:
        return Number(number)
    if kind == 6:
        return (number, Thing(number))
    if kind == 7:
        return rng.choice((None, True, NAN, -1, -2, 0.0, b"x", (), "0", 1 << 61))
    if kind == 8 and here().fickle:
        return Fickle(number)
    if kind == 9 and here().hostility and here().chance(0.2):
        return [number]
    if kind == 10:
        return str(number)
    return number


def value(of: object) -> Any:
    """Make a value for a key; one that can be weakly referenced, and remembers the key."""
    made = Thing(("value of", token(of)))
    if here().chance(0.2):
        made.link = here().rng.choice((made, here().subject, of))
    return made


def belongs(found: object, of: object) -> bool:
    """Whether a value may be what was put in for a key: in doubt, it may."""
    if here().fickle or type(found) is not Thing:
        return True
    its = found.token
    if not (type(its) is tuple and len(its) == 2 and its[0] == "value of"):
        return True
    return its[1] is of or bool(its[1] == token(of))


def anything() -> Any:
    """An argument that may or may not fit."""
    rng = here().rng
    kind = rng.randrange(14)
    if kind < 4:
        return key()
    if kind < 6:
        thing = Thing(("stray", rng.randrange(3)))
        here().keep(thing)
        return thing
    if kind == 6:
        return rng.choice((None, 0, 1, -1, 3, 1 << 70, 2.5, NAN, "x", True, float("inf"), ...))
    if kind == 7:
        return here().subject.it if here().chance(0.3) else {}  # type: ignore[union-attr]
    if kind == 8:
        return [(key(), Thing(1)) for _ in range(rng.randrange(3))]
    if kind == 9:
        made = {}
        made[rng.randrange(4)] = Thing(2)
        return made
    if kind == 10:
        return iter([Thing(1), Thing(2)])
    if kind == 11:
        return slice(rng.randrange(-2, 3), None, rng.choice((None, 1, -1, 2)))
    if kind == 12:
        return Thing(rng.randrange(3)).method
    return types.SimpleNamespace(token=1)


def say(argument: object) -> str:
    """Describe an argument, without a hook."""
    if type(argument) in (int, str, float, bytes, type(None), bool):
        return repr(argument)
    return repr(token(argument)) if type(argument) in KINDS else type(argument).__name__

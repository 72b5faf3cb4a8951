# Objects of any kind: what is in them isn't known.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""What was made inside a block and outlives it."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from types import FrameType, FunctionType, ModuleType
from typing import Any, Self
from weakref import ReferenceType

from leaksafe import _core
from leaksafe.leaks import _advice, _names, _plain
from leaksafe.leaks._report import Group, Late, Report, joined
from leaksafe.leaks._roots import Roots, module_name

_CODE: tuple[type, ...] = (type, ModuleType, FunctionType)
_LIVING: tuple[type, ...] = (_core.LRUCache, _core._WeakCache, _core._LruFunction)
_SAMPLES = 3
_COLLECTIONS = 3


class check:  # noqa: N801  # it reads as a keyword: `with leaks.check() as found`
    """Find what is made inside a `with` block and outlives it.

    What counts is what the garbage collector tracks, and what a container that was there before has
    more in it: numbers and strings in a dict too. Modules that were imported inside are told, and
    don't count. Objects are told from those before by address and class, without a reference to
    any: a new one in the place of a dead one of its class is taken for that.

    Only one thread's work should go on meanwhile: what others make counts too.

    Entering and leaving take full collections and O(n) in all objects of the program each: for a
    million about a second together, and some 40 bytes each in between. No code of the objects runs,
    but finalizers in the collections.

    >>> from leaksafe import leaks
    >>> class Service:
    ...     _cache = {}
    >>> def work():
    ...     for number in range(100):
    ...         Service._cache[f"add_{number}"] = number
    >>> with leaks.check() as found:
    ...     work()
    >>> found.leaked
    True
    >>> found.report().groups[0].path.split(" ← ")[0]
    'class attribute Service._cache'
    >>> "LRUCache" in found.report().groups[0].advice
    True

    """

    __slots__ = ("_before", "_report")

    def __init__(self) -> None:
        self._before: _core._HeapSnapshot | None = None
        self._report: Report | None = None

    def __enter__(self) -> Self:
        collect()
        self._report = None
        # Looking for roots makes objects of running frames, which are not to be new afterwards.
        Roots()
        # For this the interpreter makes a dict of its own, once in each thread.
        repr([None])
        self._before = _core._HeapSnapshot()
        return self

    def __exit__(self, *_: object) -> None:
        before = self._before
        self._before = None
        if before is None:
            return
        late = _late(before)
        collect()
        groups, imported = _groups(before, late)
        self._report = Report(groups, late, imported)

    def report(self) -> Report:
        """Return what was found, once the block is left.

        Raises:
            RuntimeError: the block isn't left yet.

        >>> from leaksafe import leaks
        >>> with leaks.check() as found:
        ...     numbers = [1, 2, 3] * 2
        ...     del numbers
        >>> print(found.report())
        nothing outlives the block

        """
        if self._report is None:
            raise RuntimeError("the report is there when the `with` block is left")
        return self._report

    @property
    def leaked(self) -> bool:
        """Whether anything outlives the block.

        >>> from leaksafe import leaks
        >>> with leaks.check() as found:
        ...     pass
        >>> found.leaked
        False

        """
        return bool(self.report().groups)


def collect() -> None:
    """Collect what waits: what a first collection finalizes may only be freed by the next."""
    for _ in range(_COLLECTIONS):
        if not gc.collect():
            break


def _late(before: _core._HeapSnapshot) -> list[Late]:
    """Objects that wait for the collector, by class, and the attribute that closes their cycle."""
    new, grown = before.compare()
    del grown
    if not new:
        return []
    roots = Roots()
    unreached = _core._survivors(new, roots.objects, [before])[1]
    del new
    samples: dict[type, Any] = {}
    counts: Counter[type] = Counter()
    for one in unreached:
        counts[type(one)] += 1
        samples.setdefault(type(one), one)
    del unreached
    found: list[Late] = []
    plain: list[Late] = []
    for kind, count in counts.most_common():
        name = _plain.full_name(kind)
        if _plain.attributes(samples[kind]) is None or _plain.is_a(samples[kind], *_CODE):
            plain.append(Late(name, count, None, _advice.late(None)))
        elif len(found) < _SAMPLES:
            attribute = _attribute(_core._cycle(samples[kind]), roots)
            found.append(Late(name, count, attribute, _advice.late(attribute)))
    return found or plain[:1]


def _attribute(cycle: list[Any], roots: Roots) -> str | None:
    for step in _names.steps(cycle, roots):
        if step.kind in ("attribute", "exception"):
            return step.text
    return None


def _groups(before: _core._HeapSnapshot, late: list[Late]) -> tuple[list[Group], list[str]]:
    """What outlives the block, by path, the shortest first; and the modules that were imported."""
    made, grown = before.compare()
    new = [one for one in made if not _is_our_note(one)]
    del made
    roots = Roots()
    modules = _modules(new)
    groups: dict[tuple[str, str], Group] = {}
    holders: set[int] = set()
    left_out = [before, late, grown, modules, groups, holders, roots]
    for chain, held, count, weight in _core._survivors(new, roots.objects, left_out)[0]:
        if chain:
            holders.add(id(chain[0]))
        # Of what imports leave behind the modules say enough.
        imported = id(held[0]) in modules or (modules and _is_held_by_c(chain, roots))
        if not imported and type(held[0]) is not FrameType:
            _add(groups, _group(held, chain, roots, count, weight))
    del new
    containers, more = _containers(grown, holders | roots.namespaces)
    left_out = [before, late, grown, modules, groups, holders, roots]
    for chain, held, _, _ in _core._survivors(containers, roots.objects, left_out)[0]:
        for container in held:
            whole = [container, *chain]
            if _advice.is_data(container, whole) and id(whole[-1]) not in modules:
                _add(groups, _growth(container, whole, roots, more[id(container)]))
    found = [group for group in groups.values() if not _is_pythons(group)]
    return sorted(found, key=_order), sorted(modules.values())


def _is_our_note(thing: Any) -> bool:
    """Whether it is a weak reference by which the census knows of a living cache.

    All weak references to an object that have no callback are one.
    """
    if type(thing) is not ReferenceType:
        return False
    return _plain.is_a(thing(), *_LIVING)


# Functions of their own, whose variables hold nothing when the heap is looked at.
def _modules(new: list[Any]) -> dict[int, str]:
    modules: dict[int, str] = {}
    for one in new:
        if _plain.is_a(one, ModuleType):
            modules[id(one)] = module_name(one)
    return modules


def _containers(
    grown: list[tuple[Any, int, int]], explained: set[int]
) -> tuple[list[Any], dict[int, int]]:
    containers: list[Any] = []
    more: dict[int, int] = {}
    for one, then, now in grown:
        if id(one) not in explained and _plain.is_container(one):
            containers.append(one)
            more[id(one)] = now - then
    return containers, more


def _is_held_by_c(chain: list[Any], roots: Roots) -> bool:
    return not chain or roots.name(chain[-1]) is None


def _order(group: Group) -> tuple[bool, int, int]:
    return group.path.startswith(_names.UNKNOWN), group.path.count(_names.ARROW), -group.bytes


_PYTHONS = (
    "a _abc._abc_data",
    "sys global modules",
    "sys global path_importer_cache",
    "re global _cache",
    "linecache.py global cache",
    "_type_check",
)
_PYTHON_GLOBALS = ("global __warningregistry__", "global __annotations__")


def _is_pythons(group: Group) -> bool:
    """Whether it is a cache of Python's own, that is bounded by the program's code."""
    return group.path.startswith(_PYTHONS) or any(name in group.path for name in _PYTHON_GLOBALS)


def _group(held: list[Any], chain: list[Any], roots: Roots, count: int, weight: int) -> Group:
    steps = _names.steps([held[0], *chain], roots)
    types = Counter(_plain.full_name(type(one)) for one in held)
    return Group(
        path=_names.join(steps, general=True),
        example=_names.join(steps),
        count=count,
        bytes=weight,
        types=dict(types.most_common()),
        line=allocated_at(held[0]),
        advice=_advice.advise(held, chain, steps),
        holder=_holder(chain),
    )


def _growth(container: Any, chain: list[Any], roots: Roots, more: int) -> Group:
    """A container that holds more of what the collector doesn't track."""
    items = _plain.elements(container) or [None]
    held = items[-1]
    if _plain.is_a(container, dict) and any(type(key) is not str for key in dict.keys(container)):
        # Of keys that are text the collector isn't told, of others it is.
        more = (more + 1) // 2
    steps = _names.steps(chain, roots)
    weight = _core._weigh([container]) * more // max(more, len(items))
    path = _names.join(steps)
    return Group(
        path=path,
        example=path,
        count=more,
        bytes=weight,
        types={_plain.full_name(type(held)): more},
        line=allocated_at(held),
        advice=_advice.advise([held], chain, [_names.ITEM, *steps]),
        holder=_holder(chain),
    )


def _holder(chain: list[Any]) -> str | None:
    """The class of the first holder that isn't a container, such as the `__dict__` of the next."""
    others = (one for one in chain if not _plain.is_container(one))
    return next((_plain.full_name(type(one)) for one in others), None)


def _add(groups: dict[tuple[str, str], Group], group: Group) -> None:
    key = (group.path, group.advice)
    known = groups.get(key)
    groups[key] = group if known is None else joined(known, group)


def allocated_at(thing: object) -> str | None:
    """The line that made an object, if tracemalloc runs and saw it."""
    if not tracemalloc.is_tracing():
        return None
    trace = tracemalloc.get_object_traceback(thing)
    return None if not trace else f"{trace[-1].filename}:{trace[-1].lineno}"

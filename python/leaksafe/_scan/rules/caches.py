"""Caches without a bound, and caches that hold instances."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from leaksafe._scan.containers import (
    Container,
    Containers,
    Kind,
    Level,
    Use,
    called_as,
    has_key,
    in_function,
    is_empty,
)
from leaksafe._scan.finding import DICT_CACHE, HELD_INSTANCES, UNBOUNDED_METHOD, Suspicion
from leaksafe._scan.module import (
    Module,
    NamedFunction,
    first_parameter,
    last_name,
    names,
    parameters,
    text,
)

_STORES = {Kind.STORE, Kind.SETDEFAULT}
_CACHE_WORDS = ("cache", "memo")
# The last words of names of what a program has few of: a cache by them is as large as the program.
_FEW = {
    "attr", "backend", "class", "cls", "codec", "col", "column", "dialect", "dtype", "encoding",
    "event", "fmt", "format", "func", "function", "fn", "glob", "kind", "klass", "lang", "language",
    "locale", "mcs", "method", "mode", "module", "name", "pat", "path", "pattern", "platform",
    "region", "scheme", "transport", "typ", "type", "tp", "version", "info",
}  # fmt: skip
_NAMES_OF_CODE = {"__class__", "__name__", "__qualname__", "__module__", "__func__", "__code__"}
_ONE_FOR_EACH_CLASS = {"__new__", "__init_subclass__", "__class_getitem__"}
_ENUMS = {"Enum", "IntEnum", "StrEnum", "Flag", "IntFlag"}


def dict_caches(module: Module, containers: Containers) -> Iterator[Suspicion]:
    """Dicts of modules and classes that functions look up and fill, and that nothing empties."""
    for container in containers:
        if not container.is_dict or container.level is Level.INSTANCE or not container.only_grows:
            continue
        if not container.begins_empty:  # a table, which has the most of it from the start
            continue
        use = _filled_by(container)
        if use is None:
            continue
        function, key = use.scope.function, use.key
        assert function is not None
        assert key is not None
        scope = "module" if container.level is Level.MODULE else f"class {_class(container)}"
        yield Suspicion(
            DICT_CACHE,
            container.node,
            f"{container.name}, a dict of the {scope}, only grows",
            f"{function.name} (line {function.lineno}) adds an entry for each `{text(key)}`, and"
            " nothing takes any out: all of them last as long as the program",
            f"make it `{container.name} = LRUCache(10_000)` (from leaksafe import LRUCache), or"
            f" decorate {function.name} with leaksafe's lru_cache",
            emptied_as=container.names,
            functions=called_as([use]),
        )


def _filled_by(container: Container) -> Use | None:
    named_cache = any(word in container.name.lower() for word in _CACHE_WORDS)
    for use in container.uses:
        function = use.scope.function
        if use.kind not in _STORES or function is None or use.key is None:
            continue
        if (
            _is_nothing(use.value)
            or not _varies(use.key, function)
            or function.name.lstrip("_").startswith("register")
        ):
            continue
        around = in_function(container.uses, function)
        looked_up = has_key(around, {Kind.READ, Kind.SETDEFAULT}, use.key)
        # what is given, and not computed, is an entry of a register
        looked_up = looked_up and not _is_parameter(use.value, function)
        if looked_up or (named_cache and container.has(Kind.READ)):
            return use
    return None


def _is_nothing(value: ast.expr | None) -> bool:
    """Whether an entry begins as a constant or an empty container: nothing was computed."""
    return value is not None and (isinstance(value, ast.Constant) or is_empty(value))


def _is_parameter(value: ast.expr | None, function: NamedFunction) -> bool:
    return isinstance(value, ast.Name) and value.id in {one.arg for one in parameters(function)}


def _varies(key: ast.expr, function: NamedFunction) -> bool:
    """Whether a key may take any number of values, as far as can be told."""
    used = names(key)
    local = {one.arg for one in parameters(function) if not _is_one_of_few(one.annotation)}
    local |= {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return not all(_is_of_few(name) for name in used & local) and not _is_of_code(key)


def _is_one_of_few(annotation: ast.expr | None) -> bool:
    return annotation is not None and bool(
        {"Literal", "Type", "bool", "type"} & {last_name(node) for node in ast.walk(annotation)}
    )


def _is_of_few(name: str) -> bool:
    return name.lower().rstrip("_").rpartition("_")[2] in _FEW


def _is_of_code(key: ast.expr) -> bool:
    """Whether a key is a class, a function or the name of one."""
    match key:
        case ast.Call(ast.Name("type")):
            return True
        case ast.Attribute(attr=name):
            return name in _NAMES_OF_CODE or _is_of_few(name)
        case ast.Tuple(parts):
            return all(_is_of_code(part) or _is_of_few(last_name(part)) for part in parts)
        case _:
            pass
    return False


def _class(container: Container) -> str:
    return container.owner.name if container.owner else ""


def method_caches(module: Module, containers: Containers) -> Iterator[Suspicion]:
    """Decorators of functools on methods."""
    for node in module.functions:
        if not node.decorator_list:
            continue
        owner = module.scopes[node].node
        if isinstance(owner, ast.ClassDef) and _takes_instances(node, owner):
            for decorator in node.decorator_list:
                yield from _method_cache(module, owner, node, decorator)


def _takes_instances(function: NamedFunction, owner: ast.ClassDef) -> bool:
    decorators = {last_name(one) for one in function.decorator_list}
    bases = {last_name(base) for base in owner.bases}
    return (
        first_parameter(function) not in {"", "cls", "mcs", "mcls", "metacls"}
        and not decorators & {"staticmethod", "classmethod"}
        and function.name not in _ONE_FOR_EACH_CLASS
        and not bases & {"type", *_ENUMS}
    )


def _method_cache(
    module: Module, owner: ast.ClassDef, function: NamedFunction, decorator: ast.expr
) -> Iterator[Suspicion]:
    called = decorator if isinstance(decorator, ast.Call) else None
    name = module.functools(called.func if called else decorator)
    if name not in {"lru_cache", "cache"}:
        return
    size = _maxsize(called) if name == "lru_cache" else None
    if isinstance(size, int) and size <= 0:
        return
    if size is not None and _is_value(owner):
        return
    what = f"functools.{name} on the method {owner.name}.{function.name} holds instances"
    held = f"the key of each entry holds the {owner.name} it was called on"
    cure = f"from leaksafe import {name}: the same decorator, which lets go of instances"
    if size is None:
        why = f"{held}, and without a bound none of them is ever freed"
        cure = f"{cure}; give it a maxsize"
        rule = UNBOUNDED_METHOD
    else:
        why = f"{held}: up to {size} of them live until others come, however long that takes"
        rule = HELD_INSTANCES
    # an instance that an import makes lasts as long as the program in any case
    yield Suspicion(rule, decorator, what, why, cure, functions=frozenset({owner.name}))


def _is_value(owner: ast.ClassDef) -> bool:
    """Whether instances are compared by what they hold: a cache by value, within its bound."""
    if "NamedTuple" in {last_name(base) for base in owner.bases}:
        return True
    for decorator in owner.decorator_list:
        keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
        if any(one.arg in {"frozen", "unsafe_hash"} for one in keywords):
            return True
    return any(isinstance(part, ast.FunctionDef) and part.name == "__hash__" for part in owner.body)


def _maxsize(call: ast.Call | None) -> int | str | None:
    given: ast.expr | None = None
    if call is not None:
        given = call.args[0] if call.args else None
        for keyword in call.keywords:
            if keyword.arg == "maxsize":
                given = keyword.value
    match given:
        case None:
            return 128
        case ast.Constant(value) if value is None or isinstance(value, int):
            return value
        case _:
            pass
    return "maxsize"

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
# Last words of names of what a program has any number of; of one letter are numbers and strings.
_MANY = {
    "address", "addr", "arg", "args", "argument", "arguments", "data", "email", "expr", "filename",
    "hash", "host", "id", "ids", "ident", "ip", "jid", "key", "line", "message", "node",
    "number", "obj", "object", "oid", "prompt", "query", "request", "segment", "session", "source",
    "sql", "string", "template", "text", "token", "url", "uri", "user", "username", "uuid", "value",
    "word",
}  # fmt: skip
_IDENTIFYING = {"current_task", "current_thread", "get_ident", "hash", "id", "uuid4"}
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
    """Whether a key may take any number of values, as far as can be told.

    A cache by classes, files or settings of a program is as large as the program. So a key, or what
    the function assigns to it, must be put together from strings, tell objects apart, or be given,
    under a name for data.
    """
    given = {one.arg for one in parameters(function)}
    assigned = [
        node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and any(_same_name(one, key) for one in node.targets)
    ]
    return any(_is_put_together(one, given) for one in (key, *assigned))


def _same_name(target: ast.expr, key: ast.expr) -> bool:
    """Whether an assignment is to the name that is the key."""
    return isinstance(target, ast.Name) and isinstance(key, ast.Name) and target.id == key.id


def _is_put_together(value: ast.expr, given: set[str]) -> bool:
    match value:
        case ast.JoinedStr() | ast.BinOp(op=ast.Add() | ast.Mod()):
            return bool(names(value))
        case ast.Call(ast.Attribute(ast.Constant(str()), "format")):
            return True
        case ast.Call(func):
            return last_name(func) in _IDENTIFYING
        case ast.Name(name):
            return name in given and _is_of_many(name)
        case ast.Attribute(ast.Name(), name):
            return _is_of_many(name)
        case ast.Tuple(parts):
            return any(_is_put_together(part, given) for part in parts)
        case _:
            return False


def _is_of_many(name: str) -> bool:
    word = name.lower().rstrip("_")
    # a `code_key` says of what it is the key
    return len(word) == 1 or (word.rpartition("_")[2] in _MANY and not word.endswith("_key"))


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

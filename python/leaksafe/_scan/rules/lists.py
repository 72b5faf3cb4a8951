"""Lists that only grow: of data, and of listeners."""

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
)
from leaksafe._scan.finding import LISTENERS, MODULE_LIST, Suspicion
from leaksafe._scan.module import Module, NamedFunction, names, parameters

_LISTENER_WORDS = ("listener", "observer", "subscriber", "watcher")
# In an instance these are as often the steps of its own work.
_STEP_WORDS = ("callback", "handler", "hook")
_WEAK = {"dict": "defaultdict(WeakList)", "list": "WeakList()", "set": "WeakSet()"}
_AT_IMPORT = {"__init_subclass__", "__new__", "__set_name__", "__class_getitem__"}


def module_lists(module: Module, containers: Containers) -> Iterator[Suspicion]:
    """Lists of modules that functions append to, and that nothing takes from."""
    for container in containers:
        if not container.is_list or container.level is not Level.MODULE or not container.only_grows:
            continue
        if container.has(Kind.TRUTH) or _is_called(module, container):
            continue
        adding = [use for use in container.uses if _adds_anew(use, container)]
        if not adding:
            continue
        first = adding[0].scope.function
        assert first is not None
        yield Suspicion(
            MODULE_LIST,
            container.node,
            f"{container.name}, a list of the module, only grows",
            f"{first.name} (line {adding[0].node.lineno}) appends at each call, and nothing takes"
            " anything out: all of it lasts as long as the program",
            "keep what is still needed in an object that ends with its work, or bound it:"
            " `collections.deque(maxlen=…)`, leaksafe's `LRUCache(…)`",
            emptied_as=container.names,
            functions=called_as(adding),
        )


def _adds_anew(use: Use, container: Container) -> bool:
    """Whether a use adds something at each call, and not only what isn't there yet."""
    function = use.scope.function
    if (
        use.kind is not Kind.ADD
        or function is None
        or use.value is None
        or _registers(function, use.value)
    ):
        return False
    if function.name in _AT_IMPORT:
        return False
    if has_key(in_function(container.uses, function), {Kind.CONTAINS}, use.value):
        return False
    return bool(names(use.value))


def _registers(function: NamedFunction, value: ast.expr) -> bool:
    """Whether a function gives back what it keeps, as a decorator does."""
    kept = names(value) & {one.arg for one in parameters(function)}
    return any(
        isinstance(node, ast.Return) and isinstance(node.value, ast.Name) and node.value.id in kept
        for node in ast.walk(function)
    )


def listener_lists(module: Module, containers: Containers) -> Iterator[Suspicion]:
    """Lists that methods add listeners to, and call over, and that none can leave."""
    for container in containers:
        if not container.only_grows or not _is_called(module, container):
            continue
        adding = [use for use in container.uses if _subscribes(use)]
        if not adding:
            continue
        function = adding[0].scope.function
        assert function is not None
        weak = _WEAK[container.kind]
        yield Suspicion(
            LISTENERS,
            container.node,
            f"{container.name} keeps its listeners alive, and none can leave",
            f"{function.name} (line {function.lineno}) adds, nothing removes: a bound method"
            " keeps its instance for as long as the list lives",
            f"make it `{container.name} = {weak}` (from leaksafe): listeners leave by dying",
            emptied_as=container.names,
            functions=called_as(adding),
        )


def _subscribes(use: Use) -> bool:
    """Whether a use adds a parameter of its function."""
    function = use.scope.function
    if use.kind not in {Kind.ADD, Kind.ADD_BELOW} or function is None or use.value is None:
        return False
    if function.name in {"__init__", *_AT_IMPORT} or _registers(function, use.value):
        return False
    given = {one.arg for one in parameters(function)}
    return isinstance(use.value, ast.Name) and use.value.id in given


def _is_called(module: Module, container: Container) -> bool:
    """Whether a container is named for listeners, and what it holds is called in a loop."""
    in_instance = container.level is Level.INSTANCE
    words = _LISTENER_WORDS if in_instance else _LISTENER_WORDS + _STEP_WORDS
    return any(word in container.name.lower() for word in words) and any(
        use.kind in {Kind.LOOP, Kind.READ} and _loop_calls(module, use) for use in container.uses
    )


def _loop_calls(module: Module, use: Use) -> bool:
    for loop in module.ancestors(use.node):
        if isinstance(loop, ast.For | ast.AsyncFor):
            targets, body = names(loop.target), loop.body
            return any(_calls(node, targets) for part in body for node in ast.walk(part))
    return False


def _calls(node: ast.AST, targets: set[str]) -> bool:
    match node:
        case ast.Call(ast.Name(name) | ast.Attribute(ast.Name(name))):
            return name in targets
        case _:
            pass
    return False

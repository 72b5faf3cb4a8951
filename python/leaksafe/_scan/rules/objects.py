"""Singletons made by hand, exceptions that are kept, objects that hold each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from leaksafe._scan.containers import Containers
from leaksafe._scan.finding import KEPT_EXCEPTION, MUTUAL, SINGLETON, Suspicion
from leaksafe._scan.module import (
    Function,
    Module,
    NamedFunction,
    first_parameter,
    last_name,
    names,
    parameters,
)

_LOCK_WORDS = ("lock", "synchron", "mutex")
_KEEPING = {"append", "add", "appendleft", "insert"}


def singletons(module: Module, containers: Containers) -> Iterator[Suspicion]:
    """A `__new__` that keeps the one instance in an attribute of its class, without a lock."""
    for node in module.nodes:
        owner = module.scopes[node].node
        if not isinstance(node, NamedFunction) or node.name != "__new__":
            continue
        if not isinstance(owner, ast.ClassDef) or _locks(module, node):
            continue
        kept = _kept_instance(module, node, owner)
        if kept:
            yield Suspicion(
                SINGLETON,
                node,
                f"{owner.name}.__new__ makes a singleton without a lock",
                f"two threads that see no {kept} make two instances, `__init__` runs at each call,"
                " and the instance never ends",
                f"remove __new__ and decorate {owner.name} with @singleton (from leaksafe import"
                " singleton)",
            )


def _locks(module: Module, function: NamedFunction) -> bool:
    decorators = [last_name(one).lower() for one in function.decorator_list]
    if any(word in name for name in decorators for word in _LOCK_WORDS):
        return True
    return any(
        isinstance(node, ast.With | ast.AsyncWith)
        or (isinstance(node, ast.Attribute) and node.attr == "acquire")
        for node in module.within(function)
    )


def _kept_instance(module: Module, function: NamedFunction, owner: ast.ClassDef) -> str:
    holders = {first_parameter(function), owner.name}
    asked: set[str] = set()
    stored: dict[str, ast.expr] = {}
    for node in module.within(function):
        match node:
            case ast.Assign([ast.Attribute(ast.Name(holder), name)], value) if holder in holders:
                stored[name] = value
            case ast.Attribute(ast.Name(holder), name, ast.Load()) if holder in holders:
                asked.add(name)
            case ast.Call(
                ast.Name("hasattr" | "getattr"), [ast.Name(holder), ast.Constant(str(name)), *_]
            ) if holder in holders:
                asked.add(name)
    made = {
        last_name(node.targets[0])
        for node in module.within(function)
        if isinstance(node, ast.Assign) and _makes_instance(node.value)
    }
    for name, value in stored.items():
        is_instance = _makes_instance(value) or last_name(value) in made
        if name in asked and is_instance and not isinstance(value, ast.Constant):
            return f"`{owner.name}.{name}`"
    return ""


def _makes_instance(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and last_name(value.func) == "__new__"


def kept_exceptions(module: Module, containers: Containers) -> Iterator[Suspicion]:
    """Exceptions stored where they outlive the handler that caught them."""
    cleared = _set_to_none(module)
    for node in module.nodes:
        if not isinstance(node, ast.ExceptHandler) or not node.name:
            continue
        inside = [child for part in node.body for child in (part, *module.within(part))]
        if _lets_go(inside, node.name):
            continue
        for child in inside:
            place = _place(module, containers, child, node.name)
            if not place or last_name(place) in cleared or _is_raised(inside, place):
                continue
            assert isinstance(child, ast.expr | ast.stmt)
            yield Suspicion(
                KEPT_EXCEPTION,
                child,
                f"{ast.unparse(place)} keeps an exception",
                "its traceback holds the frame of each function it passed through, and these hold"
                " all their variables, this function's among them",
                "keep what is needed of it, such as"
                f" `traceback.TracebackException.from_exception({node.name})`, or call"
                f" `{node.name}.with_traceback(None)` once it was logged",
            )


def _set_to_none(module: Module) -> set[str]:
    """Return the names that something sets to None or deletes, but where they begin."""
    found: set[str] = set()
    for node in module.nodes:
        scope = module.scopes[node]
        if scope.at_import or (scope.function and scope.function.name == "__init__"):
            continue
        match node:
            case ast.Assign(targets, ast.Constant(None)):
                found.update(last_name(target) for target in targets)
            case ast.Delete(targets):
                found.update(last_name(target) for target in targets)
    return found


def _lets_go(nodes: list[ast.AST], name: str) -> bool:
    for node in nodes:
        match node:
            case ast.Attribute(ast.Name(used), "with_traceback" | "__traceback__"):
                if used == name:
                    return True
            case ast.Attribute(attr="clear_frames"):
                return True
    return False


def _place(
    module: Module, containers: Containers, node: ast.AST, exception: str
) -> ast.expr | None:
    """Return what a node stores the exception in."""
    match node:
        case ast.Assign([target], ast.Name(name)) if name == exception:
            if isinstance(target, ast.Attribute) and not target.attr.startswith("__"):
                return target
            if isinstance(target, ast.Name) and _is_global(module, target):
                return target
            if isinstance(target, ast.Subscript) and _outlives(module, containers, target.value):
                return target.value
        case ast.Call(ast.Attribute(holder, method), [*_, ast.Name(name)]):
            if name == exception and method in _KEEPING and _outlives(module, containers, holder):
                return holder
    return None


def _is_global(module: Module, name: ast.Name) -> bool:
    return module.scopes[name].is_of_module(name.id) and not module.scopes[name].at_import


def _outlives(module: Module, containers: Containers, holder: ast.expr) -> bool:
    if isinstance(holder, ast.Attribute):
        return module.is_receiver(holder.value)
    found = containers.at(holder)
    return found is not None and not found.has()


def _is_raised(nodes: list[ast.AST], place: ast.expr) -> bool:
    return any(
        isinstance(node, ast.Raise) and node.exc is not None and names(node.exc) & names(place)
        for node in nodes
    )


def mutual_attributes(module: Module, containers: Containers) -> Iterator[Suspicion]:
    """Methods after which two objects hold each other."""
    for node in module.nodes:
        if not isinstance(node, NamedFunction):
            continue
        owner = module.scopes[node].node
        if isinstance(owner, ast.ClassDef) and first_parameter(node):
            yield from _back_links(module, node, owner)
            yield from _made_with_self(module, node, owner)


def _back_links(
    module: Module, method: NamedFunction, owner: ast.ClassDef
) -> Iterator[Suspicion]:
    receiver = first_parameter(method)
    held: dict[str, str] = {}
    back: dict[str, tuple[ast.stmt, str]] = {}
    for node in module.within(method):
        for attribute, child in _holds(node, receiver):
            if isinstance(child, ast.Name):
                held[child.id] = attribute
        match node:
            case ast.Assign([ast.Attribute(ast.Name(child), attribute)], ast.Name(value)):
                if value == receiver and child != receiver:
                    back[child] = node, attribute
    for child, (node, attribute) in back.items():
        if child in held and not _is_property(module, attribute):
            yield _mutual(node, f"{receiver}.{held[child]}", f"{child}.{attribute}", attribute)


def _holds(node: ast.AST, receiver: str) -> Iterator[tuple[str, ast.expr]]:
    """Yield the attribute of the receiver that a node puts something in, and what."""
    match node:
        case ast.Assign([ast.Attribute(ast.Name(base), attribute)], value) if base == receiver:
            yield attribute, value
        case ast.Assign(
            [ast.Subscript(ast.Attribute(ast.Name(base), attribute))], value
        ) if base == receiver:
            yield attribute, value
        case ast.Call(
            ast.Attribute(ast.Attribute(ast.Name(base), attribute), method), [*_, value]
        ) if base == receiver and method in _KEEPING:
            yield attribute, value


def _made_with_self(
    module: Module, method: NamedFunction, owner: ast.ClassDef
) -> Iterator[Suspicion]:
    receiver = first_parameter(method)
    for node in module.within(method):
        for attribute, value in _holds(node, receiver):
            if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Name):
                continue
            made = module.classes.get(value.func.id)
            back = _kept_argument(module, made, value, receiver) if made else ""
            if back and not _is_property(module, back):
                assert made is not None
                assert isinstance(node, ast.stmt | ast.expr)
                yield _mutual(node, f"{receiver}.{attribute}", f"{made.name}.{back}", back)


def _kept_argument(module: Module, made: ast.ClassDef, call: ast.Call, receiver: str) -> str:
    """Return the attribute in which the `__init__` of a class keeps the receiver given to it."""
    for part in made.body:
        if isinstance(part, NamedFunction) and part.name == "__init__":
            given = [one.arg for one in part.args.args][1:]
            positional = dict(zip(given, call.args, strict=False))
            by_name = {one.arg: one.value for one in call.keywords if one.arg}
            for name, value in (positional | by_name).items():
                if isinstance(value, ast.Name) and value.id == receiver:
                    return _stored_as(module, part, name)
    return ""


def _stored_as(module: Module, function: Function, parameter: str) -> str:
    own = first_parameter(function)
    for node in module.within(function):
        match node:
            case ast.Assign([ast.Attribute(ast.Name(base), attribute)], ast.Name(value)):
                if base == own and value == parameter:
                    return attribute
    return ""


def _is_property(module: Module, attribute: str) -> bool:
    """Whether a class of the module says itself what setting the attribute does."""
    for made in module.classes.values():
        for part in made.body:
            match part:
                case ast.FunctionDef(name) if name == attribute:
                    return True
                case ast.Assign([ast.Name(name)], ast.Call()) if name == attribute:
                    return True
    return False


def _mutual(node: ast.stmt | ast.expr, there: str, back: str, attribute: str) -> Suspicion:
    return Suspicion(
        MUTUAL,
        node,
        f"{there} and {back} hold each other",
        "neither is freed when the program has done with both, but only when the collector comes,"
        " and so is all that they hold",
        f"make the way back weak: `{attribute} = weakattr()` in the class of what is owned (from"
        " leaksafe import weakattr)",
    )


__all__ = ["kept_exceptions", "mutual_attributes", "parameters", "singletons"]

"""Singletons made by hand."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from leaksafe._scan.containers import Containers
from leaksafe._scan.finding import SINGLETON, Suspicion
from leaksafe._scan.module import Module, NamedFunction, first_parameter, last_name

_LOCK_WORDS = ("lock", "synchron", "mutex")


def singletons(module: Module, containers: Containers) -> Iterator[Suspicion]:
    """A `__new__` that keeps the one instance in an attribute of its class, without a lock."""
    for function in module.functions:
        owner = module.scopes[function].node
        if function.name != "__new__" or not isinstance(owner, ast.ClassDef):
            continue
        kept = _kept_instance(module, function, owner)
        if kept and not _locks(module, function):
            yield Suspicion(
                SINGLETON,
                function,
                f"{owner.name}.__new__ makes a singleton without a lock",
                f"two threads that see no {owner.name}.{kept} make two instances; `__init__` runs"
                " at each call, and the instance never ends",
                f"remove __new__ and decorate {owner.name} with @singleton (from leaksafe import"
                " singleton)",
                # whose first instance is made by an import, is made once
                functions=frozenset({owner.name}),
            )


def _locks(module: Module, function: NamedFunction) -> bool:
    decorators = [last_name(one).lower() for one in function.decorator_list]
    if any(word in name for name in decorators for word in _LOCK_WORDS):
        return True
    return any(
        isinstance(node, ast.With) or (isinstance(node, ast.Attribute) and node.attr == "acquire")
        for node in module.within(function)
    )


def _kept_instance(module: Module, function: NamedFunction, owner: ast.ClassDef) -> str:
    """Return the attribute of the class that is asked for, and in which a new instance is kept."""
    holders = {first_parameter(function), owner.name}
    asked: set[str] = set()
    stored: dict[str, ast.expr] = {}
    made: set[str] = set()
    for node in module.within(function):
        match node:
            case ast.Assign([ast.Attribute(ast.Name(holder), name)], value) if holder in holders:
                stored[name] = value
            case ast.Assign([ast.Name(name)], value) if _makes_instance(value):
                made.add(name)
            case ast.Attribute(ast.Name(holder), name, ast.Load()) if holder in holders:
                asked.add(name)
            case ast.Call(
                ast.Name("hasattr" | "getattr"), [ast.Name(holder), ast.Constant(str(name)), *_]
            ) if holder in holders:
                asked.add(name)
            case _:
                pass
    for name, value in stored.items():
        if name in asked and (_makes_instance(value) or last_name(value) in made):
            return name
    return ""


def _makes_instance(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and last_name(value.func) == "__new__"

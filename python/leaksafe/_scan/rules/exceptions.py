"""Exceptions that are kept."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from leaksafe._scan.containers import Containers
from leaksafe._scan.finding import KEPT_EXCEPTION, Suspicion
from leaksafe._scan.module import Module, last_name, let_go, names, text

_KEEPING = {"append", "add", "appendleft", "insert"}


def kept_exceptions(module: Module, containers: Containers) -> Iterator[Suspicion]:
    """Exceptions stored where they outlive the handler that caught them."""
    handlers = module.all(ast.ExceptHandler)
    gone = let_go(module) if handlers else set[str]()
    for handler in handlers:
        # a module that can't be imported says so once
        if not handler.name or module.scopes[handler].at_import:
            continue
        inside = [child for part in handler.body for child in (part, *module.within(part))]
        if _lets_go(inside, handler.name):
            continue
        for child in inside:
            place = _place(module, containers, child, handler.name)
            if place is None or last_name(place) in gone or _is_raised(inside, place):
                continue
            yield Suspicion(
                KEPT_EXCEPTION,
                place,
                f"{text(place)} keeps an exception",
                "its traceback holds the frame of each function it passed through, and these hold"
                " all their variables, this function's among them",
                "keep what is needed of it, such as"
                f" `traceback.TracebackException.from_exception({handler.name})`, or set"
                f" `{handler.name}.__traceback__ = None` once it was logged",
                let_go_as=frozenset({last_name(place)}),
            )


def _lets_go(nodes: list[ast.AST], exception: str) -> bool:
    """Whether the traceback is taken off, or emptied."""
    for node in nodes:
        match node:
            case ast.Attribute(ast.Name(name), "with_traceback" | "__traceback__"):
                if name == exception:
                    return True
            case ast.Attribute(attr="clear_frames"):
                return True
            case _:
                pass
    return False


def _place(
    module: Module, containers: Containers, node: ast.AST, exception: str
) -> ast.expr | None:
    """Return what a node stores the exception in."""
    match node:
        case ast.Assign([target], ast.Name(name)) if name == exception:
            if isinstance(target, ast.Attribute):
                return None if target.attr.startswith("__") else target
            if isinstance(target, ast.Name):
                return target if module.scopes[target].is_of_module(target.id) else None
            if isinstance(target, ast.Subscript) and _outlives(module, containers, target.value):
                return target.value
        case ast.Call(ast.Attribute(holder, method), [*_, ast.Name(name)]):
            if name == exception and method in _KEEPING and _outlives(module, containers, holder):
                return holder
        case _:
            pass
    return None


def _outlives(module: Module, containers: Containers, holder: ast.expr) -> bool:
    container = containers.at(holder)
    if container is not None:
        return container.only_grows
    return isinstance(holder, ast.Attribute) and module.is_receiver(holder.value)


def _is_raised(nodes: list[ast.AST], place: ast.expr) -> bool:
    """Whether what the exception is put in is itself an exception, on its way."""
    return any(
        isinstance(node, ast.Raise) and node.exc is not None and names(node.exc) & names(place)
        for node in nodes
    )

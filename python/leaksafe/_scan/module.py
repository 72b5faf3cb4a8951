"""A parsed module with what the syntax tree leaves out: parents, scopes, and who a name refers to.

Nothing here recurses: a tree may be deeper than Python's stack.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
NamedFunction = ast.FunctionDef | ast.AsyncFunctionDef

_OUTSIDE = {"decorator_list", "returns", "bases", "keywords"}
"""Fields of a function or class that the scope around it evaluates."""


@dataclass(eq=False)
class Scope:
    """A module, a class body or a function, and the names it binds."""

    node: ast.Module | ast.ClassDef | Function
    parent: Scope | None
    bound: set[str] = field(default_factory=set)
    declared_global: set[str] = field(default_factory=set)

    @property
    def function(self) -> NamedFunction | None:
        """The innermost `def` that this is in, or is."""
        scope: Scope | None = self
        while scope is not None:
            if isinstance(scope.node, NamedFunction):
                return scope.node
            scope = scope.parent
        return None

    @property
    def method(self) -> Scope | None:
        """The method that this is in, or is."""
        scope: Scope | None = self
        while scope is not None and scope.parent is not None:
            if isinstance(scope.node, NamedFunction) and isinstance(
                scope.parent.node, ast.ClassDef
            ):
                return scope
            scope = scope.parent
        return None

    @property
    def owner(self) -> ast.ClassDef | None:
        """The class whose method or body this is in."""
        scope: Scope | None = self
        while scope is not None:
            if isinstance(scope.node, ast.ClassDef):
                return scope.node
            scope = scope.parent
        return None

    @property
    def at_import(self) -> bool:
        """Whether this runs once, when the module is imported."""
        scope: Scope | None = self
        while scope is not None:
            if isinstance(scope.node, Function):
                return False
            scope = scope.parent
        return True

    def is_of_module(self, name: str) -> bool:
        """Whether `name`, used here, is a name of the module."""
        scope: Scope = self
        while scope.parent is not None:
            if name in scope.declared_global:
                return True
            if name in scope.bound and (scope is self or isinstance(scope.node, Function)):
                return False
            scope = scope.parent
        return True


class Module:
    """A syntax tree that knows its parents and scopes."""

    def __init__(self, tree: ast.Module) -> None:
        """Walk the tree once."""
        self.tree = tree
        self.scope = Scope(tree, None)
        self.nodes: list[ast.AST] = []
        self.parents: dict[ast.AST, ast.AST] = {}
        self.scopes: dict[ast.AST, Scope] = {}
        """The scope that a node is evaluated in."""
        self.inside: dict[ast.AST, Scope] = {tree: self.scope}
        """The scope that a module, class or function makes."""
        self._walk()
        self.classes = {node.name: node for node in self.nodes if isinstance(node, ast.ClassDef)}
        self._functools = dict(self._imported_from_functools())

    def _walk(self) -> None:
        waiting: list[tuple[ast.AST, Scope]] = [(self.tree, self.scope)]
        while waiting:
            node, scope = waiting.pop()
            self.nodes.append(node)
            self.scopes[node] = scope
            _bind(node, scope)
            inner = scope
            if isinstance(node, Function | ast.ClassDef):
                inner = self.inside[node] = Scope(node, scope)
            elif isinstance(node, ast.arguments):
                _bind_parameters(node, scope)
            for name, value in ast.iter_fields(node):
                of = scope if name in _OUTSIDE else inner
                if isinstance(node, ast.arguments) and name in {"defaults", "kw_defaults"}:
                    of = scope.parent or scope
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST) and not isinstance(child, ast.expr_context):
                        self.parents[child] = node
                        waiting.append((child, of))
        # in the order of the source, so that findings come out the same each time
        self.nodes.sort(key=lambda node: (getattr(node, "lineno", 0), getattr(node, "col_offset", 0)))

    def _imported_from_functools(self) -> Iterator[tuple[str, str]]:
        for node in self.nodes:
            if isinstance(node, ast.ImportFrom) and node.module == "functools" and not node.level:
                for alias in node.names:
                    yield alias.asname or alias.name, alias.name
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name == "functools":
                        yield alias.asname or "functools", ""

    def functools(self, node: ast.expr) -> str:
        """Return the name that functools has for what `node` names; empty if it isn't from there."""
        match node:
            case ast.Name(name):
                return self._functools.get(name, "")
            case ast.Attribute(ast.Name(name), attribute) if self._functools.get(name) == "":
                return attribute
        return ""

    def within(self, node: ast.AST) -> Iterator[ast.AST]:
        """All nodes below `node`, without those of functions and classes defined there."""
        waiting = list(ast.iter_child_nodes(node))
        while waiting:
            child = waiting.pop()
            yield child
            if not isinstance(child, Function | ast.ClassDef):
                waiting.extend(ast.iter_child_nodes(child))

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """The parent, its parent and so on, as far as the innermost function or class."""
        parent = self.parents.get(node)
        while parent is not None and not isinstance(parent, Function | ast.ClassDef | ast.Module):
            yield parent
            parent = self.parents.get(parent)

    def is_receiver(self, node: ast.AST) -> bool:
        """Whether `node` is the instance or class that a method was called on."""
        if not isinstance(node, ast.Name):
            return False
        method = self.scopes[node].method
        return method is not None and node.id == first_parameter(method.node)


def parameters(function: Function) -> list[ast.arg]:
    """Return all parameters, in order."""
    given = function.args
    rest = [one for one in (given.vararg, given.kwarg) if one is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *rest]


def first_parameter(function: ast.AST) -> str:
    """Return the name of the first positional parameter; empty if there is none."""
    if isinstance(function, Function):
        for parameter in (*function.args.posonlyargs, *function.args.args):
            return parameter.arg
    return ""


def last_name(node: ast.AST) -> str:
    """Return `c` of `a.b.c`, of `c`, and of a call of either; else nothing."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    match node:
        case ast.Name(name):
            return name
        case ast.Attribute(attr=name):
            return name
    return ""


def names(node: ast.AST) -> set[str]:
    """Return every name used in an expression."""
    return {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}


def same(one: ast.AST, other: ast.AST) -> bool:
    """Whether two expressions read the same."""
    return _shape(one) == _shape(other)


def _shape(node: ast.AST) -> list[object]:
    shape: list[object] = []
    for child in ast.walk(node):
        if isinstance(child, ast.expr_context):
            continue
        shape.append(type(child))
        for _, value in ast.iter_fields(child):
            if isinstance(value, list):
                shape.append(len(value))
            elif not isinstance(value, ast.AST):
                shape.append((type(value), value))
    return shape


def _bind_parameters(arguments: ast.arguments, scope: Scope) -> None:
    rest = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    for parameter in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *rest):
        scope.bound.add(parameter.arg)


def _bind(node: ast.AST, scope: Scope) -> None:
    match node:
        case ast.Name(name, ast.Store() | ast.Del()):
            scope.bound.add(name)
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
            scope.bound.add(name)
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            scope.bound.add(name)
        case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            scope.bound.add(name)
        case ast.Import(aliases) | ast.ImportFrom(names=aliases):
            scope.bound.update((one.asname or one.name).partition(".")[0] for one in aliases)
        case ast.Global(declared):
            scope.declared_global.update(declared)

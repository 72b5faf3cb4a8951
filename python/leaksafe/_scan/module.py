"""A parsed module with what the syntax tree leaves out: parents, scopes, and who a name refers to.

Nothing here recurses: a tree may be deeper than Python's stack.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar, cast

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
NamedFunction = ast.FunctionDef | ast.AsyncFunctionDef

N = TypeVar("N", bound=ast.AST)

_SHORT = 20
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_BINDING = (
    *_SCOPES, ast.arg, ast.ExceptHandler, ast.MatchAs, ast.MatchStar, ast.MatchMapping, ast.Import,
    ast.ImportFrom, ast.Global,
)  # fmt: skip
_WITHOUT_CHILDREN = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)
_DEFAULTS = {"defaults", "kw_defaults"}
"""Of a function's arguments; the scope around it evaluates them."""
_OUTSIDE = {"decorator_list", "returns", "bases", "keywords"}
"""Fields of a function or class that the scope around it evaluates."""


@dataclass(eq=False)
class Scope:
    """A module, a class body or a function, and the names it binds."""

    node: ast.Module | ast.ClassDef | Function
    parent: Scope | None
    bound: set[str] = field(default_factory=set[str])
    declared_global: set[str] = field(default_factory=set[str])

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
        scope: Scope = self
        while scope.parent is not None:
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
        self._by_type: dict[type, list[ast.AST]] = {}
        self._children: dict[ast.AST, list[ast.AST]] = {}
        self.parents: dict[ast.AST, ast.AST] = {}
        self.scopes: dict[ast.AST, Scope] = {}
        """The scope that a node is evaluated in."""
        self.inside: dict[ast.AST, Scope] = {tree: self.scope}
        """The scope that a module, class or function makes."""
        self._walk()
        self.classes = {node.name: node for node in self.all(ast.ClassDef)}
        self.imported: dict[str, str] = {}
        """Names from other modules, and what they are called there."""
        for whole in self.all(ast.Import):
            self.imported.update({one.asname or one.name: one.name for one in whole.names})
        for part in self.all(ast.ImportFrom):
            self.imported.update({one.asname or one.name: one.name for one in part.names})
        self._functools = dict(self._imported_from_functools())

    def _walk(self) -> None:
        waiting: list[tuple[ast.AST, Scope]] = [(self.tree, self.scope)]
        while waiting:
            node, scope = waiting.pop()
            self._by_type.setdefault(type(node), []).append(node)
            self.scopes[node] = scope
            _bind(node, scope)
            inner = scope
            if isinstance(node, _SCOPES):
                inner = self.inside[node] = Scope(node, scope)
            for name in node._fields:
                of = scope if name in _OUTSIDE else inner
                if name in _DEFAULTS:
                    of = scope.parent or scope
                for child in _below(getattr(node, name, None)):
                    self.parents[child] = node
                    self._children.setdefault(node, []).append(child)
                    waiting.append((child, of))

    def all(self, kind: type[N]) -> list[N]:
        """Return the nodes of a type, in the order of the source."""
        found = [node for node in self._by_type.get(kind, []) if isinstance(node, kind)]
        return sorted(found, key=_position)

    @property
    def functions(self) -> list[NamedFunction]:
        """All that begins with `def` or `async def`."""
        return [*self.all(ast.FunctionDef), *self.all(ast.AsyncFunctionDef)]

    def _imported_from_functools(self) -> Iterator[tuple[str, str]]:
        for imported in self.all(ast.ImportFrom):
            if imported.module == "functools" and not imported.level:
                for alias in imported.names:
                    yield alias.asname or alias.name, alias.name
        for whole in self.all(ast.Import):
            for alias in whole.names:
                if alias.name == "functools":
                    yield alias.asname or "functools", ""

    def functools(self, node: ast.expr) -> str:
        """Return the name in functools of what `node` names; empty if it isn't from there."""
        match node:
            case ast.Name(name):
                return self._functools.get(name, "")
            case ast.Attribute(ast.Name(name), attribute) if self._functools.get(name) == "":
                return attribute
            case _:
                pass
        return ""

    def within(self, node: ast.AST) -> Iterator[ast.AST]:
        """All nodes below `node`, without those of functions and classes defined there."""
        waiting = list(self._children.get(node, ()))
        while waiting:
            child = waiting.pop()
            yield child
            if not isinstance(child, _SCOPES):
                waiting.extend(self._children.get(child, ()))

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """The parent, its parent and so on, as far as the innermost function or class."""
        parent = self.parents.get(node)
        while parent is not None and not isinstance(parent, (*_SCOPES, ast.Module)):
            yield parent
            parent = self.parents.get(parent)

    def is_receiver(self, node: ast.AST) -> bool:
        """Whether `node` is the instance or class that a method was called on."""
        if not isinstance(node, ast.Name):
            return False
        method = self.scopes[node].method
        return method is not None and node.id == first_parameter(method.node)


def _below(value: object) -> list[ast.AST]:
    """Return the nodes that a field of a node has."""
    given = cast("list[object]", value) if isinstance(value, list) else [value]
    return [
        one for one in given if isinstance(one, ast.AST) and not isinstance(one, _WITHOUT_CHILDREN)
    ]


def _position(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


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
        case _:
            pass
    return ""


def let_go(module: Module) -> set[str]:
    """Return the attributes and globals that a function lets go of, but where instances begin.

    That is what it sets to None or to something empty, deletes, or clears.
    """
    found: set[str] = set()
    for node in (*module.all(ast.Assign), *module.all(ast.Delete), *module.all(ast.Call)):
        scope = module.scopes[node]
        if scope.function is None or scope.function.name == "__init__":
            continue
        match node:
            case ast.Assign(targets, ast.Constant(None) | ast.List(elts=[]) | ast.Dict(keys=[])):
                pass
            case ast.Delete(targets):
                pass
            case ast.Call(ast.Attribute(target, "clear")):
                targets = [target]
            case _:
                continue
        for target in targets:
            if isinstance(target, ast.Attribute):
                found.add(target.attr)
            elif isinstance(target, ast.Name) and scope.is_of_module(target.id):
                found.add(target.id)
    return found


def names(node: ast.AST) -> set[str]:
    """Return every name used in an expression."""
    return {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}


def text(node: ast.expr) -> str:
    """Return an expression as it is written, as far as a line has room for it."""
    if sum(1 for _ in ast.walk(node)) > _SHORT:
        return "…"
    try:
        return ast.unparse(node)
    except ValueError:  # an int with more digits than Python prints
        return "…"


def same(one: ast.AST, other: ast.AST) -> bool:
    """Whether two expressions read the same."""
    return _shape(one) == _shape(other)


def _shape(node: ast.AST) -> list[object]:
    shape: list[object] = []
    for child in ast.walk(node):
        if isinstance(child, ast.expr_context):
            continue
        shape.append(type(child))
        for name in child._fields:
            value: object = getattr(child, name, None)
            if isinstance(value, list):
                shape.append(len(cast("list[object]", value)))
            elif not isinstance(value, ast.AST):
                shape.append((type(value), value))
    return shape


def _bind(node: ast.AST, scope: Scope) -> None:
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            scope.bound.add(node.id)
        return
    if not isinstance(node, _BINDING):
        return
    match node:
        case ast.arg(name):
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
        case _:
            pass

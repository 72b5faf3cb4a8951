"""Containers of modules, classes and instances, and all that is done to them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from leaksafe._scan.module import Module, NamedFunction, Scope, last_name, same

_MAKERS = {
    "dict": "dict", "defaultdict": "dict", "OrderedDict": "dict",
    "list": "list", "deque": "list", "set": "set",
}  # fmt: skip
_REMOVING = {
    "clear", "difference_update", "discard", "intersection_update", "pop", "popitem", "popleft",
    "remove", "symmetric_difference_update", "__delitem__",
}  # fmt: skip
_ADDING = {"add", "append", "appendleft", "extend", "insert"}
_LOOKING_ONLY = {
    "all", "any", "bool", "deepcopy", "copy", "dict", "dumps", "enumerate", "extend", "filter",
    "format", "frozenset", "id", "isinstance", "iter", "join", "list", "map", "max", "min",
    "pformat", "pprint", "print", "repr", "reversed", "set", "sorted", "str", "sum", "tuple",
    "type", "update", "zip",
}  # fmt: skip


_TAKING = (ast.Attribute, ast.Subscript, ast.Call, ast.Delete)


class Level(Enum):
    """What a container lives as long as."""

    MODULE = "module"
    CLASS = "class"
    INSTANCE = "instance"


class Kind(Enum):
    """What is done to a container."""

    STORE = "store"  # container[key] = value
    SETDEFAULT = "setdefault"  # container.setdefault(key, value)
    ADD = "add"  # container.append(value)
    ADD_BELOW = "add below"  # container[key].append(value)
    REMOVE = "remove"
    READ = "read"  # a value by its key
    CONTAINS = "contains"
    LENGTH = "length"
    TRUTH = "truth"
    LOOP = "loop"
    LOOK = "look"  # anything else that leaves it as it is
    ESCAPE = "escape"  # given to other code, which may do anything


@dataclass(frozen=True, eq=False)
class Use:
    """One thing done to a container."""

    kind: Kind
    node: ast.expr
    scope: Scope
    key: ast.expr | None = None
    value: ast.expr | None = None


@dataclass(eq=False)
class Container:
    """A dict or list with a name, and its uses in the module that makes it."""

    name: str
    level: Level
    owner: ast.ClassDef | None
    kind: str
    """dict, list or set; what is like one counts as one."""
    node: ast.stmt
    value: ast.expr
    uses: list[Use] = field(default_factory=list[Use])

    def has(self, *kinds: Kind) -> bool:
        """Whether any of these is done to it, but when its module is imported."""
        return any(use.kind in kinds and not use.scope.at_import for use in self.uses)

    @property
    def is_dict(self) -> bool:
        """Whether it has keys."""
        return self.kind == "dict"

    @property
    def is_list(self) -> bool:
        """Whether it takes the same thing again."""
        return self.kind == "list"

    @property
    def names(self) -> frozenset[str]:
        """By what another file may name it: a subclass there has what a class has."""
        own = frozenset({self.name})
        return own if self.level is Level.MODULE else own | {f"self.{self.name}"}

    @property
    def begins_empty(self) -> bool:
        """Whether it is made with nothing in it."""
        return is_empty(self.value)

    @property
    def only_grows(self) -> bool:
        """Whether nothing is seen to take out of it or to look at its length."""
        return not self.has(Kind.REMOVE, Kind.LENGTH, Kind.ESCAPE)


class Containers:
    """All containers of a module, and the names of foreign ones that it takes from."""

    def __init__(self, module: Module) -> None:
        """Find them, then who uses them."""
        self._module = module
        self.emptied_elsewhere: set[str] = set()
        self._of_module: dict[str, Container] = {}
        self._of_classes: dict[tuple[str, str], Container] = {}
        self._defining: set[ast.AST] = set()
        for plain in module.all(ast.Assign):
            self._define(plain, plain.targets, plain.value)
        for annotated in module.all(ast.AnnAssign):
            if annotated.value is not None:
                self._define(annotated, [annotated.target], annotated.value)
        known = {*self._of_module, *(name for _, name in self._of_classes)}
        for name in module.all(ast.Name):
            self._see(name, name.id, known)
        for attribute in module.all(ast.Attribute):
            self._see(attribute, attribute.attr, known)

    def __iter__(self) -> Iterator[Container]:
        """In the order of the source."""
        yield from sorted(
            [*self._of_module.values(), *self._of_classes.values()],
            key=lambda one: one.node.lineno,
        )

    def at(self, node: ast.expr) -> Container | None:
        """Return the container that an expression names."""
        scope = self._module.scopes[node]
        if isinstance(node, ast.Name):
            return self._of_module.get(node.id) if scope.is_of_module(node.id) else None
        if not isinstance(node, ast.Attribute):
            return None
        match node.value:
            case ast.Name(name) if name in self._module.classes and scope.is_of_module(name):
                return self._of_classes.get((name, node.attr))
            case ast.Attribute(base, "__class__") | ast.Call(ast.Name("type"), [base]):
                pass
            case base:
                pass
        if self._module.is_receiver(base):
            method = scope.method
            owner = method.parent.node if method and method.parent else None
            return self._inherited(owner, node.attr)
        return None

    def _inherited(self, owner: ast.AST | None, attribute: str) -> Container | None:
        seen: set[ast.AST] = set()
        waiting = [owner]
        while waiting:
            one = waiting.pop()
            if not isinstance(one, ast.ClassDef) or one in seen:
                continue
            seen.add(one)
            found = self._of_classes.get((one.name, attribute))
            if found:
                return found
            waiting.extend(self._module.classes.get(last_name(base)) for base in one.bases)
        return None

    def _define(self, node: ast.stmt, targets: list[ast.expr], value: ast.expr) -> None:
        kind = _kind_of(value)
        if not kind:
            return
        scope = self._module.scopes[node]
        for target in targets:
            owner = scope.owner
            match target:
                case ast.Name(name) if isinstance(scope.node, ast.Module):
                    self._of_module.setdefault(
                        name, Container(name, Level.MODULE, None, kind, node, value)
                    )
                case ast.Name(name) if isinstance(scope.node, ast.ClassDef):
                    assert owner is scope.node
                    self._of_classes[scope.node.name, name] = Container(
                        name, Level.CLASS, scope.node, kind, node, value
                    )
                case ast.Attribute(base, name) if owner and self._module.is_receiver(base):
                    if scope.function is None or scope.function.name != "__init__":
                        continue
                    # what an instance has by itself hides what its class has
                    self._of_classes[owner.name, name] = Container(
                        name, Level.INSTANCE, owner, kind, node, value
                    )
                case _:
                    continue
            self._defining.add(target)

    def _see(self, node: ast.Name | ast.Attribute, name: str, known: set[str]) -> None:
        if node in self._defining:
            return
        container = self.at(node) if name in known else None
        if container is not None:
            use = self._use(node)
            if use:
                container.uses.append(use)
        elif self._is_foreign(node):
            use = self._use(node)
            if use and use.kind in {Kind.REMOVE, Kind.LENGTH}:
                self.emptied_elsewhere.add(self._foreign_name(node, name))

    def _is_foreign(self, node: ast.Name | ast.Attribute) -> bool:
        """Whether this may be a container of another file, and something that empties one."""
        parent = self._module.parents.get(node)
        if isinstance(node, ast.Name):
            return node.id in self._module.imported and isinstance(parent, _TAKING)
        # each `self.cache = {}` is an attribute of another instance
        stored = isinstance(node.ctx, ast.Store) and not self._module.is_receiver(node.value)
        return stored or isinstance(parent, _TAKING)

    def _foreign_name(self, node: ast.Name | ast.Attribute, name: str) -> str:
        if isinstance(node, ast.Name):
            return self._module.imported[name]
        return f"self.{name}" if self._module.is_receiver(node.value) else name

    def _use(self, node: ast.Name | ast.Attribute) -> Use | None:
        scope = self._module.scopes[node]
        kind, key, value = self._kind(node, scope)
        return Use(kind, node, scope, key, value) if kind else None

    def _kind(
        self, node: ast.Name | ast.Attribute, scope: Scope
    ) -> tuple[Kind | None, ast.expr | None, ast.expr | None]:
        parent = self._module.parents.get(node)
        if isinstance(node.ctx, ast.Del):
            return Kind.REMOVE, None, None
        if isinstance(node.ctx, ast.Store):
            if isinstance(parent, ast.AugAssign):
                return Kind.ADD, None, parent.value
            # a second assignment by the module itself chooses, and does not empty
            return (None if scope.at_import else Kind.REMOVE), None, None
        match parent:
            case ast.Subscript(value, key) if value is node:
                return self._item(parent, key)
            case ast.Attribute(value, method) if value is node:
                return self._method(parent, method)
            case ast.Compare(comparators=[other], ops=[ast.In() | ast.NotIn()]) if other is node:
                return Kind.CONTAINS, parent.left, None
            case ast.For(iter=iterated) | ast.AsyncFor(iter=iterated) if iterated is node:
                return Kind.LOOP, None, None
            case ast.comprehension(iter=iterated) if iterated is node:
                return Kind.LOOP, None, None
            case ast.If() | ast.While() | ast.IfExp() | ast.UnaryOp(op=ast.Not()) | ast.BoolOp():
                return Kind.TRUTH, None, None
            case ast.Call(func, arguments) if node in arguments:
                return self._argument(parent, last_name(func))
            case (
                ast.Return() | ast.Compare() | ast.FormattedValue() | ast.BinOp() | ast.Starred()
                | ast.Expr() | ast.Assert()
            ):  # fmt: skip
                return Kind.LOOK, None, None
            case ast.keyword(arg=None):  # **container
                return Kind.LOOK, None, None
            case ast.AugAssign():  # other += container
                return Kind.LOOK, None, None
            case _:
                pass
        return Kind.ESCAPE, None, None

    def _argument(
        self, call: ast.Call, function: str
    ) -> tuple[Kind | None, ast.expr | None, ast.expr | None]:
        if function == "len":
            return Kind.LENGTH if self._is_compared(call) else Kind.LOOK, None, None
        if function in {"list", "tuple", "sorted", "reversed", "iter", "enumerate", "set"}:
            outer = self._module.parents.get(call)
            if isinstance(outer, ast.For | ast.comprehension) and outer.iter is call:
                return Kind.LOOP, None, None
        return Kind.LOOK if function in _LOOKING_ONLY else Kind.ESCAPE, None, None

    def _is_compared(self, call: ast.Call) -> bool:
        parent = self._module.parents.get(call)
        while isinstance(parent, ast.BinOp):
            parent = self._module.parents.get(parent)
        return isinstance(parent, ast.Compare)

    def _item(
        self, item: ast.Subscript, key: ast.expr
    ) -> tuple[Kind | None, ast.expr | None, ast.expr | None]:
        if isinstance(item.ctx, ast.Del):
            return Kind.REMOVE, key, None
        parent = self._module.parents.get(item)
        if isinstance(item.ctx, ast.Store):
            if isinstance(key, ast.Slice):
                return Kind.REMOVE, None, None
            value = parent.value if isinstance(parent, ast.Assign | ast.AnnAssign) else None
            return Kind.STORE, key, value
        below = self._called_on(item)
        if below:
            name, value = below
            if name in _ADDING:
                return Kind.ADD_BELOW, key, value
            if name in _REMOVING:
                return Kind.REMOVE, key, None
        return Kind.READ, key, None

    def _method(
        self, attribute: ast.Attribute, name: str
    ) -> tuple[Kind | None, ast.expr | None, ast.expr | None]:
        if name in _REMOVING:
            return Kind.REMOVE, None, None
        call = self._module.parents.get(attribute)
        if not isinstance(call, ast.Call) or call.func is not attribute:
            return (Kind.ESCAPE if name in _ADDING else Kind.LOOK), None, None
        first = call.args[0] if call.args else None
        last = call.args[-1] if call.args else None
        if name in {"setdefault", "get"}:
            below = self._called_on(call)
            if below and below[0] in _ADDING and name == "setdefault":
                return Kind.ADD_BELOW, first, below[1]
            if below and below[0] in _REMOVING:
                return Kind.REMOVE, first, None
            return (Kind.READ if name == "get" else Kind.SETDEFAULT), first, last
        if name in {"items", "keys", "values", "copy"}:
            outer = self._module.parents.get(call)
            looped = isinstance(outer, ast.For | ast.comprehension) and outer.iter is call
            return (Kind.LOOP if looped else Kind.LOOK), None, None
        return (Kind.ADD if name in _ADDING else Kind.LOOK), None, last

    def _called_on(self, node: ast.expr) -> tuple[str, ast.expr | None] | None:
        """Return the method called on an expression and its last argument."""
        attribute = self._module.parents.get(node)
        if not isinstance(attribute, ast.Attribute):
            return None
        call = self._module.parents.get(attribute)
        if not isinstance(call, ast.Call) or call.func is not attribute:
            return None
        return attribute.attr, call.args[-1] if call.args else None


def in_function(uses: list[Use], function: NamedFunction) -> list[Use]:
    """Return the uses that a function itself makes."""
    return [use for use in uses if use.scope.function is function]


def called_as(uses: list[Use]) -> frozenset[str]:
    """Return the names by which code that makes these uses is called; a method's with a dot."""
    return frozenset(name for use in uses for name in _called_as(use.scope))


def _called_as(scope: Scope | None) -> Iterator[str]:
    while scope is not None and scope.parent is not None:
        if isinstance(scope.node, NamedFunction):
            owner = scope.parent.node
            if not isinstance(owner, ast.ClassDef):
                yield scope.node.name
            elif scope.node.name == "__init__":
                yield owner.name
            else:
                yield f".{scope.node.name}"
        scope = scope.parent


def has_key(uses: list[Use], kinds: set[Kind], key: ast.expr) -> bool:
    """Whether one of the uses is of such a kind and by that key."""
    return any(use.kind in kinds and use.key is not None and same(use.key, key) for use in uses)


def is_empty(value: ast.expr) -> bool:
    """Whether an expression makes an empty container."""
    match value:
        case ast.List(elts=[]) | ast.Dict(keys=[]) | ast.Call(args=[], keywords=[]):
            return bool(_kind_of(value))
        case ast.Call(ast.Name("defaultdict") | ast.Attribute(attr="defaultdict"), [_]):
            return True
        case _:
            return False


def _kind_of(value: ast.expr) -> str:
    """Return what an expression makes; nothing if that isn't a container that can grow."""
    match value:
        case ast.Dict() | ast.DictComp():
            return "dict"
        case ast.List() | ast.ListComp():
            return "list"
        case ast.Set() | ast.SetComp():
            return "set"
        case ast.Call(func, arguments, keywords):
            name = last_name(func)
            if name == "deque" and (len(arguments) > 1 or keywords):
                return ""  # it has a bound
            return _MAKERS.get(name, "")
        case _:
            pass
    return ""

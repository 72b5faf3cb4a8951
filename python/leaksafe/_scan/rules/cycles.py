"""Objects that hold each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from leaksafe._scan.containers import Containers
from leaksafe._scan.finding import MUTUAL, Suspicion
from leaksafe._scan.module import (
    Module,
    NamedFunction,
    first_parameter,
    last_name,
    let_go,
    parameters,
)

_PUTTING = {"append", "add", "appendleft", "insert"}


def mutual_attributes(module: Module, containers: Containers) -> Iterator[Suspicion]:
    """Methods after which two objects hold each other."""
    suspicions = [*_back_links(module), *_made_with_self(module)]
    if suspicions:
        gone = let_go(module)
        for back, suspicion in suspicions:
            if not suspicion.let_go_as & gone and not _is_special(module, back):
                yield suspicion


def _back_links(module: Module) -> Iterator[tuple[str, Suspicion]]:
    """`self.cars.append(car)` and `car.owner = self`, in one method."""
    for node in module.all(ast.Assign):
        match node:
            case ast.Assign([ast.Attribute(ast.Name(child), back)], ast.Name(receiver) as value):
                if child == receiver or not module.is_receiver(value):
                    continue
                method = module.scopes[node].function
                held = _held_as(module, method, receiver, child) if method else ""
                if held:
                    yield back, _mutual(node, receiver, held, child, back)
            case _:
                pass


def _held_as(module: Module, method: NamedFunction, receiver: str, child: str) -> str:
    """Return the attribute of the receiver in which a method puts `child`."""
    for node in module.within(method):
        match node:
            case ast.Assign([target], ast.Name(name)) if name == child:
                attribute = _attribute_of(target, receiver)
            case ast.Call(ast.Attribute(target, method_name), [*_, ast.Name(name)]):
                if name != child or method_name not in _PUTTING:
                    continue
                attribute = _attribute_of(target, receiver)
            case _:
                continue
        if attribute:
            return attribute
    return ""


def _made_with_self(module: Module) -> Iterator[tuple[str, Suspicion]]:
    """`self.child = Child(self)`, where `Child.__init__` keeps what it is given."""
    for call in module.all(ast.Call):
        made = module.classes.get(call.func.id) if isinstance(call.func, ast.Name) else None
        if made is None:
            continue
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        receivers = [one for one in given if isinstance(one, ast.Name) and module.is_receiver(one)]
        if not receivers:
            continue
        receiver = receivers[0].id
        attribute = _put_in(module, call, receiver)
        back = _kept_argument(module, made, call, receiver) if attribute else ""
        if back:
            yield back, _mutual(call, receiver, attribute, made.name, back)


def _put_in(module: Module, call: ast.Call, receiver: str) -> str:
    """Return the attribute of the receiver in which the result of a call is put at once."""
    match module.parents.get(call):
        case ast.Assign([target]):
            return _attribute_of(target, receiver)
        case ast.Call(ast.Attribute(target, method)) if method in _PUTTING:
            return _attribute_of(target, receiver)
        case _:
            pass
    return ""


def _attribute_of(target: ast.expr, receiver: str) -> str:
    """Return `cars` of `self.cars` and of `self.cars[…]`."""
    if isinstance(target, ast.Subscript):
        target = target.value
    match target:
        case ast.Attribute(ast.Name(base), attribute) if base == receiver:
            return attribute
        case _:
            pass
    return ""


def _kept_argument(module: Module, made: ast.ClassDef, call: ast.Call, receiver: str) -> str:
    """Return the attribute in which the `__init__` of a class keeps the receiver given to it."""
    for function in made.body:
        if not isinstance(function, ast.FunctionDef) or function.name != "__init__":
            continue
        positional = [*function.args.posonlyargs, *function.args.args][1:]
        given = [(one.arg, value) for one, value in zip(positional, call.args, strict=False)]
        given += [(one.arg, one.value) for one in call.keywords if one.arg]
        own = first_parameter(function)
        kept = {name for name, value in given if last_name(value) == receiver}
        for node in module.within(function):
            match node:
                case ast.Assign([ast.Attribute(ast.Name(base), attribute)], ast.Name(value)):
                    if base == own and value in kept & {one.arg for one in parameters(function)}:
                        return attribute
                case _:
                    pass
    return ""


def _is_special(module: Module, attribute: str) -> bool:
    """Whether a class of the module says itself what setting the attribute does."""
    for made in module.classes.values():
        for part in made.body:
            match part:
                case ast.FunctionDef(name) if name == attribute:
                    return True
                case ast.Assign([ast.Name(name)], ast.Call()) if name == attribute:
                    return True
                case _:
                    pass
    return False


def _mutual(
    node: ast.stmt | ast.expr, owner: str, attribute: str, owned: str, back: str
) -> Suspicion:
    return Suspicion(
        MUTUAL,
        node,
        f"{owner}.{attribute} and {owned}.{back} hold each other",
        "neither is freed when the program has done with both, but only when the collector comes,"
        " and so is all that they hold",
        f"make the way back weak: `{back} = weakattr()` in the class of what is owned (from"
        " leaksafe import weakattr)",
        let_go_as=frozenset({attribute, back}),
    )

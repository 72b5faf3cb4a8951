"""What a rule is, and what it finds."""

from __future__ import annotations

import ast
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A pattern that leaks."""

    code: str
    name: str
    """One word for programs, hyphenated."""
    summary: str
    """What is found, in a line."""


UNREADABLE = Rule("LS000", "unreadable", "a file that can't be read or parsed")
DICT_CACHE = Rule("LS001", "dict-cache", "a cache in a dict of a module or class that only grows")
HELD_INSTANCES = Rule("LS002", "held-instances", "lru_cache on a method, which holds instances")
UNBOUNDED_METHOD = Rule(
    "LS003", "unbounded-method-cache", "a cache without a bound on a method, which holds them all"
)
MODULE_LIST = Rule("LS004", "module-list", "a list of a module that functions only append to")
SINGLETON = Rule("LS005", "unlocked-singleton", "a singleton made by __new__ without a lock")
LISTENERS = Rule("LS006", "listener-list", "a list of listeners that none can leave")
KEPT_EXCEPTION = Rule("LS007", "kept-exception", "an exception kept, with its frames' variables")
MUTUAL = Rule("LS008", "mutual-attributes", "two objects that hold each other")

RULES = {
    rule.code: rule
    for rule in (
        UNREADABLE,
        DICT_CACHE,
        HELD_INSTANCES,
        UNBOUNDED_METHOD,
        MODULE_LIST,
        SINGLETON,
        LISTENERS,
        KEPT_EXCEPTION,
        MUTUAL,
    )
}


@dataclass(frozen=True)
class Finding:
    """One place that leaks."""

    rule: Rule
    path: str
    line: int
    column: int
    """From 1, as editors count."""
    what: str
    """The name, and what it does."""
    why: str
    """How it comes to leak."""
    cure: str
    """What to write instead; empty if there is nothing to say."""


@dataclass(frozen=True)
class Suspicion:
    """What a rule sees in one file; other files may clear it.

    A container that another module empties does not only grow, and what a function adds while
    modules are imported is a part of the program.
    """

    rule: Rule
    node: ast.expr | ast.stmt | ast.excepthandler
    what: str
    why: str
    cure: str
    emptied_as: frozenset[str] = frozenset()
    """It is cleared if another file empties a container of such a name."""
    let_go_as: frozenset[str] = frozenset()
    """It is cleared if a file sets such an attribute to None or to something empty."""
    functions: frozenset[str] = frozenset()
    """It is cleared if a file calls one of these while it is imported; `.name` is a method."""

    def at(self, path: str) -> Finding:
        """Say in which file it is."""
        line, column = self.node.lineno, self.node.col_offset + 1
        return Finding(self.rule, path, line, column, self.what, self.why, self.cure)

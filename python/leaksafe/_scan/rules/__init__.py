"""The rules: each looks at one module and yields what it suspects."""

from leaksafe._scan.rules.caches import dict_caches, method_caches
from leaksafe._scan.rules.cycles import mutual_attributes
from leaksafe._scan.rules.exceptions import kept_exceptions
from leaksafe._scan.rules.lists import listener_lists, module_lists
from leaksafe._scan.rules.singletons import singletons

ALL = (
    dict_caches,
    method_caches,
    module_lists,
    singletons,
    listener_lists,
    kept_exceptions,
    mutual_attributes,
)

__all__ = ["ALL"]

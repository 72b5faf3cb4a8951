"""What every cache of the package does as a mapping.

A test class inherits from `MappingContract` and names its `cache_class`. Nothing here depends on
which entry a cache evicts first: that is for the tests of each class.
"""

from __future__ import annotations

from contract_bounds import BoundsContract
from contract_content import ContentContract
from contract_life import LifeContract


class MappingContract(ContentContract, BoundsContract, LifeContract):
    """All of it."""

"""G9: a million of every operation leaves references, blocks and resident memory where they were.

Each case runs one operation in a process of its own: a warm-up, then a measured run of a million
rounds (100 000 for the operations marked SLOW, which handle whole caches or raise, and the number
beside them for those under RARE; a quarter of both without the GIL). After it
- the references to every key, value and callable involved are exactly what they were,
- sys.getallocatedblocks() is within 500 of what it was: a leak of one block a round is a million
  (2 000 for the operation with the fewest rounds),
- resident memory is within 2 MiB: 8 bytes leaked a round would be 8 MB.
What fills up once, such as the allocator's pools and CPython's cache of methods, may show in the
first runs; a leak shows in each of four.
"""

from __future__ import annotations

from collections.abc import Callable

from rounds import BLOCKS, RUNS, WATCHED, Round
from rounds_of_caches import (
    big_and_small,
    callback,
    callback_error,
    closed,
    deep_size_error,
    deep_sizes,
    eq_error,
    functions_in_bytes,
    generic_alias,
    hash_error,
    in_bytes,
    inspection,
    kept_nothing,
    make_and_close,
    make_and_collect,
    make_and_drop,
    make_error,
    restarts,
    stand_in_decorators,
    stand_ins,
    too_heavy,
    traced,
    unhashable,
    weak_references,
    weigher,
    weigher_error,
    weigher_nonsense,
    weigher_of_both,
    without_init,
    wrong_arguments,
)
from rounds_of_operations import (
    clear,
    contains,
    copies,
    copies_of_a_subclass,
    deep_copies,
    delete_miss,
    equal,
    equal_error,
    evict,
    evict_fresh,
    evict_python_key,
    get_hit,
    get_miss,
    get_or_create_error,
    get_or_create_error_fresh_keys,
    get_or_create_hit,
    get_or_create_miss,
    get_or_create_own_key,
    get_or_create_too_heavy,
    hit,
    hit_python_key,
    iterate,
    iterate_changed,
    iterate_half,
    iterate_reversed,
    iterate_views,
    miss,
    missing,
    peek,
    pickle_error,
    pickles,
    pop,
    pop_default,
    pop_miss,
    popitem,
    popitem_empty,
    replace,
    representation,
    representation_error,
    resize,
    resize_error,
    set_new_and_delete,
    setdefault,
    union,
    update,
    update_error,
    views,
    views_in,
    views_set_operations,
)

from growth import FEWER, MILLION, leaves_nothing
from isolated import each, isolated

FAST = (
    hit,
    hit_python_key,
    get_hit,
    get_miss,
    miss,
    missing,
    contains,
    peek,
    set_new_and_delete,
    replace,
    evict,
    evict_python_key,
    evict_fresh,
    pop,
    pop_default,
    popitem,
    setdefault,
    get_or_create_hit,
    get_or_create_miss,
    iterate,
    iterate_half,
    views,
    clear,
    resize,
    weigher,
    kept_nothing,
    inspection,
)
SLOW = (
    delete_miss,
    pop_miss,
    popitem_empty,
    get_or_create_error,
    get_or_create_error_fresh_keys,
    get_or_create_own_key,
    get_or_create_too_heavy,
    iterate_views,
    iterate_reversed,
    iterate_changed,
    views_in,
    views_set_operations,
    equal,
    equal_error,
    copies_of_a_subclass,
    representation,
    representation_error,
    update,
    update_error,
    union,
    resize_error,
    without_init,
    closed,
    callback,
    callback_error,
    weigher_of_both,
    weigher_error,
    weigher_nonsense,
    in_bytes,
    deep_sizes,
    deep_size_error,
    too_heavy,
    hash_error,
    eq_error,
    unhashable,
    wrong_arguments,
    weak_references,
    traced,
    generic_alias,
)
# tens of microseconds each, or more
RARE = {
    copies: 20_000,
    deep_copies: 20_000,
    pickles: 20_000,
    pickle_error: 20_000,
    make_and_close: 20_000,
    make_and_drop: 20_000,
    make_and_collect: 20_000,
    make_error: 20_000,
    functions_in_bytes: 10_000,
    stand_ins: 10_000,
    stand_in_decorators: 20_000,
    restarts: 2_000,
    # of 10 000 entries each
    big_and_small: 100,
}

ROUNDS: dict[Callable[[], Round], int] = {
    **dict.fromkeys(FAST, MILLION),
    **dict.fromkeys(SLOW, FEWER),
    **RARE,
}
OPERATIONS = {operation.__name__: operation for operation in ROUNDS}


@each("operation", OPERATIONS)
@isolated(malloc="default", limit=60)
def test_a_million_of(operation: str) -> None:
    make = OPERATIONS[operation]
    leaves_nothing(make(), ROUNDS[make], WATCHED, BLOCKS, RUNS)

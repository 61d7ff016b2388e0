"""The algebra in one compiled pass: packed logs, as they lie in Redis' answer, → values of windowed features.

What ``fold`` and ``assemble`` say in numpy, for records of fixed width (``online.packed``) and functions whose values
are numbers of 64 bits. Sums are of integers, exact. A log for which 64 bits are too few, or whose header says that the
read needs what was taken out, is ``UNSURE``: the numpy path then decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_F = TypeVar("_F", bound=Callable[..., Any])

DONE, UNSURE = 0, 1
"""Status of a log."""

INTEGER, BOOL, FLOAT = 0, 1, 2
"""Kinds of columns."""

COUNT, SUM, MEAN, MIN, MAX, FIRST, LAST, STD, COUNT_DISTINCT = 0, 1, 2, 3, 4, 5, 6, 7, 8
FUNCTIONS = {
    "count": COUNT, "sum": SUM, "mean": MEAN, "min": MIN, "max": MAX, "first": FIRST, "last": LAST, "std": STD,
    "count_distinct": COUNT_DISTINCT,
}  # fmt: skip

WHOLE, REAL, NULL, DEFAULT, SPREAD = 0, 1, 2, 3, 4
"""What a value is: an integer; a float64; null; the feature's default; a count whose ``squares`` give a standard
deviation."""

NO_HAND, HAND, NAMELESS_HAND, LEFT_OUT = 0, 1, 2, 3
"""A log's row in hand: none; one with an id; one that has no id yet; one with an id that is no row of the view, and
takes the stored row with its id out."""

_HEADER_BYTES = 40
_EXACT = 2**53
"""Integers up to here are float64s, so that a quotient of two is rounded once."""
_LARGE = 9.2e18
_ROOT = 3.0e9
"""The square of an integer up to here fits in 64 bits without a sign."""
_MIN = -(2**63)
_PARTIALS = 64
"""More than 2098 bits / 53, the most floats that do not overlap."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _compiled(function: _F) -> _F:
    return cast(_F, numba.njit(cache=True, nogil=True)(function))


def _entry(signature: str) -> Callable[[_F], _F]:
    """Compiled, or taken from the cache on disk, when the module is imported, and for these types alone."""
    return cast(Callable[[_F], _F], numba.njit(signature, cache=True, nogil=True))


def _inlined(function: _F) -> _F:
    """For what the innermost loops call: arrays given to a function are counted, which costs more than its work."""
    return cast(_F, numba.njit(cache=True, nogil=True, inline="always")(function))


def _intrinsic(function: Any) -> Any:
    return intrinsic(function)


@_intrinsic
def _int64(typing: Any, array: Any, at: Any) -> Any:
    """The 8 little-endian bytes at an index of a uint8 array, aligned or not."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        where = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(64).as_pointer())
        return builder.load(where, align=1)

    return types.int64(array, types.int64), generate


@_intrinsic
def _as_float(typing: Any, bits: Any) -> Any:
    """The float64 that has these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@_compiled
def _compare(high: Any, low: Any, other_high: Any, other_low: Any) -> Any:
    """-1, 0 or 1: a position below, at or above another. The halves are the bits of unsigned integers."""
    if high != other_high:
        return -1 if np.uint64(high) < np.uint64(other_high) else 1
    if low != other_low:
        return -1 if np.uint64(low) < np.uint64(other_low) else 1
    return 0


@_compiled
def _after(raw: Any, first: Any, second: Any, nulls: Any) -> Any:
    """Whether the first record stands behind the second in (event time, position, row id) order."""
    time, other = _int64(raw, first + nulls + 26), _int64(raw, second + nulls + 26)
    if time != other:
        return time > other
    place = _compare(
        _int64(raw, first + nulls + 2), _int64(raw, first + nulls + 10),
        _int64(raw, second + nulls + 2), _int64(raw, second + nulls + 10),
    )  # fmt: skip
    if place:
        return place > 0
    return _int64(raw, first + nulls + 34) > _int64(raw, second + nulls + 34)


@_compiled
def _winners(raw: Any, order: Any, count: Any, nulls: Any) -> Any:
    """Leave in ``order`` the records that give live rows their state; returns how many.

    A row's state is its record with the highest position; at one position + wins over -; of equal ones the later.
    """
    bits = 4
    while (1 << bits) < 2 * count:
        bits += 1
    mask, shift = (1 << bits) - 1, np.uint64(64 - bits)
    table = np.full(1 << bits, -1, np.int64)
    wins = np.zeros(count, np.bool_)
    for index in range(count):
        at = order[index]
        row = _int64(raw, at + nulls + 34)
        slot = np.int64((np.uint64(row) * _GOLDEN) >> shift)
        while table[slot] >= 0 and _int64(raw, order[table[slot]] + nulls + 34) != row:
            slot = (slot + 1) & mask
        held = table[slot]
        if held >= 0:
            other = order[held]
            place = _compare(
                _int64(raw, at + nulls + 2), _int64(raw, at + nulls + 10),
                _int64(raw, other + nulls + 2), _int64(raw, other + nulls + 10),
            )  # fmt: skip
            if place < 0 or (place == 0 and np.int8(raw[at]) < np.int8(raw[other])):
                continue
            wins[held] = False
        table[slot] = index
        wins[index] = True
    live = 0
    for index in range(count):
        if wins[index] and np.int8(raw[order[index]]) > 0:
            order[live] = order[index]
            live += 1
    return live


@_compiled
def _sort(raw: Any, order: Any, count: Any, nulls: Any) -> None:
    """Put records in (event time, position, row id) order: a merge sort that skips what is in order."""
    ordered = True
    for index in range(1, count):
        if _after(raw, order[index - 1], order[index], nulls):
            ordered = False
            break
    if ordered:
        return
    spare = np.empty(count, np.int64)
    width = 1
    while width < count:
        for begin in range(0, count - width, 2 * width):
            middle, end = begin + width, min(begin + 2 * width, count)
            if not _after(raw, order[middle - 1], order[middle], nulls):
                continue
            for index in range(begin, middle):
                spare[index] = order[index]
            left, right, to = begin, middle, begin
            while left < middle:
                if right < end and _after(raw, spare[left], order[right], nulls):
                    order[to] = order[right]
                    right += 1
                else:
                    order[to] = spare[left]
                    left += 1
                to += 1
        width *= 2


@_compiled
def _live(
    raw: Any, start: Any, end: Any, width: Any, nulls: Any, cut_high: Any, cut_low: Any, hand: Any, hand_id: Any,
    order: Any, facts: Any,
) -> Any:  # fmt: skip
    """Fill ``order`` with where the log's live rows begin, in order; returns how many, or -1 for a log not understood.

    The row in hand is left out, and so are stored rows with its id. facts: [0] records considered, [1] rows removed,
    [2, 3] halves of the position folded to, [4] event time up to which rows were removed.
    """
    facts[0], facts[1], facts[2], facts[3], facts[4] = 0, 0, 0, 0, _MIN
    if end - start < _HEADER_BYTES or raw[start] != 69 or raw[start + 1] != 1 or raw[start + 2] > 1:
        return -1
    base = np.int64(_int64(raw, start + 4) & 0xFFFFFFFF)
    folded_high, folded_low = _int64(raw, start + 8), _int64(raw, start + 16)
    compacted = folded_high != 0 or folded_low != 0
    facts[1], facts[2], facts[3], facts[4] = _int64(raw, start + 32), folded_high, folded_low, _int64(raw, start + 24)
    body = start + _HEADER_BYTES
    if (end - body) % width:
        return -1
    once: Any = True
    rising: Any = True
    count = 0
    before_row, before_time = np.int64(_MIN), np.int64(_MIN)
    for place in range((end - body) // width):
        at = body + place * width
        high, low = _int64(raw, at + nulls + 2), _int64(raw, at + nulls + 10)
        if _compare(high, low, cut_high, cut_low) > 0:
            continue
        if compacted and place >= base and _compare(high, low, folded_high, folded_low) <= 0:
            continue
        row = _int64(raw, at + nulls + 34)
        if (hand == HAND or hand == LEFT_OUT) and row == hand_id:  # noqa: SIM109
            continue
        time = _int64(raw, at + nulls + 26)
        once = once and np.int8(raw[at]) > 0 and (row > before_row or count == 0)
        rising = rising and time > before_time
        before_row, before_time = row, time
        order[count] = at
        count += 1
    facts[0] = count
    if not once:
        count = _winners(raw, order, count, nulls)
    if not (once and rising):
        _sort(raw, order, count, nulls)
    return count


@_compiled
def _insert_hand(
    raw: Any, order: Any, count: Any, nulls: Any, as_of: Any, hand_high: Any, hand_low: Any, hand_id: Any
) -> Any:
    """Put the row in hand, -1 in ``order``, behind the rows that stand before it. Rows younger than it are dropped."""
    while count and _int64(raw, order[count - 1] + nulls + 26) > as_of:
        count -= 1
    place = count
    while place and _int64(raw, order[place - 1] + nulls + 26) == as_of:
        at = order[place - 1]
        compared = _compare(_int64(raw, at + nulls + 2), _int64(raw, at + nulls + 10), hand_high, hand_low)
        if compared < 0 or (compared == 0 and _int64(raw, at + nulls + 34) < hand_id):
            break
        order[place] = at
        place -= 1
    order[place] = -1
    return count + 1


@_compiled
def _edge(as_of: Any, window: Any) -> Any:
    """as_of - window, which never wraps round."""
    return max(as_of, _MIN + window) - window


@_inlined
def _add(partials: Any, used: Any, value: Any) -> Any:
    """Add a float to a sum kept as partials that do not overlap (Shewchuk 1997, as in CPython's math.fsum)."""
    kept = 0
    for index in range(used):
        other = partials[index]
        if abs(value) < abs(other):
            value, other = other, value
        high = value + other
        low = other - (high - value)
        if low != 0.0:
            partials[kept] = low
            kept += 1
        value = high
    if value != 0.0:
        partials[kept] = value
        kept += 1
    return kept


@_compiled
def _total(partials: Any, used: Any) -> Any:
    """The correctly rounded value of the partials (half to even over all of them, as in CPython's math.fsum)."""
    if used == 0:
        return 0.0
    used -= 1
    high, low = partials[used], 0.0
    while used > 0:
        value = high
        used -= 1
        other = partials[used]
        high = value + other
        low = other - (high - value)
        if low != 0.0:
            break
    if used > 0 and ((low < 0.0 and partials[used - 1] < 0.0) or (low > 0.0 and partials[used - 1] > 0.0)):
        other = low * 2.0
        value = high + other
        if other == value - high:
            high = value
    return high


@_compiled
def _float_std(raw: Any, picked: Any, count: Any, offset: Any, hand_value: Any, mean: Any, partials: Any) -> Any:
    """Two passes, each sum correctly rounded. picked: the window's rows, -1 the one in hand."""
    used = 0
    for index in range(count):
        bits = hand_value if picked[index] < 0 else _int64(raw, picked[index] + offset)
        away = _as_float(bits) - mean
        used = _add(partials, used, away * away)
    return np.sqrt(_total(partials, used) / (count - 1))


@_compiled
def _younger(raw: Any, order: Any, count: Any, nulls: Any, as_of: Any, time: Any) -> Any:
    """How many of the ordered rows have an event time > ``time``."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        at = order[middle]
        if (as_of if at < 0 else _int64(raw, at + nulls + 26)) <= time:
            low = middle + 1
        else:
            high = middle
    return count - low


@_compiled
def _counts(
    raw: Any, order: Any, count: Any, nulls: Any, first: Any, last: Any, features: Any, defaults: Any, as_of: Any,
    exact: Any, number: Any, states: Any,
) -> None:  # fmt: skip
    """Counts of all rows of windows: their order says it."""
    future = _younger(raw, order, count, nulls, as_of, as_of)
    for feature in range(first, last):
        found = _younger(raw, order, count, nulls, as_of, _edge(as_of, features[feature, 1])) - future
        empty = found == 0 and features[feature, 4] != 0
        slot = features[feature, 5]
        states[slot] = DEFAULT if empty else WHOLE
        exact[slot], number[slot] = found, defaults[feature] if empty else float(found)


@_inlined
def _is_new(
    raw: Any, picked: Any, value: Any, last: Any, column: Any, columns: Any, hand_values: Any, table: Any
) -> Any:
    """Whether none of the picked rows before the last has its value. table: of places in ``picked``, -1 for free."""
    offset, kind = columns[column, 0], columns[column, 1]
    if kind == FLOAT and _as_float(value) == 0.0:
        value = np.int64(0)  # -0.0 is 0.0
    mask = len(table) - 1
    slot = np.int64((np.uint64(value) * _GOLDEN) >> np.uint64(32)) & mask
    while table[slot] >= 0:
        held = picked[table[slot]]
        other = hand_values[column]
        if held >= 0:
            other = np.int64(raw[held + offset]) if kind == BOOL else _int64(raw, held + offset)
        if other == value or (kind == FLOAT and _as_float(other) == _as_float(value)):
            return False
        slot = (slot + 1) & mask
    table[slot] = last
    return True


@_compiled
def _integer_value(
    function: Any, unit: Any, decimal: Any, found: Any, total: Any, largest: Any, chosen: Any
) -> Any:  # fmt: skip
    """State, whole value, real value of a function of integers; state -1 where 64 bits are too few."""
    if function == STD:
        return (-1 if largest > _ROOT or largest * found > _LARGE else SPREAD), np.int64(found), 0.0
    if function == SUM or function == MEAN:  # noqa: SIM109
        if largest * found > _LARGE:
            return -1, np.int64(0), 0.0
        if function == SUM and not decimal:
            return WHOLE, total, 0.0
        divisor = float(unit) * found if function == MEAN else float(unit)
        return (-1 if abs(total) > _EXACT or divisor > _EXACT else REAL), np.int64(0), float(total) / divisor
    if decimal:
        return (-1 if abs(chosen) > _EXACT or unit > _EXACT else REAL), np.int64(0), float(chosen) / float(unit)
    return WHOLE, chosen, 0.0


@_compiled
def _float_value(
    raw: Any, function: Any, found: Any, partials: Any, used: Any, chosen: Any, picked: Any, offset: Any,
    hand_value: Any,
) -> Any:  # fmt: skip
    """State and value of a function of floats; state -1 where there is no finite one."""
    if function == SUM:
        real = _total(partials, used)
    elif function == MEAN or function == STD:  # noqa: SIM109
        real = _total(partials, used) / found
        if function == STD:
            real = _float_std(raw, picked, found, offset, hand_value, real, np.empty_like(partials))
    else:
        real = _as_float(chosen) + 0.0  # zero has one sign, see values.border
    return (REAL if np.isfinite(real) else -1), real


@_compiled
def _group(  # noqa: C901
    raw: Any, order: Any, count: Any, columns: Any, group: Any, features: Any, defaults: Any, as_of: Any,
    hand_values: Any, hand_nulls: Any, exact: Any, number: Any, states: Any, squares: Any, picked: Any, partials: Any,
) -> Any:  # fmt: skip
    """The features of one column and filter, windows rising, in one walk from the youngest row to the oldest."""
    column, where, feature, last, apart, squared, nulls = (
        group[0], group[1], group[2], group[3], group[4], group[5], group[6],
    )  # fmt: skip
    if column < 0 and where < 0:
        _counts(raw, order, count, nulls, feature, last, features, defaults, as_of, exact, number, states)
        return DONE
    offset, kind, hand_value = np.int64(0), np.int64(BOOL), np.int64(0)
    null_at, null_bit, where_at, where_null_at, where_null_bit = np.int64(0), 0, np.int64(0), np.int64(0), 0
    skips_hand = False
    if column >= 0:
        offset, kind, hand_value = columns[column, 0], columns[column, 1], hand_values[column]
        null_at, null_bit = 2 + (column >> 3), 1 << (column & 7)
        skips_hand = (hand_nulls >> column) & 1 != 0
    if where >= 0:
        where_at, where_null_at, where_null_bit = columns[where, 0], 2 + (where >> 3), 1 << (where & 7)
        skips_hand = skips_hand or (hand_nulls >> where) & 1 != 0 or hand_values[where] == 0
    size = 16
    while apart and size < 2 * count:
        size *= 2
    table = np.full(size if apart else 0, -1, np.int64)
    found, distinct, total, used = 0, 0, np.int64(0), 0
    square_high, square_low = np.uint64(0), np.uint64(0)
    least, most, oldest, youngest = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    index = count - 1
    for place in range(feature, last):
        edge = _edge(as_of, features[place, 1])
        while index >= 0:
            at = order[index]
            time = as_of if at < 0 else _int64(raw, at + nulls + 26)
            if time <= edge:
                break
            index -= 1
            if time > as_of:
                continue
            if at < 0:
                if skips_hand:
                    continue
                value = hand_value
            else:
                if where >= 0 and ((raw[at + where_null_at] & where_null_bit) != 0 or raw[at + where_at] == 0):
                    continue
                if column >= 0 and (raw[at + null_at] & null_bit) != 0:
                    continue
                value = np.int64(raw[at + offset]) if kind == BOOL else _int64(raw, at + offset)
            picked[found] = at
            found += 1
            oldest = value
            if found == 1:
                youngest, least, most = value, value, value
            if kind == FLOAT:
                if _as_float(value) < _as_float(least):
                    least = value
                elif _as_float(value) > _as_float(most):
                    most = value
                used = _add(partials, used, _as_float(value))
            else:
                least, most = min(least, value), max(most, value)
                total += value
                if squared:
                    square = np.uint64(abs(value)) * np.uint64(abs(value))
                    square_low += square
                    square_high += np.uint64(square_low < square)
            if apart and _is_new(raw, picked, value, found - 1, column, columns, hand_values, table):
                distinct += 1
        function, slot = features[place, 0], features[place, 5]
        state, whole, real = WHOLE, np.int64(0), 0.0
        if found == 0 and features[place, 4]:
            state, real = DEFAULT, defaults[place]
        elif function == COUNT:
            whole = np.int64(found)
        elif function == COUNT_DISTINCT:
            whole = np.int64(distinct)
        elif (found == 0 and function != SUM) or (found < 2 and function == STD):
            state, real = NULL, np.nan
        elif kind == FLOAT:
            chosen = _chosen(function, least, most, oldest, youngest)
            state, real = _float_value(raw, function, found, partials, used, chosen, picked, offset, hand_value)
        else:
            chosen = _chosen(function, least, most, oldest, youngest)
            largest = max(float(most), -float(least))
            state, whole, real = _integer_value(
                function, features[place, 2], features[place, 3], found, total, largest, chosen
            )  # fmt: skip
            if state == SPREAD:
                squares[slot, 0], squares[slot, 1], squares[slot, 2] = (
                    total, np.int64(square_high), np.int64(square_low),
                )  # fmt: skip
        if state < 0:
            return UNSURE
        states[slot], exact[slot], number[slot] = state, whole, float(whole) if state == WHOLE else real
    return DONE


@_compiled
def _chosen(function: Any, least: Any, most: Any, oldest: Any, youngest: Any) -> Any:
    if function == MIN:
        return least
    if function == MAX:
        return most
    return oldest if function == FIRST else youngest


@_compiled
def _answers(facts: Any, cut_high: Any, cut_low: Any, as_of: Any, longest: Any) -> Any:
    """Whether a log can still answer a read at a cut of windows that begin ``longest`` before a time."""
    if facts[2] == 0 and facts[3] == 0:
        return True
    if _compare(cut_high, cut_low, facts[2], facts[3]) < 0 or as_of < _MIN + longest:
        return False
    return as_of - longest >= facts[4]


@_entry(
    "void(u1[::1], i8[:,::1], i8, i8, i8, i8[:,::1], i8[:,::1], i8[:,::1], f8[::1], i8[:,::1],"
    "i8[:,::1], f8[:,::1], i1[:,::1], i8[:,:,::1], i1[::1], b1[::1])"
)
def compute(
    raw: Any, spans: Any, width: Any, nulls: Any, longest: Any, columns: Any, groups: Any, features: Any,
    defaults: Any, wants: Any, exact: Any, number: Any, states: Any, squares: Any, status: Any, seen: Any,
) -> None:  # fmt: skip
    """The values of F features, in the kernel's order, for each of G reads.

    raw: uint8; log k is raw[spans[k, 0]:spans[k, 1]], header included; spans[k, 0] < 0: there is none.
    width, nulls: bytes of a record and of its null bits. longest: of the windows, µs.
    columns [C, 2]: offset in the record, kind.
    groups [Q, 7]: column or -1, filter column or -1, first and last + 1 of its features, whether values are told
    apart, whether their squares are summed, ``nulls``.
    features [F, 6]: function, window in µs, unit, whether decimal, whether it has a default, its place in what is
    filled. defaults [F].
    wants [9 + C, G]: log or -1, as of in µs, two halves of the cut; of the row in hand: which kind, id, two halves of
    its position, null bits, values. Halves are the bits of unsigned integers.

    Fills exact [G, F] (of whole values), number [G, F] (as a model takes them), states [G, F], squares [G, F, 3]
    (sum, and two halves of the sum of squares), status and seen [G].
    """
    reads = wants.shape[1]
    most = 1
    for read in range(reads):
        log = wants[0, read]
        if log >= 0 and spans[log, 0] >= 0:
            most = max(most, (spans[log, 1] - spans[log, 0]) // width + 2)
    order, picked = np.empty(most, np.int64), np.empty(most, np.int64)
    partials, facts = np.empty(_PARTIALS), np.empty(5, np.int64)
    hand_values = np.empty(len(columns), np.int64)
    for read in range(reads):
        status[read] = UNSURE
        log, as_of, cut_high, cut_low, hand, hand_id = (
            wants[0, read], wants[1, read], wants[2, read], wants[3, read], wants[4, read], wants[5, read],
        )  # fmt: skip
        count = 0
        facts[0], facts[1] = 0, 0
        if log >= 0 and spans[log, 0] >= 0:
            count = _live(
                raw, spans[log, 0], spans[log, 1], width, nulls, cut_high, cut_low, hand, hand_id, order, facts
            )  # fmt: skip
            if count < 0 or not _answers(facts, cut_high, cut_low, as_of, longest):
                continue
        seen[read] = facts[0] > 0 or facts[1] > 0
        if hand == HAND or hand == NAMELESS_HAND:  # noqa: SIM109
            count = _insert_hand(raw, order, count, nulls, as_of, wants[6, read], wants[7, read], hand_id)
            for column in range(len(columns)):
                hand_values[column] = wants[9 + column, read]
        done = DONE
        for group in range(len(groups)):
            done = _group(
                raw, order, count, columns, groups[group], features, defaults, as_of, hand_values, wants[8, read],
                exact[read], number[read], states[read], squares[read], picked, partials,
            )  # fmt: skip
            if done != DONE:
                break
        status[read] = done


@_entry("i8(u1[::1], i8, i8[:,::1], i8[::1])")
def scan(raw: Any, filled: Any, spans: Any, progress: Any) -> Any:
    """Find the values in Redis' answer to MGET, as far as it has come; goes on where the last call stopped.

    spans [K, 2]: fills begin and end of each value, -1 for none. progress: [0] next byte, [1] values found, [2] bytes
    that the answer must at least have. Returns 1 when all K are found, 0 when more bytes are needed, -1 for another
    answer than K values.
    """
    at, found = progress[0], progress[1]
    while found < len(spans) or at == 0:
        end = at
        while end < filled and raw[end] != 10:
            end += 1
        if end >= filled:
            progress[0], progress[1], progress[2] = at, found, end + 1
            return 0
        number, negative = np.int64(0), False
        for index in range(at + 1, end - 1):
            if raw[index] == 45:
                negative = True
            else:
                number = number * 10 + (raw[index] - 48)
        if at == 0:
            if raw[0] != 42 or number != len(spans):
                return -1
            at = end + 1
            continue
        if raw[at] != 36:
            return -1
        if negative:
            spans[found, 0], spans[found, 1] = -1, -1
            at = end + 1
        else:
            if end + 1 + number + 2 > filled:
                progress[0], progress[1], progress[2] = at, found, end + 1 + number + 2
                return 0
            spans[found, 0], spans[found, 1] = end + 1, end + 1 + number
            at = end + 1 + number + 2
        found += 1
    progress[0], progress[1], progress[2] = at, found, at
    return 1

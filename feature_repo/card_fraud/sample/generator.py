"""A generator of card payments with three kinds of fraud, seeded and always the same for the same parameters.

Customers live at a place, have spending habits, and pay at terminals near their home. The idea of the three kinds of
fraud (an amount too large, a terminal compromised for weeks, a card compromised for days) is that of the simulator in
"Reproducible Machine Learning for Credit Card Fraud Detection" (Le Borgne et al.); rules and code are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SECOND = 1_000_000
_DAY_SECONDS = 86_400
_MINIMUM_NEAR = 3


@dataclass(frozen=True)
class Parameters:
    """Sizes and habits.

    start_us: midnight UTC of the first day, µs. payments_per_day: mean of a customer. reach: radius around the home, in
    the unit of the square of side 100. The shares and rates of fraud are those of all payments, or of a day.
    """

    days: int = 90
    customers: int = 1_000
    terminals: int = 2_000
    payments_per_day: float = 1.7
    reach: float = 6.0
    seed: int = 20_260_401
    start_us: int = 1_775_001_600 * _SECOND
    large_share: float = 0.0015
    terminals_compromised_per_day: float = 0.3
    terminal_days: int = 28
    terminal_fraud_share: float = 0.9
    cards_compromised_per_day: float = 1.1
    card_days: int = 10
    card_fraud_share: float = 0.4
    card_factor: float = 6.0


@dataclass(frozen=True)
class Generated:
    """Arrays, a row each. Times µs UTC, amounts in cents; payments are numbered from 1 in the order of time.

    kind: 0 honest, 1 too large an amount, 2 compromised terminal, 3 compromised card.
    """

    home_x: Floats
    home_y: Floats
    terminal_x: Floats
    terminal_y: Floats
    time_us: Ints
    customer_id: Ints
    terminal_id: Ints
    amount_cents: Ints
    kind: Ints


def generate(parameters: Parameters) -> Generated:
    """All payments of all customers. Takes about a second for a million."""
    p, random = parameters, np.random.default_rng(parameters.seed)
    home_x, home_y = random.uniform(0, 100, p.customers), random.uniform(0, 100, p.customers)
    terminal_x, terminal_y = random.uniform(0, 100, p.terminals), random.uniform(0, 100, p.terminals)
    near, first, count = _within_reach(home_x, home_y, terminal_x, terminal_y, p.reach)

    rate = random.uniform(0, 2 * p.payments_per_day, p.customers)
    mean_amount = random.uniform(5, 100, p.customers)
    payments = random.poisson(rate[:, None], (p.customers, p.days))
    pairs = np.repeat(np.arange(p.customers * p.days), payments.ravel())
    customer, day = pairs // p.days, pairs % p.days
    second = _time_of_day(random, len(pairs))
    time_us = p.start_us + ((day * _DAY_SECONDS + second) * _SECOND).astype(np.int64)
    terminal = near[first[customer] + (random.random(len(pairs)) * count[customer]).astype(np.int64)]
    amount = np.abs(random.normal(mean_amount[customer], mean_amount[customer] / 2))

    kind = np.zeros(len(pairs), np.int64)
    _compromised_cards(p, random, customer, day, amount, kind)
    _compromised_terminals(p, random, terminal, day, kind)
    large = random.random(len(pairs)) < p.large_share
    amount[large], kind[large] = random.uniform(260, 700, int(large.sum())), 1

    order = np.lexsort((customer, time_us))
    cents = np.maximum(np.rint(amount * 100), 1).astype(np.int64)
    return Generated(
        home_x, home_y, terminal_x, terminal_y, time_us[order], customer[order] + 1, terminal[order] + 1,
        cents[order], kind[order],
    )  # fmt: skip


def _within_reach(home_x: Floats, home_y: Floats, x: Floats, y: Floats, reach: float) -> tuple[Ints, Ints, Ints]:
    """Terminals near each customer, one after the other: terminal indices, first of each customer, number of each.

    A customer has the nearest three at least.
    """
    distance = np.hypot(home_x[:, None] - x, home_y[:, None] - y)
    nearest = np.partition(distance, _MINIMUM_NEAR - 1, axis=1)[:, _MINIMUM_NEAR - 1]
    customers, terminals = np.nonzero(distance <= np.maximum(nearest, reach)[:, None])
    count = np.bincount(customers, minlength=len(home_x))
    return terminals.astype(np.int64), np.concatenate(([0], np.cumsum(count)[:-1])), count


def _time_of_day(random: np.random.Generator, size: int) -> Floats:
    """Seconds after midnight, mostly by day, with milliseconds."""
    by_day = random.normal(_DAY_SECONDS / 2, _DAY_SECONDS / 5, size)
    anywhere = random.uniform(0, _DAY_SECONDS, size)
    inside = (by_day >= 0) & (by_day < _DAY_SECONDS - 1)
    seconds: Floats = np.floor(np.where(inside, by_day, anywhere * (1 - 1e-5)) * 1_000) / 1_000
    return seconds


def _spells(random: np.random.Generator, days: int, per_day: float, members: int, length: int) -> npt.NDArray[np.bool_]:
    """Who is compromised on which day: a matrix members by days of spells of ``length`` days."""
    inside = np.zeros((members, days), bool)
    starts = random.poisson(per_day, days)
    for day in np.repeat(np.arange(days), starts):
        inside[random.integers(members), day : day + length] = True
    return inside


def _compromised_cards(
    p: Parameters, random: np.random.Generator, customer: Ints, day: Ints, amount: Floats, kind: Ints
) -> None:
    """For days somebody else pays with the card too, with amounts multiplied."""
    inside = _spells(random, p.days, p.cards_compromised_per_day, p.customers, p.card_days)
    hit = inside[customer, day] & (random.random(len(customer)) < p.card_fraud_share)
    amount[hit] *= p.card_factor
    kind[hit] = 3


def _compromised_terminals(p: Parameters, random: np.random.Generator, terminal: Ints, day: Ints, kind: Ints) -> None:
    """For weeks nearly every payment at the terminal is a fraud, with amounts like any other."""
    inside = _spells(random, p.days, p.terminals_compromised_per_day, p.terminals, p.terminal_days)
    kind[inside[terminal, day] & (random.random(len(terminal)) < p.terminal_fraud_share)] = 2


def describe(generated: Generated) -> dict[str, Any]:
    """Sizes and the share of each kind, for people."""
    kinds = np.bincount(generated.kind, minlength=4)
    return {"payments": len(generated.kind), "fraud_share": float((generated.kind > 0).mean()), "kinds": kinds.tolist()}

"""Workload D: orders and changing customers as JSON text in one log."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from tests.benchmarks.data.ids import skewed, timestamps, utc, uuids

CITIES = [
    "Orléans",
    "Köln",
    "São Paulo",
    "Łódź",
    "Nice",
    "Saint-Étienne",
    "京都",
    'New "York"',
    "Bath",
    "Málaga",
]
COUNTRIES = ["FR", "DE", "ES", "IT", "GB", "US"]


def orders(count: int, versions: int | None = None, *, seed: int = 21, days: float = 14.0) -> pa.Table:
    """Make `count` orders among `versions` (three fifths as many) versions of customers, half of them updates.

    An order may name a customer who comes only later, may lack a country or have a null one; amounts are integers
    or have two decimals at most. Half of the documents escape what is not ASCII.
    """
    rng = np.random.default_rng(seed)
    versions = versions if versions is not None else count * 3 // 5
    people = max(versions // 2, 1)
    ids = uuids(people, rng)
    is_order = rng.permutation(np.arange(count + versions) < count)
    position = np.where(is_order, np.cumsum(is_order) - 1, np.cumsum(~is_order) - 1)
    customer = np.concatenate([rng.permutation(people), rng.integers(0, people, versions - people)])
    customer = customer[np.argsort(np.arange(versions) * rng.random(versions), kind="stable")]
    seen = np.unique(customer, return_index=True)[1]
    created = np.zeros(versions, dtype=bool)
    created[seen] = True
    kinds = np.where(is_order, 0, np.where(created[np.minimum(position, versions - 1)], 0, 1))
    documents = _order_documents(count, ids, rng) + _customer_documents(customer, rng)
    where = np.where(is_order, position, count + position)
    entity_ids = pa.concat_arrays([uuids(count, rng), ids.take(pa.array(customer))])
    rows = count + versions
    return pa.table(
        {
            "seq_no": pa.array(np.arange(1, rows + 1)),
            "timestamp": utc(timestamps(rows, days * 86_400.0, rng)),
            "kind": pa.array(["entity.created", "entity.updated"], pa.large_string()).take(pa.array(kinds)),
            "entity_type": pa.array(["order", "customer"], pa.large_string()).take(
                pa.array((~is_order).astype(np.int64))
            ),
            "entity_id": entity_ids.take(pa.array(where)),
            "data": pa.array(documents, pa.large_string()).take(pa.array(where)),
        }
    )


def _order_documents(count: int, ids: pa.Array, rng: np.random.Generator) -> list[str]:
    owners = ids.take(pa.array(skewed(len(ids), count, 1.3, rng))).to_pylist()
    cents = rng.integers(1, 100_000, count)
    amounts = [f"{c // 100}" if c % 100 == 0 else f"{c / 100:.2f}".rstrip("0") for c in cents.tolist()]
    countries = skewed(len(COUNTRIES), count, 1.6, rng).tolist()
    missing = rng.random(count)
    lines = rng.integers(1, 4, count).tolist()
    rows = []
    for i, (owner, amount, c, m, n) in enumerate(
        zip(owners, amounts, countries, missing.tolist(), lines, strict=True)
    ):
        country = "" if m < 0.01 else '"country": null, ' if m < 0.02 else f'"country": "{COUNTRIES[c]}", '
        items = ", ".join(f'{{"sku": "S-{(i * 7 + k) % 9973}", "quantity": {k + 1}}}' for k in range(n))
        rows.append(
            f'{{"number": {i}, "amount": {amount}, {country}"owner_id": "{owner}", "paid": true, '
            f'"shipping": {{"method": "standard", "address": {{"zip": "{i % 100_000:05d}"}}}}, "lines": [{items}]}}'
        )
    return rows


def _customer_documents(customer: np.ndarray, rng: np.random.Generator) -> list[str]:
    cities = rng.integers(0, len(CITIES), len(customer)).tolist()
    plain = [json.dumps(city, ensure_ascii=False) for city in CITIES]
    escaped = [json.dumps(city) for city in CITIES]
    return [
        f'{{"name": "Customer {who:06d}", "tier": "plus", "profile": {{"age": {i % 80 + 18}, '
        f'"city": {(plain if i % 2 else escaped)[city]}, "languages": ["fr", "en"]}}, "visits": {i % 100}}}'
        for i, (who, city) in enumerate(zip(customer.tolist(), cities, strict=True))
    ]

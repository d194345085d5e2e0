"""``python -m tests.long.fill RECORDS``: a month of records and a day of live numbers for 200 pools.

Runs with the settings of the gateway whose database it fills, and prints what it measured as JSON: rows per
second of the gateway's own insert, into an empty table and into the full one.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import django

POOLS, PROVIDERS, CANDIDATES, CALLERS = 200, 40, 5, 50
DAYS = 30
BATCH = 500
TIMED = 10_000
TABLE = "proxying_requestrecord"
# Rare among all: what an operator looks for.
RARE_CALLER, RARE_PROVIDER = "key-rare", "provider-rare"


def pool(number: int) -> str:
    return f"pool-{number:03}"


def candidates(number: int) -> list[tuple[str, str]]:
    """Provider and exact model of each candidate of a pool."""
    return [
        (f"provider-{(number * 3 + place * 7) % PROVIDERS:02}", f"model-{number:03}")
        for place in range(CANDIDATES)
    ]


def config() -> str:
    """The configuration file of all this; nobody is ever called."""
    models = {f"provider-{number:02}": set() for number in range(PROVIDERS)}
    for number in range(POOLS):
        for provider, model in candidates(number):
            models[provider].add(model)
    lines = ["models: {configured_provider_models_mode: allowlist}", "providers:"]
    for name, served in models.items():
        known = ", ".join(sorted(served))
        lines.append(
            f"  {name}: {{type: openai_compatible, base_url: 'http://127.0.0.1:9/v1', models: [{known}]}}"
        )
    lines += ["routing:", "  model_pools:"]
    for number in range(POOLS):
        lines += [f"    {pool(number)}:", "      candidates:"]
        lines += [
            f"        - {{provider: {provider}, model: {model}, priority: {place}}}"
            for place, (provider, model) in enumerate(candidates(number), 1)
        ]
    return "\n".join(lines)


def records(count: int, draw: random.Random, *, days: float) -> Iterator[dict[str, Any]]:
    """Rows in the order of time, the last one a moment ago; few pools have most requests."""
    now = datetime.now(UTC)
    step = timedelta(days=days) / count
    for number in range(count):
        yield record(number, now - step * (count - number), draw)


def record(number: int, at: datetime, draw: random.Random) -> dict[str, Any]:
    which = int(POOLS * draw.random() ** 3)
    places, luck, late = candidates(which), draw.random(), draw.random() < 0.02
    (first, model), (second, _) = places[0], places[1]
    served, status, outcome, code = (second if late else first), 200, "ok", ""
    if luck < 0.02:
        status, outcome, code = 503, "error", "upstream_unavailable"
    elif luck < 0.03:
        status, outcome, code = 429, "error", "rate_limit_exceeded"
    elif luck < 0.04:
        status, outcome, code = 400, "error", "invalid_request"
    elif luck < 0.045:
        outcome, code = "cut", "upstream_protocol_error"
    elif luck < 0.05:
        outcome = "client_gone"
    failed = {
        "provider": first,
        "model": model,
        "latency_ms": 80.0,
        "status": 503,
        "error": "503 busy: later",
    }
    last = {"provider": served, "model": model, "latency_ms": 700.0, "status": status, "error": code or None}
    attempts = [{**one, "started_at": at.timestamp()} for one in ([failed, last] if late else [last])]
    answered = status == 200
    exact = number % 100 == 7
    caller = RARE_CALLER if number == 99 else f"key-{int(CALLERS * draw.random() ** 2):02}"
    provider = RARE_PROVIDER if number == 100 else served
    return {
        "request_id": f"req-{number}-{draw.getrandbits(60):x}",
        "decision_id": f"{draw.getrandbits(120):030x}",
        "started_at": at,
        "endpoint": "chat_completions",
        "requested_model": f"{first}/{model}" if exact else pool(which),
        "canonical_model": "" if exact else pool(which),
        "strategy": "priority_failover",
        "config_primary": f"{first}/{model}",
        "effective_candidate": f"{first}/{model}",
        "selected_provider_name": provider if answered else "",
        "selected_exact_model": model if answered else "",
        "attempts": attempts,
        "attempt_count": len(attempts),
        "failover_used": late,
        "fallback_target": f"{served}/{model}" if late and answered else "",
        "streamed": draw.random() < 0.6,
        "status": status,
        "outcome": outcome,
        "error_code": code,
        "error_message": "The provider said no." if code else "",
        "latency_ms": draw.lognormvariate(6.5, 1),
        "first_content_ms": draw.lognormvariate(5.5, 1) if answered else None,
        "overhead_ms": 0.6,
        "prompt_tokens": draw.randrange(4_000),
        "completion_tokens": draw.randrange(900),
        "cost_microusd": draw.randrange(9_000),
        "caller_id": f"id-{caller}",
        "caller_name": caller,
        "user_path": f"/team/{caller}",
        "revision": 1 + number % 200,
    }


def write(rows: Iterator[dict[str, Any]], count: int) -> float:
    """Insert so many, as the gateway does; rows per second."""
    from proxying.record_store import write_rows

    began = time.perf_counter()
    for _ in range(0, count, BATCH):
        write_rows(list(islice(rows, BATCH)))
    return count / (time.perf_counter() - began)


def traffic(draw: random.Random) -> None:
    """What four workers left: a day of minutes and an hour of slices, every pool with two busy candidates."""
    from proxying.models import TrafficMinute, TrafficSlice
    from proxying.traffic import Counts, as_json

    def counted() -> dict[tuple[str, str, str], Counts]:
        found = {}
        for number in range(POOLS):
            for provider, model in candidates(number)[:2]:
                times = {draw.randrange(20, 50): draw.randrange(1, 9) for _ in range(8)}
                found[pool(number), provider, model] = Counts(
                    requests=sum(times.values()), failures={"5xx": 1}, latency=times, first_content=times
                )
        return found

    some = [as_json(counted()) for _ in range(5)]
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    for ago in range(1_440, 1, -1):
        # All pools for two hours, the first ten for the whole day: one is looked at, the rest is weight.
        at, pools = (
            minute - timedelta(minutes=ago),
            dict(islice(some[ago % 5].items(), 10 if ago > 120 else POOLS)),
        )
        TrafficMinute.objects.bulk_create(
            [TrafficMinute(at=at, pool="")]
            + [TrafficMinute(at=at, pool=name[1:], series=series) for name, series in pools.items()]
        )
    for place in range(-360, 60):  # some are still to come: the measurement takes a while
        at = minute + timedelta(seconds=10 * place)
        workers = [""] if place < -9 else ["w1", "w2", "w3", "w4"]
        TrafficSlice.objects.bulk_create(
            TrafficSlice(at=at, worker=one, pools=some[place % 5], rolled_up=not one) for one in workers
        )


def multiply(times: int) -> None:
    """The days before, and those before …: the rows again, oldest first, as they lie in a real table."""
    from django.db import connection

    with connection.cursor() as cursor:
        columns = [column.name for column in connection.introspection.get_table_description(cursor, TABLE)]
        values = {
            "started_at": "started_at - %s * interval '1 day'",
            "request_id": "request_id || '-' || %s",
            "decision_id": "decision_id || '-' || %s",
        }
        names = [name for name in columns if name != "id"]
        select = ", ".join(values.get(name, name) for name in names)
        cursor.execute(f"CREATE TEMP TABLE base AS SELECT * FROM {TABLE}")  # noqa: S608 - our own names
        cursor.execute(f"TRUNCATE {TABLE}")
        for ago in range(times - 1, -1, -1):
            # The columns in the table's order: request and decision ids come before the time.
            given = {"started_at": DAYS / times * ago, "request_id": ago, "decision_id": ago}
            cursor.execute(
                f"INSERT INTO {TABLE} ({', '.join(names)}) SELECT {select} FROM base ORDER BY started_at",  # noqa: S608
                [given[name] for name in names if name in given],
            )
        cursor.execute("DROP TABLE base")


def insert() -> None:
    """For each line read a batch is inserted; writes the seconds that it took."""
    rows = records(10_000_000, random.Random(), days=0.1)
    for _ in sys.stdin:
        began = time.perf_counter()
        write(rows, BATCH)
        sys.stdout.write(f"{time.perf_counter() - began}\n")
        sys.stdout.flush()


def main(count: int) -> None:
    from django.db import connection

    draw = random.Random(20)
    times = max(count // 100_000, 1) if connection.vendor == "postgresql" else 1
    empty = write(records(TIMED, random.Random(7), days=0.01), TIMED)
    write(records(count // times, draw, days=DAYS / times), count // times)
    if times > 1:
        multiply(times)
    full = write(records(TIMED, random.Random(8), days=0.01), TIMED)
    traffic(draw)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if times > 1 else "ANALYZE")
    sys.stdout.write(json.dumps({"empty": round(empty), "full": round(full)}))


if __name__ == "__main__":
    django.setup()
    if sys.argv[1] == "insert":
        insert()
    else:
        main(int(sys.argv[1]))

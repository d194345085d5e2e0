"""``python -m tests.screenshots.history``: what the demo has seen before we look at it.

People act through ``routing.services``, with the clock set back; clients are counted as workers count them,
in slices that the gateway's own roll-up sums. Prints the client keys by name as JSON.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import django
import time_machine

MINUTES = 62
# Requests per second of each pool, and its candidates with their share and median times in ms.
PRIMARY, BACKUP, ECONOMY = "demo-primary", "demo-backup", "demo-economy"
TIMES_MS = {PRIMARY: (400, 560), BACKUP: (540, 620), ECONOMY: (260, 480)}
POOLS: dict[str, tuple[float, list[tuple[str, str, float]]]] = {
    "demo-chat": (4.6, [(PRIMARY, "nova-large", 1)]),
    "demo-balanced": (
        3.0,
        [(PRIMARY, "nova-small", 3), (BACKUP, "nova-small", 2), (ECONOMY, "nova-small", 1)],
    ),
    "support-assistant": (2.2, [(BACKUP, "nova-large-2026-05", 1)]),
    "summaries": (1.1, [(BACKUP, "nova-small", 1)]),
    "translations": (0.9, [(BACKUP, "nova-small", 2), (ECONOMY, "nova-small", 1)]),
}
# Minutes ago: demo-chat's primary answers 429, is switched off, and comes back.
STORM_FROM, OFF_FROM, OFF_UNTIL = 11.6, 10.7, 7.2


@contextmanager
def ago(**how: float) -> Iterator[None]:
    """So long ago."""
    with time_machine.travel(datetime.now(UTC) - timedelta(**how), tick=True):
        yield


def by(name: str, source: str = "dashboard", reason: str = "") -> dict[str, Any]:
    """Who, from where and why, as the services take it."""
    from routing import services

    return {"actor": services.Actor(name), "source": source, "reason": reason}


def people() -> dict[str, str]:
    """What they defined and switched; the client keys by name."""
    from routing import services
    from routing.models import RoutingRevision

    RoutingRevision.objects.update(created_at=datetime.now(UTC) - timedelta(days=3, hours=2))
    secrets = {}
    with ago(days=3):
        for name, path in (("web-app", "/web"), ("support-bot", "/support"), ("nightly-batch", "/data")):
            values = {"name": name, "user_path": path}
            secrets[name] = services.create_client_key(values=values, **by("ada", "admin"))[1]
    define_pools()
    switch(
        "canonical_model",
        False,
        by("jonas", reason="moves to nova-large-2026-05, OPS-88"),
        days=1.1,
        canonical_model="code-review",
        lasts_s=3 * 86_400,
    )
    switch(
        "pool_candidate",
        False,
        by("maria", reason="wrong dates in summaries, OPS-127"),
        hours=2.2,
        canonical_model="summaries",
        provider_name=ECONOMY,
        model="nova-small",
        lasts_s=8 * 3_600,
    )
    chat = {"canonical_model": "demo-chat", "provider_name": PRIMARY, "model": "nova-large"}
    why = "rate-limit storm, OPS-131"
    switch("pool_candidate", False, by("maria", reason=why), minutes=OFF_FROM, lasts_s=3_600, **chat)
    switch(
        "pool_candidate", True, by("maria", reason="limit raised by the vendor"), minutes=OFF_UNTIL, **chat
    )
    with ago(minutes=3.4):
        services.save_provider(
            name=BACKUP, values={"first_byte_timeout_s": 20.0}, **by("jonas", "api", "answers hung, OPS-133")
        )
    return secrets


def define_pools() -> None:
    """More pools over the demo's vendors."""
    from routing import services

    def candidates(*given: tuple[str, str, int]) -> list[dict[str, Any]]:
        return [
            {"provider_name": provider, "model": model, "priority": place, "weight": weight}
            for place, (provider, model, weight) in enumerate(given, 1)
        ]

    small = ((BACKUP, "nova-small", 2), (ECONOMY, "nova-small", 1))
    large = ((PRIMARY, "nova-large", 1), (BACKUP, "nova-large-2026-05", 1))
    pools: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
        (
            "support-assistant",
            {"session_affinity": True, "description": "Chats of the help centre"},
            candidates((BACKUP, "nova-large-2026-05", 1), (ECONOMY, "nova-small", 1)),
        ),
        ("summaries", {}, candidates(*small)),
        ("translations", {"strategy": "weighted_round_robin"}, candidates(*small)),
        ("code-review", {"failover_max_attempts": 2}, candidates(*large)),
    ]
    for number, (name, values, given) in enumerate(pools):
        with ago(days=2, hours=5, minutes=-number):
            services.save_pool(canonical_model=name, values=values, candidates=given, **by("ada", "admin"))


def switch(
    kind: str, enabled: bool, how: dict[str, Any], *, lasts_s: float | None = None, **more: Any
) -> None:
    """Switch something, so long ago, for so many seconds."""
    from routing import services

    when = {unit: more.pop(unit) for unit in ("days", "hours", "minutes") if unit in more}
    with ago(**when):
        services.set_switch(
            target=services.SwitchTarget(kind=kind, **more),
            enabled=enabled,
            expires_in_s=lasts_s,
            confirm=True,
            **how,
        )


def traffic(draw: random.Random) -> None:
    """An hour of clients, as one worker counted it; summed by the gateway's own roll-up."""
    from proxying import traffic_rollup
    from proxying.models import TrafficSlice
    from proxying.traffic import SLICE_S, Collector, as_json

    end = int(datetime.now(UTC).timestamp()) // SLICE_S * SLICE_S
    collector = Collector()
    slices = []
    for at in range(end - MINUTES * 60, end + 1, SLICE_S):
        minutes_ago = (end - at) / 60
        for pool, (rate, candidates) in POOLS.items():
            wave = 1 + 0.22 * ((minutes_ago % 17) / 17 - 0.5) + draw.gauss(0, 0.07)
            for _ in range(max(round(rate * SLICE_S * wave), 0)):
                request(collector, draw, pool, candidates, minutes_ago)
        slices.append(
            TrafficSlice(at=datetime.fromtimestamp(at, UTC), worker="first", pools=as_json(collector.take()))
        )
    TrafficSlice.objects.bulk_create(slices)
    traffic_rollup.roll_up()


def request(
    collector: Any,
    draw: random.Random,
    pool: str,
    candidates: list[tuple[str, str, float]],
    minutes_ago: float,
) -> None:
    """Count one."""
    weights = [weight for _, _, weight in candidates]
    provider, model, _ = draw.choices(candidates, weights)[0]
    failed_over = False
    if pool == "demo-chat" and OFF_UNTIL < minutes_ago <= STORM_FROM:
        if minutes_ago > OFF_FROM and draw.random() < 0.7:
            collector.count_failure((pool, provider, model), "429", is_last=False)
            failed_over = True
        if failed_over or minutes_ago <= OFF_FROM:
            provider, model = BACKUP, "nova-large-2026-05"
    first, rest = (draw.lognormvariate(0, 0.25) * typical for typical in TIMES_MS[provider])
    failed = draw.random() < 0.0004
    if failed:
        collector.count_failure((pool, provider, model), "timeout", is_last=True)
    collector.count(
        (pool, provider, model),
        failed=failed,
        failed_over=failed_over,
        latency_ms=first + rest,
        first_content_ms=None if failed else first,
    )


def main() -> None:
    found = people()
    traffic(random.Random(7))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    django.setup()
    main()

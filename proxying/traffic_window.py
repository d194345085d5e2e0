"""The sum of a window that moves on: slices that came are added, those that left are taken away. Pure.

A stored slice never changes; a roll-up replaces those of one instant by their sum, which is no news here. So
the next ten seconds cost what they brought, however many slices the window has.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from proxying.traffic import SLICE_S, Counts, Key, Sum, merge, pool_name, take_away

# Of packed slices; 400 busy candidates and four workers are a megabyte.
REMEMBERED_BYTES: Final = 8 * 1024 * 1024

# What a slice has of each pool, as ``proxying.traffic.as_json`` made it.
Pools: TypeAlias = Mapping[str, list[Any]]


class SliceKey(NamedTuple):
    """What identifies a stored slice; ``at_s`` is its end (Unix seconds), ``worker`` empty for a sum."""

    pk: int
    at_s: int
    worker: str

    @property
    def slot_s(self) -> int:
        """The ten seconds to which it belongs; a worker's last slice ends early."""
        return self.at_s // SLICE_S * SLICE_S


class Packed(NamedTuple):
    """A slice as it is remembered, to be taken away again, and how many attempts it counted."""

    text: bytes
    attempts: int


@dataclass(frozen=True, slots=True)
class MovingSum:
    """What some slices sum up to; ``slots`` has their requests by ten seconds."""

    slices: Mapping[SliceKey, Packed] = field(default_factory=lambda: MappingProxyType({}))
    series: Mapping[Key, Counts] = field(default_factory=lambda: MappingProxyType({}))
    slots: Mapping[int, Mapping[Key, int]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_large(self) -> bool:
        """Whether it is more than may be remembered."""
        return sum(len(one.text) for one in self.slices.values()) > REMEMBERED_BYTES

    def moved(self, found: Mapping[SliceKey, str | None]) -> MovingSum:
        """The sum of exactly these slices, each with its text or, where this sum has it already, None."""
        kept = {key: one for key, one in self.slices.items() if key in found}
        gone = {key: one for key, one in self.slices.items() if key not in found}
        read = {key: orjson.loads(text) for key, text in found.items() if text is not None}
        if not read and not gone:
            return self
        came = {key: _packed(found[key] or "", pools) for key, pools in read.items()}
        same = _rolled_up(came, gone)
        taken = {key: _unpacked(one) for key, one in gone.items() if key not in same}
        slots = self._slots_without(taken, kept)
        series = {key: counts.copy() for key, counts in self.series.items()}
        merge(series, _summed({key: pools for key, pools in read.items() if key not in same}, slots))
        take_away(series, _summed(taken))
        return MovingSum({**kept, **came}, series, slots)

    def _slots_without(
        self, taken: Iterable[SliceKey], kept: Mapping[SliceKey, Packed]
    ) -> dict[int, dict[Key, int]]:
        """Its slots, to be added to; one that lost a slice is counted anew."""
        anew = {key.slot_s for key in taken}
        slots = {slot_s: dict(counted) for slot_s, counted in self.slots.items() if slot_s not in anew}
        _summed({key: _unpacked(one) for key, one in kept.items() if key.slot_s in anew}, slots)
        return slots


def _packed(text: str, pools: Pools) -> Packed:
    # Of each series its requests, and its attempts before another candidate.
    attempts = sum(row[2] + row[5] for rows in pools.values() for row in rows)
    return Packed(zlib.compress(text.encode(), 1), attempts)


def _unpacked(one: Packed) -> Pools:
    pools: Pools = orjson.loads(zlib.decompress(one.text))
    return pools


def _rolled_up(came: Mapping[SliceKey, Packed], gone: Mapping[SliceKey, Packed]) -> set[SliceKey]:
    """Those that came and went and change nothing: an instant's slices, and the sum of the very same.

    A sum has all that left for it, so it has nothing else when it counted as many attempts.
    """
    sums, parts = _by_instant(came, are_sums=True), _by_instant(gone, are_sums=False)
    same = {at_s for at_s, keys in sums.items() if _attempts(came, keys) == _attempts(gone, parts.get(at_s))}
    return {key for at_s in same for key in (*sums[at_s], *parts.get(at_s, ()))}


def _by_instant(slices: Iterable[SliceKey], *, are_sums: bool) -> dict[int, list[SliceKey]]:
    found: dict[int, list[SliceKey]] = {}
    for key in slices:
        if are_sums is not bool(key.worker):
            found.setdefault(key.at_s, []).append(key)
    return found


def _attempts(slices: Mapping[SliceKey, Packed], keys: Iterable[SliceKey] | None) -> int:
    return sum(slices[key].attempts for key in keys or ())


def _summed(
    slices: Mapping[SliceKey, Pools], slots: dict[int, dict[Key, int]] | None = None
) -> dict[Key, Counts]:
    found = Sum()
    for key, pools in slices.items():
        requests = None if slots is None else slots.setdefault(key.slot_s, {})
        for pool, rows in pools.items():
            found.add(pool_name(pool), rows, requests=requests)
    return found.series()

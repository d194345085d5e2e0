"""Writes request records: few statements for a batch.

Django's ``bulk_create`` builds every value of every row by expression: for a gateway's worth of rows, a third
of all processor time. ``executemany`` changes threads with the event loop for each row. So a batch goes to
PostgreSQL as one JSON text, which it takes apart itself, and to SQLite by statements of many rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson
from django.db import DataError, IntegrityError, connection, models, transaction

from proxying.models import RequestRecord

logger = logging.getLogger("sluice.records")

Values = dict[str, Any]
"""The columns of one record by field name; what is left out has the field's default."""

_FIELDS: Final = [field for field in RequestRecord._meta.concrete_fields if not field.primary_key]
_DEFAULTS: Final = [(field.attname, field.get_default()) for field in _FIELDS]
# Places of what SQLite's driver does not take as it is.
_TIMES: Final = [place for place, field in enumerate(_FIELDS) if isinstance(field, models.DateTimeField)]
_DOCUMENTS: Final = [place for place, field in enumerate(_FIELDS) if isinstance(field, models.JSONField)]
# Rows of one statement: few lengths, as each is another statement for the driver to prepare and keep.
_CHUNKS: Final = (64, 8, 1)


def write_rows(rows: Sequence[Values]) -> int:
    """Insert a batch; a row that the database refuses is left out and counted, the others are stored.

    Trying again after an uncertain commit stores nothing twice: ``decision_id`` is unique.

    Raises:
        django.db.OperationalError: the database is away.
    """
    try:
        _insert(rows)
    except Exception as error:
        if not _is_refusal(error):
            raise
    else:
        return 0
    return sum(_is_refused(row) for row in rows)


def _is_refused(row: Values) -> bool:
    try:
        _insert([row])
    except Exception as error:
        if not _is_refusal(error):
            raise
        logger.error("A request record was refused: %s", type(error).__name__)  # noqa: TRY400 - holds names
        return True
    return False


def _is_refusal(error: Exception) -> bool:
    """Whether it is about values, a driver's own errors included: another try would end the same."""
    return isinstance(error, DataError | IntegrityError | ValueError | TypeError | OverflowError)


def _insert(rows: Sequence[Values]) -> None:
    insert = _INSERTS[connection.vendor]
    complete = [[row.get(name, default) for name, default in _DEFAULTS] for row in rows]
    with transaction.atomic(), connection.cursor() as cursor:
        insert(cursor, complete)


def _insert_text(cursor: Any, rows: list[list[Any]]) -> None:
    """PostgreSQL: the table's own row type says what each value of the text is."""
    names = [field.column for field in _FIELDS]
    text = orjson.dumps([dict(zip(names, row, strict=True)) for row in rows]).decode()
    quote = connection.ops.quote_name
    table = quote(RequestRecord._meta.db_table)
    rows_of = f"SELECT {_names()} FROM json_populate_recordset(NULL::{table}, %s)"  # noqa: S608
    cursor.execute(f"INSERT INTO {table} ({_names()}) {rows_of} {_once()}", [text])


def _insert_chunks(cursor: Any, rows: list[list[Any]]) -> None:
    """SQLite: what Django would write, many rows at a time."""
    for row in rows:
        for place in _TIMES:
            at: datetime | None = row[place]
            row[place] = None if at is None else at.astimezone(UTC).isoformat(" ")[:-6]
        for place in _DOCUMENTS:
            row[place] = orjson.dumps(row[place]).decode()
    start = 0
    for size in _CHUNKS:
        while len(rows) - start >= size:
            values = [value for row in rows[start : start + size] for value in row]
            # "Many" of one: of that, Django's log of queries does not try to print the values.
            cursor.executemany(_statement(size), [values])
            start += size


_INSERTS: Final[dict[str, Callable[[Any, list[list[Any]]], None]]] = {
    "postgresql": _insert_text,
    "sqlite": _insert_chunks,
}


@lru_cache(maxsize=len(_CHUNKS))
def _statement(rows: int) -> str:
    table = connection.ops.quote_name(RequestRecord._meta.db_table)
    # The driver's own mark: a thousand of Django's would be rewritten for each call.
    places = ", ".join([f"({', '.join('?' for _ in _FIELDS)})"] * rows)
    return f"INSERT INTO {table} ({_names()}) VALUES {places} {_once()}"  # noqa: S608


@lru_cache(maxsize=1)
def _names() -> str:
    return ", ".join(connection.ops.quote_name(str(field.column)) for field in _FIELDS)


@lru_cache(maxsize=1)
def _once() -> str:
    """Leaves a row alone that is there already, and only that: Django's ``ignore_conflicts`` would let SQLite
    drop a row for any other fault without a word.
    """
    return f"ON CONFLICT ({connection.ops.quote_name('decision_id')}) DO NOTHING"

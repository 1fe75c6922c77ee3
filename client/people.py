"""Who belongs to the region: the rule of the manifest, applied to a person's own rows only.

A person belongs to one region for ever: the rule reads the first row ever, a hash of the identifier, or a
column of the row. Does not ask for consent or split off a hold-out (the vault does).
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import ibis

from client.manifest import ColumnValue, FirstValue, HashPart, RegionRule

_HEX = "0123456789abcdef"
_HASH_DIGITS = 7


def people_of(occurrences: Any, rule: RegionRule) -> Any:
    """Returns (person, subject, country as named) of the region's people, person by order of subject.

    occurrences are those of `client.cube.occurrences_of`; the country is that of a person's first one in
    the rule's table (any table where the rule names none), by (time, order).
    """
    rows = occurrences.filter(occurrences.placed)
    by_time = [rows.seconds, rows.item, rows.place, rows.country]
    first = rows.group_by("subject").agg(
        country=rows.country.first(order_by=by_time, include_null=True),
        place=rows.place.first(order_by=by_time, include_null=True),
    )
    members = first.filter(belongs(first, rule))
    return members.select(
        "subject",
        "country",
        person=ibis.row_number().over(order_by=members.subject).cast("int64"),
    )


def belongs(rows: Any, rule: RegionRule) -> Any:
    """Returns whether each row, with columns `subject` and `place`, is the region's; never null."""
    match rule:
        case FirstValue() | ColumnValue():
            return rows.place.isin([str(value) for value in rule.values]).fill_null(False)
        case HashPart():
            return (hash_part(rows.subject, rule.parts) == rule.part).fill_null(False)
        case _:
            return ibis.literal(True)


def own_rows(rows: Any, rule: RegionRule, people: Any) -> Any:
    """Returns the rows that gates count: those of the region's people, and those that name nobody."""
    if isinstance(rule, FirstValue):
        return rows.filter(rows.subject.isnull() | rows.subject.isin(people.subject))
    return rows.filter(rows.subject.isnull() | belongs(rows, rule))


def hash_part(subject: Any, parts: int) -> Any:
    """Returns the first 28 bits of SHA-256 of the identifier's text, modulo parts."""
    digits = subject.hexdigest("sha256")
    number = reduce(
        lambda total, place: total * len(_HEX) + ibis.literal(_HEX).find(digits.substr(place, 1)),
        range(_HASH_DIGITS),
        ibis.literal(0, "int64"),
    )
    return number % parts

"""Append-only Merkle log of what a region did: append, head, inclusion.

Entries are canonical JSON of enums, integers, digests and controlled ids: no identifier of a person, no
free text. Two logs per region: `border` has one entry per request slot whatever the answer, so its length
tells nothing about people; `subject` holds what depends on data and stays at home. Proves that an entry is
in the log; does not prove that it is true. Signed heads, witnesses and epochs are not here yet.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Column, Connection, Integer, LargeBinary, String, Table, func, select

from compliance import merkle
from foundation import canonical
from foundation.database import metadata
from foundation.errors import LogBroken

LogName = Literal["border", "subject"]

leaves = Table(
    "log_leaf",
    metadata,
    Column("log", String, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("entry", LargeBinary, nullable=False),
)

nodes = Table(
    "log_node",
    metadata,
    Column("log", String, primary_key=True),
    Column("level", Integer, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True)
class TreeHead:
    """Size and root hash (hex) of a log at one moment."""

    log: LogName
    size: int
    root: str


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """An entry, its place, and the path to the root of a tree head (hex, lowest first)."""

    head: TreeHead
    place: int
    entry: bytes
    path: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the entry stands at its place in the tree of the head."""
        path = [bytes.fromhex(each) for each in self.path]
        leaf = merkle.leaf_hash(self.entry)
        return merkle.included(leaf, self.place, self.head.size, path, bytes.fromhex(self.head.root))


def append(connection: Connection, log: LogName, entry: dict[str, Any]) -> int:
    """Appends entry (see `foundation.canonical`) and returns its place; the caller commits."""
    body = canonical.encode(entry)
    place = size(connection, log)
    made = merkle.appended(place, merkle.leaf_hash(body), lambda node: _fetch(connection, log, node))
    connection.execute(leaves.insert().values(log=log, place=place, entry=body))
    connection.execute(
        nodes.insert(),
        [{"log": log, "level": level, "place": index, "hash": made[level, index]} for level, index in made],
    )
    return place


def size(connection: Connection, log: LogName) -> int:
    """Returns the number of entries."""
    last = connection.execute(select(func.max(leaves.c.place)).where(leaves.c.log == log)).scalar_one()
    return 0 if last is None else int(last) + 1


def head(connection: Connection, log: LogName) -> TreeHead:
    """Returns the newest tree head."""
    count = size(connection, log)
    return TreeHead(log, count, merkle.root(count, lambda node: _fetch(connection, log, node)).hex())


def newest(connection: Connection, log: LogName, kind: str) -> dict[str, Any] | None:
    """Returns the newest entry whose `type` is kind; None where there is none."""
    query = select(leaves.c.entry).where(leaves.c.log == log).order_by(leaves.c.place.desc())
    for row in connection.execute(query):
        entry: dict[str, Any] = json.loads(row.entry)
        if entry["type"] == kind:
            return entry
    return None


def prove(connection: Connection, log: LogName, place: int) -> InclusionProof:
    """Returns the inclusion proof of the entry at place under the newest head.

    Raises:
        IndexError: there is no such entry.
    """
    now = head(connection, log)
    path = merkle.inclusion_proof(place, now.size, lambda node: _fetch(connection, log, node))
    body = connection.execute(
        select(leaves.c.entry).where(leaves.c.log == log, leaves.c.place == place)
    ).scalar_one()
    return InclusionProof(now, place, body, tuple(each.hex() for each in path))


def verify(connection: Connection, log: LogName) -> TreeHead:
    """Recomputes the whole tree from the entries and returns its head.

    Raises:
        LogBroken: an entry or a stored node was altered, removed or reordered.
    """
    count, stored = 0, head(connection, log)
    made: dict[merkle.Node, bytes] = {}
    query = select(leaves.c.place, leaves.c.entry).where(leaves.c.log == log).order_by(leaves.c.place)
    for count, row in enumerate(connection.execute(query), start=1):
        if row.place != count - 1:
            raise LogBroken(f"log {log}, entry {count - 1}")
        made |= merkle.appended(row.place, merkle.leaf_hash(row.entry), made.__getitem__)
    kept = {
        (row.level, row.place): row.hash
        for row in connection.execute(select(nodes).where(nodes.c.log == log))
    }
    if kept != made or count != stored.size:
        raise LogBroken(f"log {log}")
    return stored


def _fetch(connection: Connection, log: LogName, node: merkle.Node) -> bytes:
    level, place = node
    found = connection.execute(
        select(nodes.c.hash).where(nodes.c.log == log, nodes.c.level == level, nodes.c.place == place)
    ).scalar_one_or_none()
    if found is None:
        raise LogBroken(f"log {log}, node {level}/{place}")
    return bytes(found)

"""Tables of a region's own database; the ledger's and the log's are declared in their rooms.

Tables about people carry controller, country and storage country. Alembic makes them: client/migrations.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, LargeBinary, String, Table

from foundation.database import metadata

facts = Table(
    "folder_fact",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)
"""Facts fixed for the folder's life: origin (real or simulation), hold-out rule."""

approvals = Table(
    "plan_approval",
    metadata,
    Column("digest", String, primary_key=True),
    Column("plan", String, nullable=False),
    Column("approved_at", String, nullable=False),
    Column("withdrawn_at", String),
    Column("noised_count", Float),
)
"""Plans by digest; `noised_count` is the eligible count drawn once per plan."""

requests = Table(
    "border_request",
    metadata,
    Column("run", String, primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("digest", String, nullable=False),
    Column("state", String, nullable=False),
    Column("charge", Integer, nullable=False),
    Column("answer", LargeBinary),
    Column("regional_receipt", LargeBinary),
)
"""One row per slot, for ever: states charged, sealed, refused, lost."""

scores = Table(
    "profile_score",
    metadata,
    Column("controller", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("purpose", String, primary_key=True),
    Column("task", String, primary_key=True),
    Column("country", String, nullable=False),
    Column("storage_country", String, nullable=False),
    Column("score", Float, nullable=False),
    Column("model", String, nullable=False),
    Column("origin", String, nullable=False),
    Column("as_of", String, nullable=False),
    Column("refreshed_at", String, nullable=False),
)
"""One score per person and task, by the newest model that scored them."""

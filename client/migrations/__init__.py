"""Alembic migrations of a region's database."""

"""The database: a SQLite file by default, PostgreSQL by URL, with the same code.

Write transactions follow one another on both (SQLite has one writer; on PostgreSQL they share an advisory lock), so a
limit checked in a transaction holds when it commits.
"""

from __future__ import annotations


class Database:
    """One database. Thread-safe; every process opens its own."""

"""A schema of a test's own in PostgreSQL, with a clock that the test moves: its ``now()`` comes before the server's own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

__all__ = ["EXPRESS_TABLE", "PostgresSchema", "postgres_schema"]

_CLOCK: Final = """
    CREATE SCHEMA {schema};
    CREATE TABLE {schema}.clock (ms bigint NOT NULL);
    INSERT INTO {schema}.clock VALUES (0);
    CREATE FUNCTION {schema}.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
        AS 'SELECT to_timestamp(ms / 1000.0) FROM {schema}.clock';
    CREATE FUNCTION {schema}.now() RETURNS timestamptz LANGUAGE sql STABLE
        AS 'SELECT to_timestamp(ms / 1000.0) FROM {schema}.clock';
"""

EXPRESS_TABLE: Final = """
    CREATE TABLE {schema}.session (
        "sid" varchar NOT NULL COLLATE "default", "sess" json NOT NULL, "expire" timestamp(6) NOT NULL
    );
    ALTER TABLE {schema}.session ADD CONSTRAINT "session_pkey" PRIMARY KEY ("sid") NOT DEFERRABLE INITIALLY IMMEDIATE;
    CREATE INDEX "IDX_session_expire" ON {schema}.session ("expire");
"""
"""The table as connect-pg-simple makes it."""


class PostgresSchema:
    """A new schema. The options are settings of the server's for all connections by its connection strings."""

    def __init__(self, url: str, **settings: str) -> None:
        self.name = f"test_{secrets.token_hex(6)}"
        self.url = url
        given = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self.conninfo = make_conninfo(url, options=f"-c search_path={self.name} {given}")
        self.clocked = make_conninfo(url, options=f"-c search_path={self.name},pg_catalog {given}")
        self.connection = self.connect()
        self.execute(_CLOCK)

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.conninfo, autocommit=True)

    def execute(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement in which ``{schema}`` is the schema's name."""
        cursor = self.connection.execute(statement.replace("{schema}", self.name), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def set_clock(self, ms: int) -> None:
        self.execute("UPDATE {schema}.clock SET ms = %s", ms)

    def drop(self) -> None:
        self.execute("DROP SCHEMA {schema} CASCADE")
        self.connection.close()


@contextmanager
def postgres_schema(url: str, **settings: str) -> Iterator[PostgresSchema]:
    schema = PostgresSchema(url, **settings)
    try:
        yield schema
    finally:
        schema.drop()

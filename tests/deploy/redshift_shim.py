"""Redshift's SQL on PostgreSQL: the one place that says what PostgreSQL lacks.

`on_postgres` parses a script by Redshift's grammar (sqlglot; what it can't parse fails), takes out
what PostgreSQL lacks, and says so in `dropped`. `load` does what COPY does with JSON 'auto
ignorecase' and TRUNCATECOLUMNS: keys find columns by name in any case, missing ones are null,
others are passed over, and a text ends with the last character that fits into its column's bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg
import sqlglot
from psycopg import sql
from sqlglot import exp

PLACEMENT = (exp.DistStyleProperty, exp.DistKeyProperty, exp.SortKeyProperty)
_USER = re.compile(r"CREATE USER (?P<name>\w+) PASSWORD DISABLE", re.IGNORECASE)
_TRY_CAST = "try_timestamptz"
# As TRY_CAST: what is no time is null.
_TRY_CAST_OF_POSTGRES = f"""CREATE OR REPLACE FUNCTION public.{_TRY_CAST}(value text)
RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN CAST(value AS timestamptz);
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$"""
_PATH = re.compile(r"ALTER USER (?P<name>\w+) SET search_path TO (?P<schema>\w+)", re.IGNORECASE)


@dataclass
class Script:
    """A script for PostgreSQL.

    Attributes:
        statements: What is left of it.
        dropped: What PostgreSQL lacks, in the order of the script.
    """

    statements: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def on_postgres(text: str) -> Script:
    """Turn a script for Redshift into one for PostgreSQL, and print what it lost."""
    script = Script()
    for statement in sqlglot.parse(text, read="redshift", error_level=sqlglot.ErrorLevel.RAISE):
        if isinstance(statement, exp.Copy):
            script.dropped.append(f"COPY {statement.this.sql('redshift')}: PostgreSQL has no S3")
        elif isinstance(statement, exp.Command):
            script.statements.append(_user(statement.sql("redshift", comments=False), script))
        else:
            if statement.find(exp.TryCast) and _TRY_CAST_OF_POSTGRES not in script.statements:
                script.statements.append(_TRY_CAST_OF_POSTGRES)
            script.statements.append(_without(statement, script).sql("postgres"))
    for one in script.dropped:
        print(f"not on PostgreSQL: {one}")
    return script


def load(connection: psycopg.Connection[Any], table: str, objects: Iterable[bytes]) -> None:
    """Load objects of JSON lines into a table, as COPY would."""
    lines = [line for content in objects for line in content.splitlines()]
    lowered = [{k.lower(): v for k, v in orjson.loads(one).items()} for one in lines]
    name = sql.Identifier(*table.split("."))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, character_maximum_length FROM information_schema.columns "
            "WHERE table_schema = %s AND table_name = %s AND data_type = 'character varying'",
            table.split("."),
        )
        lengths = dict(cursor.fetchall())
        cursor.execute("CREATE TEMPORARY TABLE line (content jsonb) ON COMMIT DROP")
        with cursor.copy("COPY line FROM STDIN") as copy:
            for one in lowered:
                fitting = {name: _cut(value, lengths.get(name)) for name, value in one.items()}
                copy.write_row((orjson.dumps(fitting).decode(),))
        cursor.execute(
            sql.SQL(
                "INSERT INTO {} SELECT told.* "
                "FROM line, jsonb_populate_record(NULL::{}, content) AS told"
            ).format(name, name)
        )
    connection.commit()


def _cut(value: object, length_bytes: int | None) -> object:
    if length_bytes is None or not isinstance(value, str):
        return value
    return value.encode()[:length_bytes].decode(errors="ignore")


def _without(statement: exp.Expression, script: Script) -> exp.Expression:
    for clause in list(statement.find_all(*PLACEMENT)):
        script.dropped.append(clause.sql("redshift"))
        clause.pop()
    for kind in list(statement.find_all(exp.DataType)):
        if kind.this == exp.DataType.Type.SUPER:
            script.dropped.append(f"SUPER of {kind.parent.name}, here JSONB")
            kind.replace(exp.DataType.build("jsonb"))
    for cast in list(statement.find_all(exp.TryCast)):
        assert cast.to.sql("postgres") == "TIMESTAMPTZ"
        script.dropped.append(f"TRY_CAST of {cast.this.sql('redshift')}, here a function")
        cast.replace(exp.func(f"public.{_TRY_CAST}", cast.this))
    for dot in [one for one in statement.find_all(exp.Dot, exp.Column) if _is_inside(one)]:
        script.dropped.append(f"the path {dot.sql('redshift')}, here ->>")
        *outer, last = [part.name for part in dot.parts]
        inside = exp.column(outer[-1], table=outer[0])
        dot.replace(sqlglot.parse_one(f"{inside.sql()} ->> '{last}'", read="postgres"))
    return statement


def _is_inside(path: exp.Expression) -> bool:
    """Tell a path into a SUPER from a qualified column: it has more than two parts."""
    return len(path.parts) > 2 and not isinstance(path.parent, exp.Table | exp.Dot)


def _user(command: str, script: Script) -> str:
    """Take what sqlglot has no grammar for: the two ways in which users are written."""
    if found := _USER.fullmatch(command):
        script.dropped.append(f"PASSWORD DISABLE of {found['name']}, here PASSWORD NULL")
        return f"CREATE USER {found['name']} PASSWORD NULL"
    if found := _PATH.fullmatch(command):
        return command
    msg = f"not a statement that the shim knows: {command}"
    raise ValueError(msg)

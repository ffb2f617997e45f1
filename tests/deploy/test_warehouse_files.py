"""The files of deploy/ say what the declarations say; the queries are the same in all dialects."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from deploy import generate
from service.insights.queries import Question, questions

FILES = generate.files()
QUESTIONS = questions()
# From the Redshift Database Developer Guide, "Reserved words".
RESERVED = frozenset(
    """aes128 aes256 all allowoverwrite analyse analyze and any array as asc authorization az64
    backup between binary blanksasnull both bytedict bzip2 case cast check collate column
    connect constraint continue create credentials cross current_date current_time
    current_timestamp current_user current_user_id default deferrable deflate defrag delta
    delta32k desc disable distinct do else emptyasnull enable encode encrypt encryption end
    except explicit false for foreign freeze from full globaldict256 globaldict64k grant group
    gzip having identity ignore ilike in initially inner intersect interval into is isnull join
    leading left like limit localtime localtimestamp lun luns lzo lzop minus mostly16 mostly32
    mostly8 natural new not notnull null nulls off offline offset oid old on only open or order
    outer overlaps parallel partition percent permissions pivot placing primary raw readratio
    recover references rejectlog resort respect restore right select session_user similar
    snapshot some sysdate system table tag tdes text255 text32k then timestamp to top trailing
    true truncatecolumns union unique unnest unpivot user using verbose wallet when where with
    without""".split()  # noqa: SIM905  # as a list it is 150 lines
)
# From the Athena User Guide, "Escape reserved keywords in queries": in DDL, and in queries.
RESERVED_IN_ATHENAS_TABLES = frozenset(
    """all alter and array as authorization between bigint binary boolean both by case cashe cast
    char column conf constraint commit create cross cube current current_date current_timestamp
    cursor database date dayofweek decimal delete describe distinct div double drop else end
    exchange exists extended external extract false fetch float floor following for foreign from
    full function grant group grouping having if import in inner insert int integer intersect
    interval into is join lateral left less like local macro map more none not null numeric of on
    only or order out outer over partialscan partition percent preceding precision preserve primary
    procedure range reads reduce regexp references revoke right rlike rollback rollup row rows
    select set smallint start table tablesample then time timestamp to transform trigger true
    truncate unbounded union uniquejoin update user using utc_timestamp values varchar views when
    where window with""".split()  # noqa: SIM905
)
RESERVED_IN_TRINO = frozenset(
    """alter and as between by case cast constraint create cross cube current_catalog current_date
    current_path current_role current_schema current_time current_timestamp current_user deallocate
    delete describe distinct drop else end escape except execute exists extract false first for
    from full group grouping having in inner insert intersect into is join json_array json_exists
    json_object json_query json_table json_value last left like listagg localtime localtimestamp
    natural normalize not null on or order outer prepare recursive right rollup select skip table
    then trim true uescape union unnest using values when where with""".split()  # noqa: SIM905
)
ATHENA = [name for name in FILES if name.startswith("athena/")]


def created(name: str, kind: str) -> list[exp.Create]:
    """Return a script's statements that create tables or views."""
    dialect = name.partition("/")[0]
    statements = sqlglot.parse(FILES[name], read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
    return [one for one in statements if isinstance(one, exp.Create) and one.kind == kind]


def unquoted(statement: exp.Expression) -> set[str]:
    """Return the names in a statement that stand without quotes."""
    names = statement.find_all(exp.Identifier)
    return {one.name.lower() for one in names if not one.args.get("quoted")}


def named(question: Question) -> str:
    return f"{question.domain}-{question.asks}-{question.name}"


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_the_declarations_say(name: str):
    assert (generate.DEPLOY / name).read_text() == FILES[name], "run `make docs` and commit deploy/"


def test_no_file_is_left_over():
    folders = {Path(name).parent for name in FILES}
    found = {
        path.relative_to(generate.DEPLOY).as_posix()
        for folder in folders
        for path in (generate.DEPLOY / folder).glob("*.sql")
    }

    assert found == set(FILES)


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("redshift/")])
def test_no_name_is_a_reserved_word_of_redshift(name: str):
    names = {
        one.name.lower()
        for statement in sqlglot.parse(FILES[name], read="redshift")
        for one in statement.find_all(exp.Identifier)
    }

    assert names.isdisjoint(RESERVED)


@pytest.mark.parametrize("name", ATHENA)
def test_no_name_is_a_reserved_word_of_athena(name: str):
    for table in created(name, "TABLE"):
        # Every column is quoted, as one of tomorrow's must be; members of a struct aren't.
        columns = [
            one for one in table.find_all(exp.ColumnDef) if isinstance(one.parent, exp.Schema)
        ]
        assert columns
        assert all(one.this.args.get("quoted") for one in columns)
        assert unquoted(table).isdisjoint(RESERVED_IN_ATHENAS_TABLES)
    for view in created(name, "VIEW"):
        assert unquoted(view).isdisjoint(RESERVED_IN_TRINO)


@pytest.mark.parametrize("name", FILES)
def test_a_coalesce_has_a_choice(name: str):
    for statement in sqlglot.parse(FILES[name], read=name.partition("/")[0]):
        for one in statement.find_all(exp.Coalesce) if statement else ():
            assert one.expressions, f"Trino refuses {one.sql()}"


@pytest.mark.parametrize("question", QUESTIONS, ids=named)
def test_a_query_means_the_same_to_redshift_and_to_athena(question: Question):
    texts = set()
    for dialect in ("redshift", "trino"):
        tree = sqlglot.parse_one(question.sql, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
        for ordered in tree.find_all(exp.Ordered):
            # They place nulls differently; what is sorted by is never null.
            ordered.set("nulls_first", None)
        texts.add(tree.sql("redshift", comments=False))

    assert len(texts) == 1


@pytest.mark.parametrize("question", QUESTIONS, ids=named)
def test_a_query_reads_the_views_that_it_names_and_has_no_reserved_word(question: Question):
    tree = sqlglot.parse_one(question.sql, read="redshift")
    own = {cte.alias for cte in tree.find_all(exp.CTE)}

    assert {table.name for table in tree.find_all(exp.Table)} - own == set(question.reads)
    assert unquoted(tree).isdisjoint(RESERVED | RESERVED_IN_TRINO)


def test_questions_of_one_name_have_the_same_columns_and_place():
    by_name: dict[tuple[str, str], list[Question]] = {}
    for one in QUESTIONS:
        by_name.setdefault((one.domain, one.name), []).append(one)

    for same in by_name.values():
        trees = [sqlglot.parse_one(one.sql, read="redshift") for one in same]
        assert len({tuple(tree.named_selects) for tree in trees}) == 1
        assert len({(one.place, one.title, one.text, str(one.chart)) for one in same}) == 1


@pytest.mark.parametrize("question", QUESTIONS, ids=named)
def test_a_chart_draws_columns_that_the_query_has(question: Question):
    if question.chart is None:
        return
    columns = sqlglot.parse_one(question.sql, read="redshift").named_selects
    drawn = [name for value in question.chart.columns.values() for name in value.split(",")]

    assert set(drawn) <= set(columns)

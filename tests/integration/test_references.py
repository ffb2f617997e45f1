"""Tables beside the stream, from a real S3 server and from files: read, read again, kept."""

from __future__ import annotations

import csv
import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import metrics
from dataflows.registry import find_domain
from errors import KinewaxError, MissingResourceError, SettingsError
from service import settings
from service.aws import Aws
from service.check import probes_of, run_probe
from service.job import Job
from service.local_aws import REGION
from service.references import References, Watched
from tests.servers import Clients

DOMAIN = """\
from dataflows.domain import Domain
from operators.reference_spec import Reference
from operators.spec import Field, Window
from operators.value_spec import Count

DOMAIN = Domain(
    name="sales",
    summary="Sales.",
    fields=(Field("product", "integer"),),
    times=("at",),
    references=(
        Reference(
            "margins", key="product", fields=(Field("margin_group", "text"),), missing=MISSING
        ),
    ),
    windows=(Window("groups", 10, ("margin_group",), (Count("sales"),), groups=2),),
    rules=(),
)
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "sales.py"
    path.write_text(DOMAIN.replace("MISSING", "('unknown',)"))
    return str(path)


def loaded(endpoint: str, **given: str) -> settings.Settings:
    values = {"aws.endpoint_url": endpoint, "aws.region": REGION}
    values |= {name.replace("__", "."): value for name, value in given.items()}
    flags = {path: settings.Given(value, "test") for path, value in values.items()}
    return settings.load(flags=flags).settings


def rows_in(watched: Watched) -> int:
    return len(watched())


@pytest.fixture
def bucket(moto: Clients, unique_name: Callable[[str], str]) -> str:
    name = unique_name("tables")
    where = {"LocationConstraint": REGION}
    moto("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)
    return name


def test_an_object_is_read_again_only_when_its_etag_is_another(
    moto: Clients, bucket: str, mine: str
) -> None:
    s3 = moto("s3")
    s3.put_object(Bucket=bucket, Key="m.csv", Body=b"product,margin_group\n1,high\n")
    told: list[dict[str, object]] = []
    chosen = loaded(moto.endpoint, references__tables=f"margins=s3://{bucket}/m.csv")
    references = References(find_domain(mine), chosen, Aws(chosen.aws), told.append)
    margins = references.tables["margins"]
    first = margins()

    margins.check()
    assert margins() is first
    s3.put_object(Bucket=bucket, Key="m.csv", Body=b"product,margin_group\n1,high\n2,low\n")
    margins.check()

    assert rows_in(margins) == 2
    versions = [one["version"] for one in told]
    assert versions[-1] == s3.head_object(Bucket=bucket, Key="m.csv")["ETag"]
    assert len(set(versions)) == len(versions) == 2


def test_a_table_that_becomes_wrong_or_goes_away_stays_as_it_was(
    moto: Clients, bucket: str, mine: str, caplog: pytest.LogCaptureFixture
) -> None:
    s3 = moto("s3")
    s3.put_object(Bucket=bucket, Key="m.csv", Body=b"product,margin_group\n1,high\n")
    chosen = loaded(
        moto.endpoint, references__tables=f"margins=s3://{bucket}/m.csv", references__max_bytes="60"
    )
    used = Aws(chosen.aws)
    margins = References(find_domain(mine), chosen, lambda name: used(name)).tables["margins"]
    checked = metrics.reference_checked_timestamp.labels("margins")
    failed = metrics.reference_loads.labels("margins", "failed")
    before, failures = checked._value.get(), failed._value.get()
    caplog.set_level(logging.WARNING, "kinewax.service")

    for body in (b"product\n1\n", b"product,margin_group\n" + b"1,high\n" * 20, b"\xff"):
        s3.put_object(Bucket=bucket, Key="m.csv", Body=body)
        margins.check()
    s3.delete_object(Bucket=bucket, Key="m.csv")
    margins.check()
    used = Aws(loaded("http://127.0.0.1:1").aws)  # where nobody answers
    margins.check()

    assert rows_in(margins) == 1
    assert checked._value.get() == before
    assert failed._value.get() == failures + 5
    kept = [one.getMessage() for one in caplog.records]
    assert len(kept) == 5
    for words in ("`margin_group` is missing", "more than 60 bytes", "does not exist"):
        assert any(words in line for line in kept)


def test_a_file_is_read_again_when_it_changes_and_kept_when_it_is_gone(
    tmp_path: Path, mine: str
) -> None:
    path = tmp_path / "with a blank.jsonl"
    path.write_text('{"product": 1, "margin_group": "high"}\n')
    chosen = loaded(
        "http://127.0.0.1:1", references__tables=f"margins=file://{tmp_path}/with%20a%20blank.jsonl"
    )
    margins = References(find_domain(mine), chosen, Aws(chosen.aws)).tables["margins"]

    path.write_text('{"product": 1, "margin_group": "a"}\n{"product": 2, "margin_group": "b"}\n')
    margins.check()
    assert rows_in(margins) == 2
    path.unlink()
    margins.check()
    assert rows_in(margins) == 2


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, SettingsError, "the reference margins of domain sales has no table"),
        ({"references__tables": "margin=file:///x.csv"}, SettingsError, "no reference 'margin'"),
        ({"references__tables": "margins=/x.csv"}, SettingsError, "names no table"),
        ({"references__tables": "margins=s3://only"}, SettingsError, "names no table"),
        ({"references__tables": "margins=file:///nowhere/x.csv"}, MissingResourceError, "no file"),
        (
            {"references__tables": "margins=s3://nowhere-at-all/x.csv"},
            MissingResourceError,
            "s3://nowhere-at-all/x.csv does not exist",
        ),
    ],
)
def test_a_run_without_its_tables_is_refused(
    moto: Clients, mine: str, given: dict[str, str], error: type[KinewaxError], message: str
) -> None:
    chosen = loaded(moto.endpoint, **given)
    with pytest.raises(error, match=message):
        References(find_domain(mine), chosen, Aws(chosen.aws))


def test_a_table_that_is_wrong_from_the_start_is_refused_with_its_row(
    tmp_path: Path, mine: str
) -> None:
    (tmp_path / "m.csv").write_text("product,margin_group\n1,a\n1,b\n")
    chosen = loaded("http://127.0.0.1:1", references__tables=f"margins=file://{tmp_path}/m.csv")
    with pytest.raises(SettingsError, match=r"m\.csv: row 2: the key 1 stood before, in row 1"):
        References(find_domain(mine), chosen, Aws(chosen.aws))


def test_check_tries_to_read_each_table(moto: Clients, bucket: str, mine: str) -> None:
    moto("s3").put_object(Bucket=bucket, Key="m.csv", Body=b"product,margin_group\n")
    for key, outcome in (("m.csv", "ok"), ("n.csv", "missing")):
        chosen = loaded(moto.endpoint, references__tables=f"margins=s3://{bucket}/{key}")
        job = Job(mine, "-", replace_sinks(chosen))
        (finding,) = [run_probe(probe) for probe in probes_of(job, Aws(chosen.aws))]
        assert (finding.action, finding.outcome) == ("s3:GetObject", outcome)


def replace_sinks(chosen: settings.Settings) -> settings.Settings:
    return chosen.model_copy(update={"sinks": settings.Sinks(to=("stdout",))})


@pytest.mark.parametrize("missing", ["('unknown',)", "'drop'"])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_counts_by_what_a_table_says_and_names_the_version(
    kinewax, tmp_path: Path, missing: str, processes: int
) -> None:
    (tmp_path / "sales.py").write_text(DOMAIN.replace("MISSING", missing))
    margins = {product: ("high", "low")[product % 2] for product in range(40)}
    with (tmp_path / "margins.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("product", "margin_group"), *margins.items()])
    sold = [(number * 7) % 60 for number in range(3_000)]  # a third is in no table
    (tmp_path / "sales.jsonl").write_text(
        "".join(
            json.dumps({"product": product, "at": f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z"})
            + "\n"
            for n, product in enumerate(sold)
        )
    )

    ended = kinewax.run(
        "run", "./sales.py", "--source", f"file://{tmp_path}/sales.jsonl",
        "--sinks", f"file://{tmp_path}/out", "--processes", str(processes),
        "--reference", f"margins=file://{tmp_path}/margins.csv",
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr
    closed: Counter[tuple[str, str]] = Counter()
    for line in (tmp_path / "out/aggregates/groups.jsonl").read_text().splitlines():
        row = json.loads(line)
        closed[row["window_start"][:19], row["margin_group"]] += row["sales"]
    expected: Counter[tuple[str, str]] = Counter()
    for n, product in enumerate(sold):
        start = n - n % 10
        group = margins.get(product, None if missing == "'drop'" else "unknown")
        if group is not None and start + 10 <= len(sold) - 1 - 10:  # windows that had closed
            expected[f"2026-01-01T00:{start // 60:02}:{start % 60:02}", group] += 1
    assert {key: closed[key] for key in expected} == expected
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    unknown = sum(product not in margins for product in sold)
    name = "dropped.not_in_margins" if missing == "'drop'" else "missing.margins"
    assert summary["balanced"]
    assert summary["ledger"][name] == unknown
    (version,) = summary["run"]["references"]
    assert version["name"] == "margins"
    assert version["version"].endswith(f"-{(tmp_path / 'margins.csv').stat().st_size}")

"""docs/how-to/add-a-domain.md, followed word by word: its files are saved, its commands are run,
its outputs are compared. Nothing of the domain stands here but what the page says.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from service import local_aws
from tests.rig import wait_until
from tests.servers import clients, moto_server

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/add-a-domain.md").read_text()
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
FILE = re.compile(r"[Ss]ave this as `([^`]+)`[^\n]*:\n\n```\w+\n(.*?)```", re.DOTALL)
SWAP = re.compile(r"`([^`]+)`\s+in\s+place\s+of\s+`([^`]+)`")


def sections() -> dict[str, str]:
    parts = re.split(r"^## (\d)\. .*$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


SECTIONS = sections()


def commands(section: str) -> list[list[str]]:
    """Return the `kinewax` commands of a section, as a shell reads them."""
    blocks = [text for kind, text in BLOCK.findall(SECTIONS[section]) if not kind]
    lines = [line for text in blocks for line in text.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("kinewax ")]


def shown(section: str) -> list[list[dict[str, Any]]]:
    """Return the rows that a section shows, block by block; its files are none of them."""
    files = {text for _, text in FILE.findall(PAGE)}
    blocks = [text for kind, text in BLOCK.findall(SECTIONS[section]) if kind == "json"]
    return [
        [json.loads(line) for line in text.splitlines()] for text in blocks if text not in files
    ]


def has(rows: list[dict[str, Any]], wanted: dict[str, Any]) -> bool:
    return any(wanted.items() <= row.items() for row in rows)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILE.findall(PAGE):
        (tmp_path / name).write_text(text)
    assert {path.name for path in tmp_path.iterdir()} == {"parcels.py", "scans.jsonl"}
    return tmp_path


def test_the_file_is_about_as_short_as_the_page_says(folder: Path) -> None:
    assert len((folder / "parcels.py").read_text().splitlines()) < 75


def test_the_domain_is_sound_and_what_is_wrong_with_it_is_told_line_by_line(
    kinewax, folder: Path
) -> None:
    ((_, *command),) = commands("2")

    sound = kinewax.run(*command)
    path = folder / "parcels.py"
    swaps = SWAP.findall(SECTIONS["2"])
    assert len(swaps) == 2
    for wrong, right in swaps:
        assert right in path.read_text()
        path.write_text(path.read_text().replace(right, wrong, 1))
    faulty = kinewax.run(*command)

    assert sound.returncode == 0
    assert sound.stdout.splitlines()[0] in SECTIONS["2"]
    assert faulty.returncode == 2
    (told,) = [text for kind, text in BLOCK.findall(SECTIONS["2"]) if text.startswith("error:")]
    assert faulty.stderr.strip() == told.strip()


def test_the_file_of_scans_gives_the_alerts_and_rows_that_the_page_shows(
    kinewax, folder: Path
) -> None:
    ((_, *command),) = commands("3")

    ended = kinewax.run(*(word.replace("$PWD", str(folder)) for word in command))

    assert ended.returncode == 0, ended.stderr
    alerts, rows = shown("3")
    found = rows_of(folder / "out/alerts.jsonl")
    assert [row for row in alerts if not has(found, row)] == []
    found = rows_of(folder / "out/aggregates/depots.jsonl")
    assert [row for row in rows if not has(found, row)] == []
    assert len(found) == len(rows)
    (bad,) = rows_of(folder / "out/dead-letters.jsonl")
    assert f"`{bad['reason']}`" in SECTIONS["3"]


def test_the_domain_runs_from_kinesis_to_dynamodb(kinewax, folder: Path) -> None:
    # A server of its own: the page names streams and tables as a user would.
    with moto_server() as endpoint, clients(endpoint) as aws:
        exported = dict(re.findall(r"(KINEWAX_\w+)=(\S+)", SECTIONS["4"].split("```")[1]))
        table = exported["KINEWAX_SINKS__TABLE"]
        local_aws.create(
            aws,
            local_aws.Resources(
                streams=(("parcels", 1),),
                table=table,
                topic=exported["KINEWAX_SINKS__TOPIC"],
                queue="parcels-queue",
                bucket="parcels-bucket",
                delivery_streams=(),
            ),
        )
        environment = {**local_aws.local_environment(aws.endpoint), **exported}
        environment["KINEWAX_AWS__ENDPOINT_URL"] = aws.endpoint
        (_, *check), (_, *run) = commands("4")

        checked = kinewax.run(*check, environment=environment)
        assert checked.stdout.splitlines()[-1] == "all is there", checked.stdout
        lines = (folder / "scans.jsonl").read_bytes().splitlines()
        aws("kinesis").put_records(
            StreamName="parcels",
            Records=[{"Data": line, "PartitionKey": "one"} for line in lines],
        )
        process = kinewax.start(*run, environment=environment)
        (wanted,) = shown("4")

        def found() -> list[dict[str, Any]]:
            items = aws("dynamodb").scan(TableName=table)["Items"]
            return [{name: next(iter(v.values())) for name, v in one.items()} for one in items]

        wait_until(lambda: all(has(found(), row) for row in wanted), "the page's incidents")
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.parametrize("command", ["produce", "demo"])
def test_other_commands_refuse_a_domain_of_ones_own_and_say_so(
    kinewax, folder: Path, command: str
) -> None:
    to = ("--to", "file:///dev/null") if command == "produce" else ()
    ended = kinewax.run(command, "./parcels.py:DOMAIN", *to)

    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "parcels.py" in ended.stderr
    assert "ecommerce" in ended.stderr  # names those that it takes

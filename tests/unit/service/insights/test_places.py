"""Objects become files whatever their keys are; links hide names that DuckDB would expand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from errors import MissingResourceError, SettingsError
from service.insights.places import Links, fetch, is_s3, local


class Bucket:
    """Objects by key, listed in pages of two."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects
        self.asked: dict[str, str] = {}

    def get_paginator(self, operation_name: str) -> Bucket:
        assert operation_name == "list_objects_v2"
        return self

    def paginate(self, **request: str) -> Iterator[dict[str, Any]]:
        self.asked = request
        items = [{"Key": key, "Size": len(body)} for key, body in self.objects.items()]
        for start in range(0, len(items), 2):
            yield {"Contents": items[start : start + 2]}
        yield {}

    def download_file(self, bucket: str, key: str, filename: str) -> None:
        Path(filename).write_bytes(self.objects[key])


def test_every_object_becomes_a_file_whatever_its_key_is(tmp_path: Path):
    bodies = {
        "raw/a": b"1",
        "raw/b/a": b"22",
        "raw/../a": b"333",
        "raw//": b"4444",
        "raw/" + "x" * 900: b"55555",
        "raw/ü*[1]?": b"666666",
        "raw/empty": b"",
    }
    bucket = Bucket(bodies)
    told: list[tuple[int, int]] = []

    fetch(bucket, "s3://shop/raw/", tmp_path, lambda done, total: told.append((done, total)))

    assert bucket.asked == {"Bucket": "shop", "Prefix": "raw/"}
    files = sorted(tmp_path.iterdir())
    assert [file.read_bytes() for file in files] == [body for body in bodies.values() if body]
    # None is hidden, as names that begin with a point or an underscore are.
    assert all(file.name[0].isdigit() for file in files)
    assert [done for done, _ in told] == [1, 3, 6, 10, 15, 21]
    assert {total for _, total in told} == {21}


def test_a_prefix_without_objects_is_missing(tmp_path: Path):
    with pytest.raises(MissingResourceError, match="no objects at s3://shop/raw"):
        fetch(Bucket({}), "s3://shop/raw", tmp_path, lambda *_: None)


def test_a_place_is_a_path_or_a_url(tmp_path: Path):
    (here := tmp_path / "a b").mkdir()

    assert local(str(here)) == here
    assert local(here.as_uri()) == here
    assert is_s3("s3://shop/raw")
    assert not is_s3(str(here))
    assert not is_s3(here.as_uri())
    with pytest.raises(SettingsError):
        is_s3("https://example/x")
    with pytest.raises(MissingResourceError):
        local(str(tmp_path / "nothing"))


def test_a_link_is_read_where_the_name_itself_would_be_expanded(tmp_path: Path):
    (folder := tmp_path / "links").mkdir()
    (tmp_path / "a1").write_text("x\nwrong\n")
    (path := tmp_path / "a[1]").write_text("x\nright\n")
    links = Links(folder)

    found = duckdb.execute("SELECT x FROM read_csv(?)", [links.of(path)]).fetchall()

    assert found == [("right",)]
    assert links.of(path) != links.of(path)

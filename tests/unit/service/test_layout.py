import json
from pathlib import Path

import pytest

from errors import LayoutError, SettingsError
from service import layout, recovery, snapshots
from service.layout import Layout

FIELDS = {"slots": 64, "source": "arn:aws:kinesis:eu-west-1:1:stream/a"}


def prepare(directory: Path, fields=FIELDS, *, processes=1, now_us=1_000, first=lambda: None):
    return recovery.prepare(
        directory, fields, processes=processes, files=4, now_us=now_us, first=first
    )


def test_a_record_is_read_back_as_written(tmp_path: Path) -> None:
    layout.write(tmp_path, Layout(FIELDS, 123))

    assert layout.read(tmp_path) == Layout(FIELDS, 123)
    assert [path.name for path in tmp_path.iterdir()] == ["layout.json"]


def test_a_store_that_was_never_started_has_no_record(tmp_path: Path) -> None:
    assert layout.read(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"version": 99}'])
def test_a_record_that_cannot_be_read_is_one_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "layout.json").write_text(content, encoding="utf-8")

    with pytest.raises(LayoutError, match=r"layout\.json"):
        layout.read(tmp_path)


def test_a_record_of_another_version_is_refused(tmp_path: Path) -> None:
    layout.write(tmp_path, Layout(FIELDS, 123))
    path = tmp_path / "layout.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"version": 2}), encoding="utf-8")

    with pytest.raises(LayoutError, match="is of version 2, this kinewax reads version 1"):
        layout.read(tmp_path)


@pytest.mark.parametrize(
    ("current", "words"),
    [
        (FIELDS | {"slots": 32}, "slots was 64 when this recovery store was made, is 32"),
        ({"slots": 64}, "source was arn:aws:kinesis:eu-west-1:1:stream/a .* is absent"),
        (FIELDS | {"window a": "10 s"}, "window a was absent .* is 10 s"),
    ],
)
def test_a_mismatch_names_the_field_both_values_and_the_ways_out(
    tmp_path: Path, current: dict, words: str
) -> None:
    with pytest.raises(LayoutError, match=words) as caught:
        layout.check(FIELDS, current, tmp_path)

    assert caught.value.exit_code == 2
    assert "--recovery" in caught.value.hint


def test_the_moment_of_the_first_start_is_kept_by_later_ones(tmp_path: Path) -> None:
    assert prepare(tmp_path, now_us=1_000).started_at_us == 1_000
    assert prepare(tmp_path, now_us=9_000).started_at_us == 1_000


def test_what_belongs_to_a_first_start_happens_only_then(tmp_path: Path) -> None:
    calls: list[str] = []
    prepare(tmp_path, first=lambda: calls.append("first"))
    prepare(tmp_path, first=lambda: calls.append("again"))

    assert calls == ["first"]


def test_a_first_start_that_failed_half_way_is_a_first_start_again(tmp_path: Path) -> None:
    def fail() -> None:
        msg = "disk full"
        raise OSError(msg)

    with pytest.raises(OSError, match="disk full"):
        prepare(tmp_path, first=fail)

    assert layout.read(tmp_path) is None
    assert prepare(tmp_path, now_us=5_000).started_at_us == 5_000


def test_a_new_store_has_a_file_for_each_process_at_least(tmp_path: Path) -> None:
    prepare(tmp_path, processes=6)

    assert snapshots.file_count(tmp_path) == 6


def test_more_processes_than_files_are_refused(tmp_path: Path) -> None:
    prepare(tmp_path)

    with pytest.raises(LayoutError, match="at most 4 processes, 5 are asked for"):
        prepare(tmp_path, processes=5)


def test_a_record_without_its_store_is_refused(tmp_path: Path) -> None:
    prepare(tmp_path)
    for path in tmp_path.glob("part-*.sqlite3"):
        path.unlink()

    with pytest.raises(LayoutError, match="no recovery store"):
        prepare(tmp_path)


def test_a_store_has_one_user_at_a_time(tmp_path: Path) -> None:
    with (
        recovery.open_store(tmp_path),
        pytest.raises(SettingsError, match="another kinewax"),
        recovery.open_store(tmp_path),
    ):
        pass
    with recovery.open_store(tmp_path):
        pass  # and is free again afterwards


def test_a_temporary_store_is_removed_with_the_run() -> None:
    with recovery.open_store(None) as path:
        prepare(path)
        assert path.is_dir()

    assert not path.exists()


def test_a_directory_that_cannot_be_made_is_a_settings_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(SettingsError, match="recovery directory"),
        recovery.open_store(tmp_path / "file" / "store"),
    ):
        pass

"""Directories as stores: links, names, what may not be read, what changes amid reading."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from errors import MissingResourceError
from sources.archive.layouts import layout_of
from sources.archive.listing import Listing, listed
from sources.archive.stores import CHUNK_BYTES, DirectoryStore, ObjectError


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def keys(root: Path) -> list[str]:
    return sorted(one.key for one in DirectoryStore(root).list(""))


def reason_of(root: Path, key: str) -> str:
    """Why what is listed under a key can't be read."""
    store = DirectoryStore(root)
    (one,) = (one for one in store.list("") if one.key == key)
    with pytest.raises(ObjectError) as caught:
        list(store.read(one.key, one.size, one.version))
    return caught.value.reason


def listing_of(root: Path) -> Listing:
    return listed(
        "u", DirectoryStore(root), layout_of(""),
        arrived_us=(None, None), most_lanes=8, drift_us=1,
    )  # fmt: skip


# ---- links --------------------------------------------------------------------------------------


def test_links_to_directories_are_followed_and_no_directory_is_read_twice(tmp_path: Path) -> None:
    root, outside = tmp_path / "in/root", tmp_path / "outside"
    write(root / "b/x")
    write(outside / "sub/y")
    write(tmp_path / "in/beside")
    (root / "a-link-to-b").symlink_to(root / "b")
    (root / "link").symlink_to(outside)
    (root / "mail").symlink_to(outside / "sub")
    (root / "b/loop").symlink_to(root)
    (root / "b/self").symlink_to("self")
    (root / "b/up").symlink_to(tmp_path / "in")
    (outside / "back").symlink_to(root / "b")
    assert keys(root) == ["b/self", "b/x", "link/sub/y"]
    assert reason_of(root, "b/self") == "object_missing"


def test_a_link_into_a_hidden_folder_is_where_its_files_are_read(tmp_path: Path) -> None:
    write(tmp_path / ".versions/3/x")
    (tmp_path / "current").symlink_to(".versions/3")
    assert [one.key for one in listing_of(tmp_path).objects] == ["current/x"]


def test_a_link_to_nothing_is_named_and_a_pipe_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert keys(tmp_path) == ["gone"]
    assert reason_of(tmp_path, "gone") == "object_missing"


# ---- what may not be read -----------------------------------------------------------------------


def refusing(path: Path, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a call that this user may not make for one path. (Root, as in CI, may do all.)"""

    def refused(asked: Any, *arguments: Any, **options: Any) -> Any:
        if Path(asked) == path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return call(asked, *arguments, **options)

    return refused


def test_a_directory_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "2026/11/22/x")
    write(tmp_path / "2026/11/23/y")
    denied = tmp_path / "2026/11/23"
    monkeypatch.setattr(os, "scandir", refusing(denied, os.scandir))
    assert [one.key for one in listing_of(tmp_path).objects] == ["2026/11/23", "2026/11/22/x"]
    monkeypatch.setattr(Path, "open", refusing(denied, Path.open))
    assert reason_of(tmp_path, "2026/11/23") == "object_denied"


def test_a_file_that_may_not_even_be_looked_at_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x")
    monkeypatch.setattr(Path, "stat", refusing(path, Path.stat))
    monkeypatch.setattr(Path, "open", refusing(path, Path.open))
    assert reason_of(tmp_path, "x") == "object_denied"


def test_an_archive_that_may_not_be_read_at_all_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "scandir", refusing(tmp_path, os.scandir))
    with pytest.raises(MissingResourceError, match=f"{tmp_path} can't be read: Permission denied"):
        keys(tmp_path)


# ---- names --------------------------------------------------------------------------------------


def test_names_that_are_not_utf_8_are_listed_and_opened(tmp_path: Path) -> None:
    names = [b"a\xff.json", b"a\\xff.json", b"a\\x5cxff.json", "é\\n.json".encode(), b"\xfe/x"]
    for name in names:
        write(tmp_path / os.fsdecode(name), name)
    listing = listing_of(tmp_path)
    listing.write(tmp_path / "objects.json")
    objects = Listing.read(tmp_path / "objects.json").objects
    assert objects == listing.objects
    store = DirectoryStore(tmp_path)
    read = [b"".join(store.read(one.key, one.size, one.version)) for one in objects]
    assert sorted(read) == sorted(names)
    assert "a\\xff.json" in {one.key for one in objects}
    only = DirectoryStore(tmp_path / os.fsdecode(b"a\xff.json"))
    (one,) = only.list("")
    assert list(only.read(one.key, one.size, one.version)) == [b"a\xff.json"]


# ---- what changes amid reading ------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, CHUNK_BYTES + 1),
        lambda path: os.truncate(path, 3 * CHUNK_BYTES),
        lambda path: os.utime(path, (1, 1)),
    ],
    ids=["shorter", "longer", "rewritten"],
)
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    path = write(tmp_path / "a", b"x" * 2 * CHUNK_BYTES)
    store = DirectoryStore(tmp_path)
    (one,) = store.list("")
    reading = store.read(one.key, one.size, one.version)
    read = len(next(reading))
    change(path)
    with pytest.raises(ObjectError) as caught:
        read += sum(map(len, reading))
    assert caught.value.reason == "object_changed"
    assert read <= one.size


def test_a_directory_in_a_files_place_is_no_file(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    write(tmp_path / "a")
    write(tmp_path / "b")
    (a, b) = sorted(store.list(""), key=lambda one: one.key)
    (tmp_path / "a").unlink()
    (tmp_path / "a").mkdir()
    for one, key, reason in ((a, "a", "object_changed"), (b, "b/c", "object_missing")):
        with pytest.raises(ObjectError) as caught:
            list(store.read(key, one.size, one.version))
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.EIO, "object_corrupt"), (errno.ESTALE, "object_changed")]
)
def test_what_the_disk_says_is_that_files_error_and_what_the_process_lacks_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    write(tmp_path / "a")

    def broken(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", broken)
    assert reason_of(tmp_path, "a") == reason
    number = errno.EMFILE
    with pytest.raises(OSError, match="Too many open files"):
        list(DirectoryStore(tmp_path).read("a", 1, ""))

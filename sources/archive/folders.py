r"""The files of a directory, at any depth, by names that any text can hold.

Links to directories are followed, but no directory is read twice: links are followed last, and one
that leads to where files were read already, or out to what is around the root, adds nothing.

A name that isn't UTF-8 is told with `\xff` for each byte that is wrong (and `\x5cx` where `\x`
stands in a name itself), so that it can be listed, named and opened again.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from errors import MissingResourceError

_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


def files_below(root: Path, is_wanted: Callable[[str], bool]) -> Iterator[str]:
    """Yield the names of the files below a directory, and of the folders that can't be read.

    Args:
        root: The directory.
        is_wanted: Tells of a folder (`raw/2026/`) whether to look into it.

    Raises:
        MissingResourceError: The directory itself can't be read.
    """
    seen = {_identity(folder) for folder in root.resolve().parents}
    folders, links = [""], deque[str]()
    while folders or links:
        inside = folders.pop() if folders else links.popleft()
        path = root / path_of(inside)
        try:
            identity = _identity(path)
            if identity in seen:
                continue
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            if not inside:
                msg = f"directory {root} can't be read: {error.strerror}"
                raise MissingResourceError(msg, hint="let this user read it") from error
            yield inside.removesuffix("/")
            continue
        seen.add(identity)
        own: list[str] = []
        for entry in entries:
            name = inside + name_of(entry.name)
            if not _is_directory(entry):
                yield name
            elif is_wanted(f"{name}/"):
                (links if entry.is_symlink() else own).append(f"{name}/")
        folders += reversed(own)


def name_of(path: str) -> str:
    """Return how a path is told."""
    return os.fsencode(path).replace(b"\\x", b"\\x5cx").decode("utf-8", "backslashreplace")


def path_of(name: str) -> str:
    """Return the path that is told so."""
    return os.fsdecode(_ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), name.encode()))


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere, or where this user may not look
        return False

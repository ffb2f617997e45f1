"""From the bytes of an object to what is packed in them: gzip, zip, zstd.

Pieces flow through generators, in the thread that polls. An empty piece means that nothing is there
yet: it is passed on, and whoever polls comes again. gzip is unpacked as it comes; zip and zstd are
gathered first (in memory up to `SPOOL_BYTES`, then in a temporary file). What is unpacked comes in
pieces of `PIECE_BYTES` at most, so that an object packed a thousandfold fills no memory.

gzip goes through ISA-L: on JSON it takes 0.18 us an event of 330 bytes here, zlib 0.46.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from typing import IO

from isal import isal_zlib

from sources.archive.stores import CORRUPT, TRUNCATED, ObjectError

PIECE_BYTES = 1024 * 1024
SPOOL_BYTES = 32 * 1024 * 1024
GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = b"PK\x03\x04"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 31  # zlib's notation for a gzip header and trailer

Pieces = Iterator[bytes]


def gunzip(pieces: Pieces) -> Pieces:
    """Unpack gzip, one member or several behind each other.

    Raises:
        ObjectError: It isn't gzip, is damaged, or ends too early.
    """
    member = None
    members_read = 0
    for piece in pieces:
        if not piece:
            yield b""
            continue
        data = piece
        while data:
            if member is None:
                data = data.lstrip(b"\0") if members_read else data  # some writers pad between
                if not data:
                    break
                if members_read and not data.startswith(GZIP_MAGIC[: len(data)]):
                    raise ObjectError(CORRUPT, "something else follows the gzip data")
                member = isal_zlib.decompressobj(wbits=_GZIP_WINDOW)
            try:
                found = member.decompress(data, PIECE_BYTES)
            except isal_zlib.error as error:  # type: ignore[misc]  # a class: the stub errs
                raise ObjectError(CORRUPT, f"not whole gzip: {error}") from error
            if found:
                yield found
            if member.eof:
                data, member = member.unused_data, None
                members_read += 1
            else:
                data = member.unconsumed_tail
    if member is not None:
        raise ObjectError(TRUNCATED, "the gzip data ends before its end")


def gathered(pieces: Pieces, file: IO[bytes]) -> Iterator[None]:
    """Write all pieces to a file; yields whenever nothing is there yet."""
    for piece in pieces:
        if piece:
            file.write(piece)
        else:
            yield None
    file.seek(0)


def spool() -> IO[bytes]:
    """Return a file for gathering an object."""
    return tempfile.SpooledTemporaryFile(SPOOL_BYTES)


def unzstd(file: IO[bytes]) -> Pieces:
    """Unpack zstd from a file.

    Raises:
        ObjectError: It is damaged, or ends too early.
    """
    import pyarrow  # half a second to load, which few archives need

    try:
        with pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), "zstd") as unpacked:
            while piece := unpacked.read(PIECE_BYTES):
                yield piece
    except (pyarrow.ArrowException, OSError) as error:
        reason = TRUNCATED if "runcated" in str(error) else CORRUPT
        raise ObjectError(reason, f"not whole zstd: {error}") from error


def members(file: IO[bytes]) -> Iterator[tuple[str, Pieces]]:
    """Yield the name and content of each file in a zip archive.

    Raises:
        ObjectError: It is damaged, or ends too early.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    yield member.filename, _member(archive, member)
    except zipfile.BadZipFile as error:
        # Its table of contents stands at its end.
        raise ObjectError(TRUNCATED, f"not whole zip: {error}") from error
    except Exception as error:  # damage shows as any: ValueError, struct.error, ...
        raise ObjectError(CORRUPT, f"zip: {error}") from error


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Pieces:
    try:
        with archive.open(member) as content:
            while piece := content.read(PIECE_BYTES):
                yield piece
    except Exception as error:  # damage, and what isn't known here: a method, a password
        raise ObjectError(CORRUPT, f"{member.filename} in zip: {error}") from error

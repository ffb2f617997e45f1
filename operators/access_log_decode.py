"""Payloads of access-log lines to columns, as `operators.decode` does it for JSON.

What a line is, and what becomes of an odd one, stands in `operators.access_log`. This file is apart
from it because importing numba takes a second, which only those should wait for who parse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from messages import Int64s, UInt64s
from operators import access_log_lines as kernels
from operators.access_log import FIELDS, REASONS, AccessLogFormat
from operators.access_log_clients import Clients, Networks
from operators.access_log_texts import SpanCodes
from operators.codes import TextCodes
from operators.decode import ARRIVAL, Column, Decoded, Rejected
from operators.spec import Field
from payloads import Lines

_REASON_OF = {
    kernels.EMPTY: "empty",
    kernels.NO_REQUEST: "no_request",
    kernels.CUT_REQUEST: "cut_request",
    kernels.NO_TIME: "no_time",
    kernels.BAD_TIME: "bad_time",
    kernels.NO_CLIENT: "no_client",
    kernels.BAD_STATUS: "bad_status",
    kernels.BAD_SIZE: "bad_bytes",
}
_SPANS = {
    "client": kernels.CLIENT,
    "vhost": kernels.VHOST,
    "forwarded_for": kernels.FORWARDED_FOR,
    "user": kernels.USER,
    "request": kernels.REQUEST,
    "method": kernels.METHOD,
    "path": kernels.PATH,
    "query": kernels.QUERY,
    "protocol": kernels.PROTOCOL,
    "referrer": kernels.REFERRER,
    "agent": kernels.AGENT,
}
_CLASSES = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")
_MAXIMUM_REJECTS = 100
"""Of one payload; the last takes all further bad lines, so that rubbish is soon done with."""
_CHUNK_LINES = 2000
_NO_CODES = np.empty(0, np.uint64)


class AccessLogDecoder:
    """Decodes payloads of access-log lines: one line each, or several with LF between them.

    A bad line never costs its neighbours; a payload with no good line is one reject. One decoder
    may serve all slots of a process, which then share its table of texts.

    Args:
        fields: The fields to decode, out of `FIELDS`.
        time_field: `TIME`, or `ARRIVAL`; a line's own time must be good in both.
        texts: Where the codes of texts come from, and can be turned back.
        log_format: What the lines don't say of themselves.

    Raises:
        ValueError: A field isn't one of an access log.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        time_field: str,
        texts: TextCodes,
        log_format: AccessLogFormat,
    ) -> None:
        kinds = {field.name: field.kind for field in FIELDS}
        for field in fields:
            if kinds.get(field.name) != field.kind:
                msg = f"an access log has no {field.kind} field {field.name!r}"
                raise ValueError(msg)
        self._names = tuple(field.name for field in fields)
        self._by_arrival = time_field == ARRIVAL
        self._texts = texts
        self._codes = SpanCodes(texts)
        trusted = Networks(log_format.trusted_proxies)
        self._clients = Clients(trusted, texts) if trusted and "client" in self._names else None
        self._spans = {name: _SPANS[name] for name in self._names if name in _SPANS}
        if self._clients:
            self._spans["forwarded_for"] = kernels.FORWARDED_FOR
        self._forwarded_for = -1 if log_format.forwarded_for is None else log_format.forwarded_for
        self._words = np.zeros(0, np.uint64)
        self._cut = np.empty((kernels.SPANS, 2, _CHUNK_LINES), np.int64)

    def decode(self, payloads: Sequence[bytes], arrival_us: Int64s | None) -> Decoded:
        """Decode n payloads.

        Args:
            payloads: n payloads.
            arrival_us: int64[n], for a run by arrival time.

        Returns:
            Their lines as columns, and the rejects.
        """
        if self._by_arrival and arrival_us is None:
            msg = "this source knows no arrival times"
            raise ValueError(msg)
        if isinstance(payloads, Lines) and payloads.are_lines():
            buffer = bytes(payloads.buffer[: int(payloads.bounds[1].max(initial=0))])
            lines = self._find_lines(buffer, len(payloads))
        else:
            lines = self._find_lines(b"\n".join(payloads), None if payloads else 0)
        chunks = [
            self._decode_chunk(lines, first) for first in range(0, len(lines.begins), _CHUNK_LINES)
        ]
        columns, numbers = self._joined(chunks)
        source = None
        if len(lines.begins) != len(payloads):
            source = _source_of_lines(lines, payloads)
        rejected: list[Rejected] = []
        rows = np.flatnonzero(lines.reasons == kernels.GOOD)
        if len(rows) != len(lines.begins):
            rejected = list(_rejects(lines, source, payloads))
        has_pieces = source is not None
        if len(rows) != len(payloads) or has_pieces:
            source = rows if source is None else source[rows]
        times_us = numbers[kernels.TIME_US]
        if arrival_us is not None and self._by_arrival:
            times_us = arrival_us if source is None else arrival_us[source]
        return Decoded(
            columns=columns,
            times_us=times_us,
            bad_rows=np.empty(0, np.int64),
            source=source,
            pieces=_Pieces(lines, rows) if has_pieces else {},
            rejected=rejected,
            objects=len(times_us) + len(rejected),
        )

    def _find_lines(self, buffer: bytes, size: int | None) -> _FoundLines:
        """Find the lines of a buffer, as many as there are for None; make the padded copy."""
        words = len(buffer) // 8 + 3
        if len(self._words) < words:
            self._words = np.zeros(2 * words, np.uint64)
        characters = np.frombuffer(buffer, np.uint8)
        self._words.view(np.uint8)[: len(buffer)] = characters
        if size is None:
            size = int(np.count_nonzero(characters == ord("\n"))) + 1
        begins, ends = np.empty((2, size), np.int64)
        kernels.find_lines(self._words, len(buffer), begins, ends)
        return _FoundLines(buffer, begins, ends, np.empty(size, np.uint8))

    def _decode_chunk(self, lines: _FoundLines, first: int) -> tuple[dict[str, UInt64s], Int64s]:
        """Parse some lines; return the codes of the good ones' texts, and their numbers."""
        here = slice(first, first + _CHUNK_LINES)
        begins, reasons = lines.begins[here], lines.reasons[here]
        numbers = np.empty((3, len(begins)), np.int64)
        kernels.parse_lines(
            self._words.view(np.uint8),
            self._words,
            begins,
            lines.ends[here],
            self._forwarded_for,
            self._clients is not None,
            self._cut,
            numbers,
            reasons,
        )
        good = np.flatnonzero(reasons == kernels.GOOD)
        is_whole = len(good) == len(begins)
        rows: Int64s | slice = slice(len(begins)) if is_whole else good
        codes = {
            name: self._codes.of(
                lines.buffer, self._words, self._cut[span, 0, rows], self._cut[span, 1, rows]
            )
            for name, span in self._spans.items()
        }
        return codes, numbers[:, rows]

    def _joined(
        self, chunks: Sequence[tuple[dict[str, UInt64s], Int64s]]
    ) -> tuple[dict[str, Column], Int64s]:
        """Return a column a field, and the numbers."""
        none = np.empty((3, 0), np.int64)
        numbers = np.concatenate([none, *(chunk for _, chunk in chunks)], axis=1)
        texts = {
            name: np.concatenate([_NO_CODES, *(codes[name] for codes, _ in chunks)])
            for name in self._spans
        }
        if self._clients:
            texts["client"] = self._clients.of(texts["client"], texts["forwarded_for"])
        columns: dict[str, Column] = {**texts}
        status = numbers[kernels.STATUS]
        columns["status"], columns["bytes"] = status, numbers[kernels.SIZE]
        if "status_class" in self._names:
            known = self._texts.of(_CLASSES, len(_CLASSES))
            classes = status // 100
            columns["status_class"] = known[np.where(classes < len(_CLASSES), classes, 0)]
        return {name: columns[name] for name in self._names}, numbers


@dataclass(slots=True)
class _FoundLines:
    """The lines of a buffer: where they are, and what is wrong with them."""

    buffer: bytes
    begins: Int64s
    ends: Int64s
    reasons: npt.NDArray[np.uint8]

    def cut(self, line: int) -> bytes:
        """Return a line's bytes."""
        return self.buffer[int(self.begins[line]) : int(self.ends[line])]


class _Pieces(Mapping[int, bytes]):
    """The own bytes of each row, cut out when asked for."""

    def __init__(self, lines: _FoundLines, rows: Int64s) -> None:
        self._lines, self._rows = lines, rows

    def __getitem__(self, row: int) -> bytes:
        if row not in range(len(self._rows)):
            raise KeyError(row)
        return self._lines.cut(int(self._rows[row]))

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self._rows)))

    def __len__(self) -> int:
        return len(self._rows)


def _source_of_lines(lines: _FoundLines, payloads: Sequence[bytes]) -> Int64s:
    """Return int64[lines], the index of the payload that each line stands in."""
    sizes = np.fromiter(map(len, payloads), np.int64, len(payloads))
    behind = np.cumsum(sizes + 1)  # where each payload's successor begins
    return np.searchsorted(behind, lines.begins, side="right").astype(np.int64, copy=False)


def _rejects(
    lines: _FoundLines, source: Int64s | None, payloads: Sequence[bytes]
) -> Iterator[Rejected]:
    """Yield what isn't an event: bad lines, and whole payloads where no line is good."""
    is_bad = lines.reasons != kernels.GOOD
    if source is None:
        for line in np.flatnonzero(is_bad).tolist():
            yield _reject(line, int(lines.reasons[line]), lines.cut(line))
        return
    good = np.bincount(source[~is_bad], minlength=len(payloads))
    is_empty = lines.reasons == kernels.EMPTY
    filled = np.bincount(source[~is_empty], minlength=len(payloads))
    # A payload's last line may end with LF, and lines may stand apart: no harm, unless that is all.
    bad = np.flatnonzero(is_bad & ~(is_empty & (filled > 0)[source]))
    payload_of = source[bad]
    rank = np.arange(len(bad)) - np.searchsorted(payload_of, payload_of)
    is_told = rank < np.where(good[payload_of], _MAXIMUM_REJECTS, 1)
    for place in np.flatnonzero(is_told).tolist():
        line, index = int(bad[place]), int(payload_of[place])
        piece = lines.cut(line)
        if not good[index]:
            piece = payloads[index]
        elif rank[place] == _MAXIMUM_REJECTS - 1:
            rest = bad[place : np.searchsorted(payload_of, index, side="right")]
            piece = b"\n".join(map(lines.cut, rest.tolist()))
        yield _reject(index, int(lines.reasons[line]), piece)


def _reject(index: int, number: int, piece: bytes) -> Rejected:
    reason = _REASON_OF[number]
    return Rejected(index, reason, REASONS[reason], piece)

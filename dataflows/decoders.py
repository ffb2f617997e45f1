"""Which decoder a domain's payloads need, and how its events are written out one by one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from dataflows.domain import Domain
from errors import SettingsError
from operators.access_log_seed import SEED_FIELDS, seed_records
from operators.codes import TextCodes
from operators.decode import Decoder, Decodes
from operators.intake import Writes
from operators.spec import Field


def decoder_of(
    domain: Domain, fields: Sequence[Field], time_field: str, texts: TextCodes
) -> Decodes:
    """Make the decoder of a domain.

    Args:
        domain: Whose payloads.
        fields: The fields to decode.
        time_field: The field with the event time, or `ARRIVAL`.
        texts: Where the codes of texts come from.
    """
    if domain.format is None:
        return Decoder(fields, time_field, texts)
    # numba compiles its loops; to load that would add half a second to every other domain's start.
    from operators.access_log_decode import AccessLogDecoder

    return AccessLogDecoder(fields, time_field, texts, domain.format)


def writer_of(domain: Domain, texts: TextCodes) -> Writes:
    """Return what writes a domain's events as rows of their own, decoded with `fields_written`.

    Args:
        domain: Whose events.
        texts: What they were decoded with.

    Raises:
        SettingsError: The domain's events have no such form.
    """
    if domain.format is None:
        msg = f"sinks.events: domain {domain.name} doesn't write out single events"
        raise SettingsError(msg, hint="only access logs do")
    return partial(seed_records, texts=texts)


def fields_written(fields: Sequence[Field]) -> tuple[Field, ...]:
    """Return these fields and all that a written event needs besides."""
    return (*fields, *(field for field in SEED_FIELDS if field not in fields))

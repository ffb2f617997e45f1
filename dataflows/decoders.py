"""Which decoder a domain's payloads need."""

from __future__ import annotations

from collections.abc import Sequence

from dataflows.domain import Domain
from operators.codes import TextCodes
from operators.decode import Decoder, Decodes
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

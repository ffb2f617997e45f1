"""Whether a shard is read more slowly than the stream forgets it.

The service says nothing when what was to be read next has expired: it goes on at its oldest record.
But each reply tells how far behind the tip it is, so it is known up to which moment all has been
read; when that lies further back than the retention at the next request, records are gone.

Limit: MillisBehindLatest and the retention are the service's words, and a record expires when it
likes, so what is told is what may be lost.
"""

from __future__ import annotations

from collections.abc import Callable

_WITHIN_US = 60 * 1_000_000


class RetentionWatch:
    """Watches one shard.

    Args:
        retention_us: How long the stream keeps records, now.
    """

    def __init__(self, retention_us: Callable[[], int]) -> None:
        self._retention_us = retention_us
        self._reached_us: int | None = None  # what arrived before this has been read
        self._is_losing = False

    def loss(self, asked_us: int, behind_ms: int | None) -> str | None:
        """Take a reply in; return, once, why records may be lost.

        Args:
            asked_us: When the reply was asked for.
            behind_ms: How far behind the tip it is; None where the service didn't say.
        """
        if behind_ms is None:
            return None
        why = None
        if self._reached_us is not None:
            expired_us = asked_us - self._retention_us() - self._reached_us
            if expired_us > 0 and not self._is_losing:
                self._is_losing = True
                hours = expired_us / 3.6e9
                why = f"reading has fallen behind the stream's retention, by {hours:.1f} hours"
            elif expired_us < -_WITHIN_US:
                self._is_losing = False
        self._reached_us = asked_us - behind_ms * 1000
        return why

"""The events of an imaginary shop, in the exact shape of the original producer's.

One JSON object an event, every value a string, about 309 bytes: the nine columns of the store's CSV
and `txn_timestamp`, a UTC time without a zone, in ISO form, its fraction absent where it is 0.

Who acts, when, and who attacks is a crowd's (`producers.crowd`), with its guarantees.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from producers.catalogue import stock
from producers.crowd import Crowd, Rows, Traffic
from producers.records import Record

EVENT_TYPES = ("view", "cart", "remove_from_cart", "purchase")
_TYPE_SHARES = np.cumsum((0.93, 0.04, 0.01, 0.02))
_SESSION_BYTES = 16


class Shop(Crowd):
    """A feed of the shop's events.

    Args:
        traffic: How it is visited.
        seed: Where all chance comes from.
    """

    def __init__(self, traffic: Traffic, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._catalogue = stock(rng)
        super().__init__(traffic, rng)

    def _meet(self, people: int) -> None:
        self._sessions = _sessions(self._rng, people)

    def _records(self, rows: Rows) -> list[Record]:
        """Turn rows into text. One pass of plain Python a row: all else is columns."""
        count = len(rows.time_us)
        if not count:
            return []
        products = self._catalogue.draw(self._rng, count).tolist()
        kinds = np.searchsorted(_TYPE_SHARES, self._rng.random(count), side="right")
        seconds, micros = np.divmod(rows.time_us, 1_000_000)
        moments = {s: _second(s) for s in np.unique(seconds).tolist()}
        fragments, categories = self._catalogue.fragments, self._catalogue.category_ids
        sessions = self._sessions
        payloads = [
            f'{{"event_time":"{moments[second][0]}","event_type":"{EVENT_TYPES[kind]}",'
            f'{fragments[product]},"user_id":"{user_id}","user_session":"{sessions[user]}",'
            f'"txn_timestamp":"{moments[second][1]}{f".{micro:06d}" if micro else ""}"}}'.encode()
            for second, micro, kind, product, user, user_id in zip(
                seconds.tolist(),
                micros.tolist(),
                kinds.tolist(),
                products,
                rows.user.tolist(),
                self._ids[rows.user].tolist(),
                strict=True,
            )
        ]
        keys = [categories[product] for product in products]
        return list(map(Record, payloads, keys, rows.attack.tolist()))


def _second(second: int) -> tuple[str, str]:
    """Write a whole second as `event_time` and as the beginning of `txn_timestamp`."""
    moment = datetime.fromtimestamp(second, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC"), moment.strftime("%Y-%m-%dT%H:%M:%S")


def _sessions(rng: np.random.Generator, count: int) -> list[str]:
    """Give everybody a session id, in the form of a UUID."""
    digits = rng.bytes(count * _SESSION_BYTES).hex()
    return [
        f"{d[:8]}-{d[8:12]}-{d[12:16]}-{d[16:20]}-{d[20:]}"
        for d in (digits[at : at + 32] for at in range(0, len(digits), 32))
    ]

"""Changes of imaginary wikis, in the shape of MediaWiki's `recentchange` events (schema 1.0.0).

Who changes what when, and who attacks, is a crowd's (`producers.crowd`), with its guarantees: an
honest user makes at most 4 changes in any 10 s, an attacker makes at least 12 edits of one wiki
within one window. Attackers don't say to be bots; every twenty-fifth honest user does. As in the
stream, log entries have no `id`, a page that is new has no old length, and now and then there is a
test event, whose domain is `canary`. The same seed, start and steps give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from producers.crowd import Crowd, Rows, Traffic
from producers.malformed import CHANGES
from producers.records import NO_ATTACK, Record

EVENTS_PER_SECOND = 50.0
WIKIS = (
    ("wikidatawiki", "www.wikidata.org"),
    ("commonswiki", "commons.wikimedia.org"),
    ("enwiki", "en.wikipedia.org"),
    ("dewiki", "de.wikipedia.org"),
    ("frwiki", "fr.wikipedia.org"),
    ("eswiki", "es.wikipedia.org"),
    ("enwiktionary", "en.wiktionary.org"),
    ("mgwiktionary", "mg.wiktionary.org"),
)
_WIKI_SHARES = np.cumsum((0.4, 0.2, 0.16, 0.07, 0.06, 0.05, 0.04, 0.02))
TYPES = ("edit", "new", "log", "categorize", "external")
_TYPE_SHARES = np.cumsum((0.58, 0.06, 0.07, 0.28, 0.01))
_EDIT, _NEW, _LOG = range(3)
_LENGTHLESS = 2  # from here on types have no length
_BOTS = 25
_CANARIES = 0.001
_PAGES = 200_000
_FIRST_ID = 1_000_000_000
_GREW_BY = 400  # bytes, the standard deviation


@dataclass(frozen=True, slots=True)
class Burst:
    """One user's edits of one wiki: the window's start and how many it holds."""

    user: str
    wiki: str
    window_start: str
    window_start_us: int
    count: int


class Changes(Crowd):
    """A feed of changes.

    Args:
        traffic: How many there are, by whom.
        seed: Where all chance comes from.
    """

    def __init__(self, traffic: Traffic, seed: int) -> None:
        self._honest_users = traffic.users
        self._next_id = _FIRST_ID
        self._next_offset = 0
        super().__init__(traffic, np.random.default_rng(seed), CHANGES)

    @property
    def bursts(self) -> dict[int, Burst]:
        """The attacks so far, by number, with the edits that were given out."""
        return {
            number: Burst(
                self._names[self._honest_users + number],
                WIKIS[self._wiki_of(number)][0],
                attack.window_start,
                attack.window_start_us,
                attack.count,
            )
            for number, attack in self.attacks.items()
        }

    def _meet(self, people: int) -> None:
        honest = self._honest_users
        self._names = [
            f"Bot {number}" if number % _BOTS == 0 else f"User {number}" for number in range(honest)
        ]
        self._names += [f"Vandal {number}" for number in range(people - honest)]

    def _wiki_of(self, attack: int) -> int:
        return attack % len(WIKIS)

    def _records(self, rows: Rows) -> list[Record]:
        """Turn rows into text. One pass of plain Python a row: all else is columns."""
        count = len(rows.time_us)
        rng = self._rng
        wikis = np.searchsorted(_WIKI_SHARES, rng.random(count), side="right")
        wikis = np.minimum(wikis, len(WIKIS) - 1)
        kinds = np.searchsorted(_TYPE_SHARES, rng.random(count), side="right")
        attacking = rows.attack != NO_ATTACK
        wikis[attacking] = rows.attack[attacking] % len(WIKIS)
        kinds[attacking] = _EDIT
        canaries = (rng.random(count) < _CANARIES) & ~attacking
        old = rng.integers(0, 100_000, size=count)
        new = np.maximum(0, old + np.rint(rng.normal(0, _GREW_BY, size=count)).astype(np.int64))
        titles = rng.integers(0, _PAGES, size=count)
        uuids = rng.bytes(count * 16).hex()
        records = []
        for index, (time_us, user, attack, wiki, kind) in enumerate(
            zip(
                rows.time_us.tolist(),
                rows.user.tolist(),
                rows.attack.tolist(),
                wikis.tolist(),
                kinds.tolist(),
                strict=True,
            )
        ):
            name, domain = WIKIS[wiki]
            d = uuids[index * 32 : index * 32 + 32]
            change_id = "" if kind == _LOG else f'"id":{self._next_id},'
            length = ""
            if kind < _LENGTHLESS:
                before = "" if kind == _NEW else f'"old":{old[index]},'
                length = f'"length":{{{before}"new":{new[index]}}},'
            records.append(
                Record(
                    f'{{"$schema":"/mediawiki/recentchange/1.0.0","meta":{{'
                    f'"id":"{d[:8]}-{d[8:12]}-{d[12:16]}-{d[16:20]}-{d[20:]}",'
                    f'"domain":"{"canary" if canaries[index] else domain}",'
                    f'"stream":"mediawiki.recentchange","dt":"{_milliseconds(time_us)}",'
                    f'"topic":"eqiad.mediawiki.recentchange","partition":0,'
                    f'"offset":{self._next_offset}}},{change_id}"type":"{TYPES[kind]}",'
                    f'"namespace":0,"title":"Page {titles[index]}","comment":"",'
                    f'"timestamp":{time_us // 1_000_000},"user":"{self._names[user]}",'
                    f'"bot":{"true" if self._names[user].startswith("Bot ") else "false"},'
                    f'{length}"server_name":"{domain}","wiki":"{name}"}}'.encode(),
                    name,
                    attack,
                )
            )
            self._next_id += 1
            self._next_offset += 1
        return records


def _milliseconds(time_us: int) -> str:
    moment = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_us // 1_000 % 1_000:03d}Z"

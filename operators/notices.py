"""Who is told of an incident: cooldown and storm digest, decided in one place a rule.

All alerts of a rule pass through one `Notices`. It sets each alert's `notice` and holds nothing
back. Beyond `digest_after` notices in a window the rest are gathered, and when every key group has
closed the window one digest names the worst. Both silence notifications only: incidents are
written all the same.
"""

from __future__ import annotations

import heapq
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import metrics
from messages import Alert, Closed, Digest
from operators.event_time import iso_time
from operators.feature_spec import DetectorSpec
from operators.rules import key_text
from operators.spec import Ratio, Threshold
from operators.watermarks import BEGINNING

STATE_VERSION = 1
WORST_NAMED = 10
_US_PER_SECOND = 1_000_000


class Notices:
    """Decides on the notifications of one rule.

    Args:
        spec: The rule or detector.
        domain: The domain's name.
        length_us: The length of the windows it watches; 0 if it watches events.
        groups: Who tells of closed windows: all key groups of the rule's window, or the detector.
        state: What `snapshot` returned, or None.
        notify: Whether anybody is told. A replay tells nobody: what would be published is marked
            `replay` instead, and so it is never published later.
    """

    def __init__(
        self,
        spec: Threshold | Ratio | DetectorSpec,
        domain: str,
        length_us: int,
        groups: Sequence[str],
        state: bytes | None = None,
        *,
        notify: bool = True,
    ) -> None:
        restored: dict[str, Any] = pickle.loads(state) if state is not None else {}
        self._spec = spec
        self._domain = domain
        self._notify = notify
        self._length_us = length_us
        self._cooldown_us = round(spec.cooldown_seconds * _US_PER_SECOND)
        self._notifies = {level.severity for level in spec.levels if level.notify}
        self._watermarks = dict.fromkeys(groups, BEGINNING)
        self._watermarks.update(restored.get("watermarks", {}))
        # Of windows that a group has still open: who was told, and who waits for the digest.
        self._told: dict[int, set[str]] = restored.get("told", {})
        self._gathered: dict[int, dict[str, Alert]] = restored.get("gathered", {})
        self._last_told_us: dict[str, int] = restored.get("last_told_us", {})
        self.ledger: Counter[str] = Counter(restored.get("ledger", {}))

    def take(self, items: Sequence[Alert | Closed]) -> list[Alert | Digest]:
        """Return the alerts with their notices, and the digests of windows that all closed."""
        found: list[Alert | Digest] = []
        moved = False
        for item in items:
            if isinstance(item, Closed):
                known_us = self._watermarks[item.group]
                self._watermarks[item.group] = max(known_us, item.watermark_us)
                moved = True
                continue
            notice = self._decide(item)
            self.ledger[f"alerts.{item.phase}"] += 1
            metrics.incidents.labels(item.domain, item.rule, item.severity, item.phase).inc()
            if notice != "none":
                self.ledger[f"notices.{notice}"] += 1
            found.append(replace(item, notice=notice))
        if moved:
            found.extend(self._close(min(self._watermarks.values())))
        return found

    def snapshot(self) -> bytes:
        """Return the whole state, serialised at once."""
        state = {
            "version": STATE_VERSION,
            "rule": self._spec.name,
            "watermarks": self._watermarks,
            "told": self._told,
            "gathered": self._gathered,
            "last_told_us": self._last_told_us,
            "ledger": dict(self.ledger),
        }
        return pickle.dumps(state, protocol=5)

    def _decide(self, alert: Alert) -> str:
        start_us = alert.window_start_us
        gathered = self._gathered.get(start_us, {})
        if alert.id in gathered:
            gathered[alert.id] = alert  # the digest names its latest value
            return "none"
        told = self._told.setdefault(start_us, set())
        silent = alert.severity not in self._notifies or alert.id in told
        if silent or (alert.partial and alert.phase == "final"):
            return "none"
        if not self._notify:
            told.add(alert.id)
            return "replay"
        if self._is_cooling(alert):
            return "cooldown"
        if len(told) >= self._spec.digest_after:
            self._gathered.setdefault(start_us, {})[alert.id] = alert
            return "digest"
        told.add(alert.id)
        if self._cooldown_us:
            self._last_told_us[key_text(alert.key)] = start_us
        return "publish"

    def _is_cooling(self, alert: Alert) -> bool:
        last_us = self._last_told_us.get(key_text(alert.key))
        if not self._cooldown_us or last_us is None:
            return False
        return abs(alert.window_start_us - last_us) < self._cooldown_us

    def _close(self, watermark_us: int) -> Iterator[Digest]:
        latest_us = watermark_us - self._length_us
        closed = sorted(start_us for start_us in self._told if start_us <= latest_us)
        for start_us in closed:
            del self._told[start_us]
            gathered = self._gathered.pop(start_us, None)
            if not gathered:
                continue
            self.ledger["digests"] += 1
            worst = heapq.nsmallest(
                WORST_NAMED, gathered.values(), key=lambda alert: (-float(alert.value), alert.id)
            )
            yield Digest(
                id=f"{self._domain}/{self._spec.name}/digest/{iso_time(start_us)}",
                domain=self._domain,
                rule=self._spec.name,
                window_start_us=start_us,
                window_end_us=worst[0].window_end_us,
                incidents=len(gathered),
                worst=tuple(worst),
            )
        horizon_us = watermark_us - 2 * self._cooldown_us
        cold = [key for key, last_us in self._last_told_us.items() if last_us < horizon_us]
        for key in cold:
            del self._last_told_us[key]

"""Alert once: an anomaly that goes on is one alert, not one for each point of it.

An **episode** begins with an alarming point and ends when none has come for the quiet period, in
event time. Only its first point is told of.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from messages import Int64s


class Quiet:
    """Finds where episodes begin, on one stream.

    Args:
        quiet_us: The quiet period in microseconds; 0 makes each alarming point an episode.

    Attributes:
        last_us: The event time of the last alarming point, or None.
    """

    __slots__ = ("_quiet_us", "last_us")

    def __init__(self, quiet_us: int) -> None:
        if quiet_us < 0:
            msg = f"quiet_us is {quiet_us}: it must be 0 or more"
            raise ValueError(msg)
        self._quiet_us = quiet_us
        self.last_us: int | None = None

    def first(self, alarming: npt.NDArray[np.bool_], times_us: Int64s) -> npt.NDArray[np.bool_]:
        """Tell which points begin an episode.

        Args:
            alarming: Which points are alarming, bool [n].
            times_us: Their event times in microseconds, int64 [n]. One that lies before an earlier
                point's counts as that point's.

        Returns:
            bool [n], true only where `alarming` is, the same whatever batches the points come in.
        """
        found = np.zeros(len(alarming), np.bool_)
        for row in np.flatnonzero(alarming):
            now_us = int(times_us[row])
            if self.last_us is not None:
                now_us = max(now_us, self.last_us)
            found[row] = self.last_us is None or now_us - self.last_us >= self._quiet_us
            self.last_us = now_us
        return found

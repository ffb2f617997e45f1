"""How hard property tests try: so many examples in a test run, forty times as many in a soak."""

from __future__ import annotations

from hypothesis import settings

EXAMPLES = 100
"""What counts are given for; a test run takes half of them, to end within its six minutes."""
RUN_EXAMPLES = EXAMPLES // 2
SOAK_EXAMPLES = 20 * EXAMPLES


def examples(count: int) -> int:
    """Return how many examples a test tries: `count` where others try `EXAMPLES`."""
    profile = settings.default
    assert profile is not None, "hypothesis always has one"
    return count * profile.max_examples // EXAMPLES

"""How hard property tests try: so many examples in a test run, twenty times as many in a soak."""

from __future__ import annotations

from hypothesis import settings

EXAMPLES = 100
SOAK_EXAMPLES = 20 * EXAMPLES


def examples(count: int) -> int:
    """Return how many examples a test tries that needs `count` in a test run."""
    profile = settings.default
    assert profile is not None, "hypothesis always has one"
    return count * profile.max_examples // EXAMPLES

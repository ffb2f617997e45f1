"""Columns of event times against `datetime`, which formats what is parsed here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from operators.event_time import parse_times

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SEPARATORS = st.sampled_from("T ")
moments = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31, 23, 59, 59))  # noqa: DTZ001
fine_moments = st.one_of(
    moments,
    # What real blocks hold: one day, or one hour.
    st.datetimes(min_value=datetime(2026, 2, 28, 23), max_value=datetime(2026, 3, 1, 1)),  # noqa: DTZ001
)


@st.composite
def common_times(draw: st.DrawFn) -> tuple[str, datetime]:
    """A text of a common layout, and what it says."""
    moment = draw(fine_moments)
    places = draw(st.integers(0, 6))
    fraction = f"{moment.microsecond:06d}"[:places]
    moment = moment.replace(microsecond=int(fraction.ljust(6, "0")), tzinfo=UTC)
    seconds = moment.strftime("%m-%d{}%H:%M:%S").format(draw(SEPARATORS))
    suffix = draw(st.sampled_from(["", "Z", " UTC"]))
    return f"{moment.year:04d}-{seconds}{'.' if places else ''}{fraction}{suffix}", moment


@st.composite
def zoned_times(draw: st.DrawFn) -> tuple[str, datetime]:
    zone = timezone(timedelta(minutes=draw(st.integers(-24 * 60 + 1, 24 * 60 - 1))))
    moment = draw(moments).replace(tzinfo=zone)
    return moment.isoformat(draw(SEPARATORS)), moment


def told(text: str) -> datetime | None:
    """What Python's own parser says of any text."""
    try:
        moment = datetime.fromisoformat(text.strip().removesuffix(" UTC"))
    except ValueError:
        return None
    if not 1 < moment.year < 9999:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@st.composite
def damaged_times(draw: st.DrawFn) -> tuple[str, datetime | None]:
    """A common layout with one character changed, added or taken out; often no time any more."""
    text, _ = draw(common_times())
    place = draw(st.integers(0, len(text)))
    character = draw(st.sampled_from("0123456789-:.TZ UC/é٣\x00+"))
    cut = draw(st.integers(0, 1))
    text = text[:place] + character + text[place + cut :]
    return text, told(text)


columns = st.lists(
    st.one_of(common_times(), common_times(), zoned_times(), damaged_times()), max_size=30
)


@given(columns)
def test_a_column_says_what_datetime_says(column: list[tuple[str, datetime | None]]) -> None:
    times_us, valid = parse_times([text for text, _ in column])
    assert valid.tolist() == [moment is not None for _, moment in column]
    for (_, moment), time_us in zip(column, times_us.tolist(), strict=True):
        if moment is not None:
            assert EPOCH + timedelta(microseconds=time_us) == moment


@given(columns)
def test_a_text_means_the_same_whatever_stands_beside_it(
    column: list[tuple[str, datetime | None]],
) -> None:
    texts = [text for text, _ in column]
    times_us, valid = parse_times(texts)
    for row, text in enumerate(texts):
        alone_us, is_valid = parse_times([text])
        assert is_valid[0] == valid[row]
        assert not valid[row] or alone_us[0] == times_us[row]

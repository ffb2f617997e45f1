"""The helpers of templates: what they take is checked once, what they make is drawn each time.

They are those of the Kinesis Data Generator (faker.js with `date.now`, `date.utc` and
`random.weightedArrayElement` added) that are used most. Ranges include both ends, as there. All
chance comes from the generator in `Draw`, the time from its clock: the same seed gives the same
records.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from types import MappingProxyType
from typing import Any
from uuid import UUID

from producers import template_words as words

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DEFAULT_MAXIMUM = 99_999
_MOST_PLACES = 15


@dataclass(frozen=True, slots=True)
class Draw:
    """What a record is made with.

    Attributes:
        rng: Where chance comes from.
        now_us: The event's time, in microseconds since the epoch.
    """

    rng: random.Random
    now_us: int


Made = Callable[[Draw], str]
# `Any`: whatever JSON holds; each helper checks its own.
Helper = Callable[..., Made]


def _number(given: Any = _DEFAULT_MAXIMUM) -> Made:
    low, high, precision = _range(given, {"min": 0, "max": _DEFAULT_MAXIMUM, "precision": 1})
    steps = round((high - low) / precision)
    if all(float(one).is_integer() for one in (low, high, precision)):
        first, step = int(low), int(precision)
        return lambda draw: str(first + step * draw.rng.randint(0, steps))
    places = _places(precision)
    return lambda draw: f"{low + precision * draw.rng.randint(0, steps):.{places}f}"


def _float(given: Any = _DEFAULT_MAXIMUM) -> Made:
    low, high, precision = _range(given, {"min": 0, "max": _DEFAULT_MAXIMUM, "precision": 0.01})
    steps, places = round((high - low) / precision), _places(precision)
    return lambda draw: f"{low + precision * draw.rng.randint(0, steps):.{places}f}"


def _money(low: Any = 0, high: Any = 1000, places: Any = 2) -> Made:
    if isinstance(low, dict):
        low, high, places = (low.get(*one) for one in (("min", 0), ("max", 1000), ("dec", 2)))
    low, high, _ = _range({"min": low, "max": high}, {"min": 0, "max": 0, "precision": 1})
    if not isinstance(places, int) or not 0 <= places <= _MOST_PLACES:
        msg = "the number of places must be a whole number from 0"
        raise ValueError(msg)
    return lambda draw: f"{draw.rng.uniform(low, high):.{places}f}"


def _array_element(choices: Any = ("a", "b", "c")) -> Made:
    texts = _texts(choices)
    return lambda draw: draw.rng.choice(texts)


def _weighted_array_element(given: Any) -> Made:
    if not isinstance(given, dict) or given.keys() != {"weights", "data"}:
        msg = 'takes {"weights": [...], "data": [...]}'
        raise ValueError(msg)
    texts, weights = _texts(given["data"]), given["weights"]
    if not isinstance(weights, list) or len(weights) != len(texts):
        msg = "needs as many weights as data"
        raise ValueError(msg)
    if not all(map(_is_number, weights)) or min(weights) < 0 or not sum(weights):
        msg = "the weights must be numbers from 0, and not all 0"
        raise ValueError(msg)
    sums = list(accumulate(weights))
    return lambda draw: draw.rng.choices(texts, cum_weights=sums)[0]


def _now(layout: Any = None) -> Made:
    if layout is None:
        return lambda draw: _moment(draw).isoformat().replace("+00:00", "Z")
    if not isinstance(layout, str):
        msg = 'takes a format, as "YYYY-MM-DD HH:mm:ss"'
        raise ValueError(msg)
    parts = [_TOKENS.get(token) or _literal(token.strip("[]")) for token in _TOKEN.findall(layout)]
    return lambda draw: "".join([part(moment) for moment in (_moment(draw),) for part in parts])


def _alpha_numeric(count: Any = 1) -> Made:
    if not isinstance(count, int) or not 0 < count <= words.LONGEST:
        msg = f"takes how many characters: 1 to {words.LONGEST:,}"
        raise ValueError(msg)
    return lambda draw: "".join(draw.rng.choices(words.ALPHA_NUMERIC, k=count))


def _one_of(choices: Sequence[str]) -> Helper:
    return lambda: lambda draw: draw.rng.choice(choices)


def _plain(make: Callable[[random.Random], str]) -> Helper:
    return lambda: lambda draw: make(draw.rng)


HELPERS: Mapping[str, Helper] = MappingProxyType(
    {
        "address.city": _one_of(words.CITIES),
        "address.country": _one_of(tuple(words.COUNTRIES.values())),
        "address.countryCode": _one_of(tuple(words.COUNTRIES)),
        "address.latitude": _plain(lambda rng: f"{rng.uniform(-90, 90):.4f}"),
        "address.longitude": _plain(lambda rng: f"{rng.uniform(-180, 180):.4f}"),
        "address.streetAddress": _plain(words.street_address),
        "address.zipCode": _plain(lambda rng: f"{rng.randrange(100_000):05d}"),
        "commerce.color": _one_of(words.COLORS),
        "commerce.department": _one_of(words.DEPARTMENTS),
        "commerce.price": _money,
        "commerce.product": _one_of(words.PRODUCTS),
        "commerce.productName": _plain(words.product_name),
        "company.companyName": _plain(words.company_name),
        "date.now": _now,
        "date.utc": _now,
        "finance.amount": _money,
        "finance.currencyCode": _one_of(words.CURRENCIES),
        "finance.transactionType": _one_of(words.TRANSACTIONS),
        "internet.domainName": _plain(words.domain_name),
        "internet.email": _plain(words.email),
        "internet.ip": _plain(lambda rng: ".".join(str(rng.randrange(256)) for _ in range(4))),
        "internet.ipv6": _plain(
            lambda rng: ":".join(f"{rng.randrange(65_536):04x}" for _ in "8" * 8)
        ),
        "internet.url": _plain(lambda rng: f"https://{words.domain_name(rng)}"),
        "internet.userAgent": _one_of(words.USER_AGENTS),
        "internet.userName": _plain(words.user_name),
        "lorem.sentence": _plain(words.sentence),
        "lorem.word": _one_of(words.LOREM),
        "name.findName": _plain(lambda rng: f"{rng.choice(words.FIRST)} {rng.choice(words.LAST)}"),
        "name.firstName": _one_of(words.FIRST),
        "name.lastName": _one_of(words.LAST),
        "phone.phoneNumber": _plain(words.phone_number),
        "random.alphaNumeric": _alpha_numeric,
        "random.arrayElement": _array_element,
        "random.boolean": _one_of(("true", "false")),
        "random.float": _float,
        "random.number": _number,
        "random.uuid": _plain(lambda rng: str(UUID(int=rng.getrandbits(128), version=4))),
        "random.weightedArrayElement": _weighted_array_element,
        "random.word": _one_of(words.LOREM),
    }
)
"""What can stand in `{{...}}`: takes the arguments, and raises ValueError if they don't fit."""


# ---- arguments ----------------------------------------------------------------------------------


def _range(given: Any, defaults: Mapping[str, float]) -> tuple[float, float, float]:
    values = given if isinstance(given, dict) else {"max": given}
    if not values.keys() <= defaults.keys() or not all(map(_is_number, values.values())):
        msg = f"takes a number, or an object of numbers {', '.join(defaults)}"
        raise ValueError(msg)
    low, high, precision = ({**defaults, **values}[name] for name in ("min", "max", "precision"))
    if low > high:
        msg = f"from {low:g} to {high:g} there is nothing"
        raise ValueError(msg)
    if not precision > 0:
        msg = f"the precision must be above 0, is {precision:g}"
        raise ValueError(msg)
    return low, high, precision


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _places(precision: float) -> int:
    return next(n for n in range(_MOST_PLACES + 1) if n == _MOST_PLACES or round(precision, n) > 0)


def _texts(choices: Any) -> list[str]:
    if not isinstance(choices, list | tuple) or not choices:
        msg = 'takes a list, as ["a", "b"]'
        raise ValueError(msg)
    return [one if isinstance(one, str) else json.dumps(one) for one in choices]


# ---- times --------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"\[[^\]]*\]|YYYY|YY|MMMM|MMM|MM?|DD?|dddd|ddd|HH?|hh?|mm?|ss?|S{1,6}|A|a|ZZ?|X|x|.", re.DOTALL
)


def _literal(text: str) -> Callable[[datetime], str]:
    return lambda _: text


def _fraction(digits: int) -> Callable[[datetime], str]:
    return lambda moment: f"{moment.microsecond:06d}"[:digits]


def _moment(draw: Draw) -> datetime:
    return _EPOCH + timedelta(microseconds=draw.now_us)


def _twelve(moment: datetime) -> int:
    return moment.hour % 12 or 12


_TOKENS: dict[str, Callable[[datetime], str]] = {
    "YYYY": lambda moment: f"{moment.year:04d}",
    "YY": lambda moment: f"{moment.year % 100:02d}",
    "MMMM": lambda moment: words.MONTHS[moment.month - 1],
    "MMM": lambda moment: words.MONTHS[moment.month - 1][:3],
    "MM": lambda moment: f"{moment.month:02d}",
    "M": lambda moment: str(moment.month),
    "DD": lambda moment: f"{moment.day:02d}",
    "D": lambda moment: str(moment.day),
    "dddd": lambda moment: words.WEEKDAYS[moment.weekday()],
    "ddd": lambda moment: words.WEEKDAYS[moment.weekday()][:3],
    "HH": lambda moment: f"{moment.hour:02d}",
    "H": lambda moment: str(moment.hour),
    "hh": lambda moment: f"{_twelve(moment):02d}",
    "h": lambda moment: str(_twelve(moment)),
    "mm": lambda moment: f"{moment.minute:02d}",
    "m": lambda moment: str(moment.minute),
    "ss": lambda moment: f"{moment.second:02d}",
    "s": lambda moment: str(moment.second),
    **{"S" * digits: _fraction(digits) for digits in range(1, 7)},
    "A": lambda moment: "AM" if moment.hour < 12 else "PM",
    "a": lambda moment: "am" if moment.hour < 12 else "pm",
    "Z": lambda _: "+00:00",
    "ZZ": lambda _: "+0000",
    "X": lambda moment: str(int(moment.timestamp())),
    "x": lambda moment: str((moment - _EPOCH) // timedelta(milliseconds=1)),
}
"""Parts of a time's format as moment.js names them."""

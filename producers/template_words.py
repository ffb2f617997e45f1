"""Words that helpers of templates choose among: invented people, places and things."""

from __future__ import annotations

import random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ALPHA_NUMERIC = "0123456789abcdefghijklmnopqrstuvwxyz"
LONGEST = 10_000
MONTHS = _words(
    "January February March April May June July August September October November December"
)
WEEKDAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
FIRST = _words(
    "Ada Ana Amir Bao Carla Chen Dana Elif Emma Farid Grace Hana Ivan Jonas Kofi Lena Linh Maria "
    "Mei Noah Olga Omar Priya Rosa Sam Sofia Tariq Uma Wei Yusuf"
)
LAST = _words(
    "Abebe Adams Andersen Baker Chan Costa Diaz Fischer Garcia Haddad Ito Jansen Kaya Kim Kowalski "
    "Lopez Martin Meyer Moreau Nguyen Novak Okafor Patel Rossi Silva Smith Tan Weber Wilson Young"
)
CITIES = _words(
    "Accra Austin Berlin Bogota Cairo Chennai Dakar Denver Hanoi Jakarta Lagos Lima Lisbon Manila "
    "Nairobi Osaka Oslo Penang Quito Seattle Sydney Toronto Vienna Warsaw"
)
COUNTRIES = {
    "AU": "Australia", "BR": "Brazil", "CA": "Canada", "CN": "China", "DE": "Germany",
    "FR": "France", "GB": "United Kingdom", "ID": "Indonesia", "IN": "India", "JP": "Japan",
    "KE": "Kenya", "MX": "Mexico", "MY": "Malaysia", "NG": "Nigeria", "PH": "Philippines",
    "SG": "Singapore", "TH": "Thailand", "US": "United States of America", "VN": "Vietnam",
    "ZA": "South Africa",
}  # fmt: skip
COLORS = _words("azure black blue cyan gold green grey ivory lime olive orange pink red teal white")
DEPARTMENTS = _words("Automotive Baby Beauty Books Clothing Garden Grocery Health Home Music Toys")
PRODUCTS = _words("Ball Bike Car Chair Computer Gloves Hat Keyboard Mouse Pants Shirt Shoes Table")
MATERIALS = _words("Concrete Cotton Fresh Frozen Granite Metal Plastic Rubber Soft Steel Wooden")
MANNERS = _words("Awesome Ergonomic Fantastic Generic Handmade Incredible Licensed Rustic Sleek")
CURRENCIES = _words("AUD BRL CAD CHF CNY EUR GBP IDR INR JPY MYR PHP SGD THB USD VND ZAR")
TRANSACTIONS = _words("deposit invoice payment withdrawal")
LOREM = _words(
    "alias amet aut autem culpa dicta dolor dolorem eius enim error est et eum ex fuga hic id illo "
    "in ipsa ipsum iste iure labore magni modi nam natus nemo nisi non odio odit omnis quae qui quo"
)
USER_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/124.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_4) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.4 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/17.4 Mobile/15E148 Safari/604.1",
)


def street_address(rng: random.Random) -> str:
    """Make a street and a number in it."""
    return f"{rng.randint(1, 999)} {rng.choice(LAST)} {rng.choice(('Street', 'Road', 'Lane'))}"


def product_name(rng: random.Random) -> str:
    """Make a product's name."""
    return " ".join(map(rng.choice, (MANNERS, MATERIALS, PRODUCTS)))


def company_name(rng: random.Random) -> str:
    """Make a company's name."""
    return f"{rng.choice(LAST)} {rng.choice(('Group', 'Inc', 'LLC', 'and Sons'))}"


def domain_name(rng: random.Random) -> str:
    """Make a name below example.com, which is nobody's."""
    return f"{rng.choice(LAST).lower()}.example.com"


def user_name(rng: random.Random) -> str:
    """Make a login."""
    return f"{rng.choice(FIRST)}.{rng.choice(LAST)}{rng.randrange(100)}".lower()


def email(rng: random.Random) -> str:
    """Make an address below example.com."""
    return f"{user_name(rng)}@example.com"


def sentence(rng: random.Random) -> str:
    """Make a sentence that says nothing."""
    return " ".join(rng.choices(LOREM, k=rng.randint(3, 10))).capitalize() + "."


def phone_number(rng: random.Random) -> str:
    """Make a number that is kept for fiction."""
    return f"{rng.randint(200, 999)}-555-01{rng.randrange(100):02d}"

"""What the imaginary shop sells: categories, brands, products and their prices.

Modelled on the public multi-category store data that the original pipeline replays: codes of up to
three levels, a third of the traffic without a category code, some of it without a brand, phones far
ahead of everything else, and prices spread log-normally around a category's median.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from messages import Int64s

PRODUCTS_PER_CATEGORY = 24
_PRICE_SPREAD = 0.55
_FIRST_CATEGORY_ID = 2_053_013_550_000_000_000
_FIRST_PRODUCT_ID = 1_000_000
_PRODUCT_IDS = 60_000_000

# Category code, its share of the traffic, median price, brands by popularity ("" is none).
_CATEGORIES: tuple[tuple[str, float, float, str], ...] = (
    ("electronics.smartphone", 31.0, 345, "samsung apple xiaomi huawei oppo nokia"),
    ("", 9.0, 80, "- lucente xiaomi cordiant bosch triangle luminarc"),
    ("", 8.0, 52, "- oasis force redmond vitek"),
    ("", 7.0, 120, "- stels janome karcher polaris artel"),
    ("", 6.0, 31, "- sv dauscher elenberg"),
    ("", 4.0, 210, "- casio tissot citizen"),
    ("electronics.audio.headphone", 3.0, 52, "apple xiaomi samsung elari jbl ritmix"),
    ("computers.notebook", 2.9, 502, "lenovo acer hp asus dell apple"),
    ("electronics.clocks", 2.2, 180, "casio samsung apple xiaomi longines -"),
    ("electronics.video.tv", 2.0, 380, "samsung lg artel yasin haier sony"),
    ("appliances.environment.air_heater", 1.6, 33, "oasis elenberg electrolux ballu midea -"),
    ("appliances.kitchen.washer", 1.6, 309, "samsung lg indesit midea hotpoint-ariston beko"),
    ("appliances.environment.vacuum", 1.2, 167, "karcher samsung xiaomi gorenje bosch philips"),
    ("appliances.kitchen.refrigerators", 1.0, 312, "indesit lg midea haier atlant -"),
    ("apparel.shoes.keds", 1.0, 65, "respect strobbs baden asics nike -"),
    ("appliances.environment.water_heater", 0.8, 91, "ariston artel haier teploross aqua -"),
    ("computers.desktop", 0.8, 692, "pulser acer trust polaris smart"),
    ("auto.accessories.alarm", 0.8, 110, "starline tomahawk centurion"),
    ("auto.accessories.player", 0.7, 95, "- jvc pioneer kenwood swat winca"),
    ("computers.components.hdd", 0.7, 60, "seagate wd toshiba"),
    ("computers.peripherals.monitor", 0.6, 103, "samsung lg acer aoc philips"),
    ("appliances.kitchen.meat_grinder", 0.6, 53, "vitek bosch redmond polaris"),
    ("electronics.tablet", 0.6, 230, "samsung apple lenovo huawei"),
    ("computers.components.videocards", 0.5, 191, "palit msi gigabyte asus"),
    ("furniture.living_room.cabinet", 0.5, 140, "- brw sokme"),
    ("furniture.living_room.sofa", 0.5, 528, "- brw"),
    ("auto.accessories.videoregister", 0.5, 70, "xiaomi artway navitel -"),
    ("appliances.kitchen.blender", 0.5, 41, "braun philips scarlett vitek"),
    ("appliances.kitchen.mixer", 0.4, 41, "bosch vitek scarlett"),
    ("appliances.kitchen.microwave", 0.4, 86, "samsung lg artel elenberg"),
    ("appliances.iron", 0.4, 48, "philips tefal braun redmond"),
    ("electronics.telephone", 0.4, 38, "texet nokia prestigio"),
    ("construction.tools.drill", 0.4, 86, "bosch makita interskol"),
    ("construction.tools.welding", 0.4, 130, "resanta fubag -"),
    ("construction.tools.saw", 0.4, 99, "makita bosch huter"),
    ("construction.tools.pump", 0.3, 58, "karcher gardena -"),
    ("kids.carriage", 0.4, 190, "- bebetto tutis"),
    ("kids.toys", 0.3, 49, "lego hasbro -"),
    ("computers.peripherals.printer", 0.4, 160, "hp canon epson"),
    ("furniture.kitchen.table", 0.3, 154, "- sokme"),
    ("furniture.bedroom.bed", 0.3, 145, "- brw"),
    ("furniture.living_room.chair", 0.3, 70, "- halmar"),
    ("furniture.bathroom.toilet", 0.2, 73, "cersanit roca -"),
    ("apparel.shoes", 0.5, 73, "respect baden crocs -"),
    ("apparel.shoes.slipons", 0.2, 48, "crocs baden -"),
    ("sport.bicycle", 0.3, 270, "stels forward -"),
    ("stationery.cartrige", 0.1, 25, "hp canon"),
    ("country_yard.lawn_mower", 0.1, 210, "huter makita"),
)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Products as columns, ready to be put into events.

    Attributes:
        fragments: A product's fields as JSON text, from `"product_id"` to `"price"`.
        category_ids: As many; the seed's partition key.
        popularity: float64, as many, ascending to 1: the cumulated share of the traffic.
    """

    fragments: tuple[str, ...]
    category_ids: tuple[str, ...]
    popularity: np.ndarray

    def draw(self, rng: np.random.Generator, count: int) -> Int64s:
        """Draw products by their popularity."""
        found = np.searchsorted(self.popularity, rng.random(count), side="right")
        return found.astype(np.int64)


def stock(rng: np.random.Generator) -> Catalogue:
    """Fill the shelves."""
    fragments: list[str] = []
    categories: list[str] = []
    weights: list[float] = []
    within = 1 / np.arange(1, PRODUCTS_PER_CATEGORY + 1)
    product_ids = rng.choice(
        _PRODUCT_IDS, size=len(_CATEGORIES) * PRODUCTS_PER_CATEGORY, replace=False
    )
    for number, (code, share, median, names) in enumerate(_CATEGORIES):
        category_id = str(_FIRST_CATEGORY_ID + int(rng.integers(10**9, 9 * 10**9)))
        brands = ["" if name == "-" else name for name in names.split()]
        brand_weights = 1 / np.arange(1, len(brands) + 1)
        chosen = rng.choice(
            len(brands), size=PRODUCTS_PER_CATEGORY, p=brand_weights / brand_weights.sum()
        )
        prices = median * rng.lognormal(0, _PRICE_SPREAD, size=PRODUCTS_PER_CATEGORY)
        for rank in range(PRODUCTS_PER_CATEGORY):
            product_id = _FIRST_PRODUCT_ID + product_ids[number * PRODUCTS_PER_CATEGORY + rank]
            fragments.append(
                f'"product_id":"{product_id}","category_id":"{category_id}",'
                f'"category_code":"{code}","brand":"{brands[chosen[rank]]}",'
                f'"price":"{prices[rank]:.2f}"'
            )
            categories.append(category_id)
        weights.extend(share * within / within.sum())
    popularity = np.cumsum(weights)
    return Catalogue(tuple(fragments), tuple(categories), popularity / popularity[-1])

"""An application's clicks: how far visitors come towards a checkout, and bursts of one customer."""

from dataflows.domain import Domain
from operators.decode import ARRIVAL
from operators.filter_spec import Where
from operators.spec import Field, Level, Threshold, Window
from operators.value_spec import Count, Distinct, First, Last, Mean, Sum, Value

CHECKED_OUT = Where("event_type", "checkout")

# A minute's events at each step; they needn't be the same customers'.
FUNNEL: tuple[Value, ...] = (
    Count("searches", Where("event_type", "search")),
    Count("views", Where("event_type", "viewDetail")),
    Count("carts", Where("event_type", "addToCart")),
    Count("checkouts", CHECKED_OUT),
)
SALES: tuple[Value, ...] = (
    Count("events"),
    Count("checkouts", CHECKED_OUT),
    Sum("amount", of="amount", where=CHECKED_OUT),
)

CLICKSTREAM = Domain(
    name="clickstream",
    summary="An application's clicks: the funnel to a checkout, amounts, and customers' bursts.",
    fields=(
        Field("customer_id", "text", path="customerId", doc="Who clicked."),
        Field("ip_address", "text", required=False, path="ipAddress", doc="From where."),
        Field("country_code", "text", required=False, path="countryCode", doc="As US or SG."),
        Field("gender", "text", required=False, doc="M, F or empty."),
        Field(
            "traffic_origin",
            "text",
            required=False,
            path="trafficOrigin",
            doc="What led here: webAd, mobileAd, search, direct or email.",
        ),
        Field(
            "event_type",
            "text",
            path="event.type",
            doc="search, viewDetail, addToCart, checkout, addToWishlist or removeFromCart.",
        ),
        Field("product", "text", required=False, path="event.product", doc="As shoes, or empty."),
        Field(
            "amount",
            "decimal",
            required=False,
            scale=2,
            path="event.amount",
            doc="What the click was about, in the shop's currency.",
        ),
    ),
    times=(ARRIVAL, "timestamp"),
    windows=(
        Window(
            name="customers_10s",
            length_seconds=10,
            key=("customer_id",),
            values=(
                Count("events"),
                Distinct("addresses", of="ip_address"),
                First("first_seen"),
                Last("last_seen"),
            ),
            emit=False,
            groups=8,
            doc="What each customer did in 10 s; feeds the rule burst.",
        ),
        Window(
            name="funnel_60s",
            length_seconds=60,
            key=(),
            values=(Count("events"), *FUNNEL, Distinct("customers", of="customer_id")),
            groups=1,
            doc="How many events of a minute were a step towards a checkout.",
        ),
        Window(
            name="products_60s",
            length_seconds=60,
            key=("product",),
            values=(*FUNNEL, Sum("amount", of="amount", where=CHECKED_OUT)),
            groups=1,
            doc="The same of each product, the empty one too, and what it brought.",
        ),
        Window(
            name="countries_60s",
            length_seconds=60,
            key=("country_code",),
            values=(*SALES, Mean("mean_amount", of="amount", where=CHECKED_OUT)),
            groups=1,
            doc="Checkouts of a minute by country.",
        ),
        Window("genders_60s", 60, ("gender",), SALES, groups=1, doc="The same by gender."),
        Window("origins_60s", 60, ("traffic_origin",), SALES, groups=1, doc="By what led here."),
    ),
    rules=(
        Threshold(
            name="burst",
            window="customers_10s",
            value="events",
            levels=(Level("warning", above=20), Level("high", above=40, notify=True)),
            cooldown_seconds=60,
            subject_template="Customer {customer_id} made {value} clicks in 10 s",
            doc="One customer who clicks faster than people do: a script.",
        ),
    ),
)

"""What is true of the shop: places, goods, versions, campaigns, rates, and the one afternoon when its checkout failed.

Everything that a test, an anomaly detector or a reader of the demo may want to know beforehand stands here.
"""

import datetime as dt
from typing import NamedTuple

from headwater.domain.events import DAY_US, us_of

HOUR_US = 3_600_000_000
DAYS = 90
EVENTS = 1_000_000

TRIAL_DAYS = 14
RENEWAL_DAYS = 30
FOUNDERS_PER_EVENT = 0.003
"""Customers that the shop has on its first day, per event of the demo; the same ones return in the live trickle."""
PEOPLE_MAX = 60_000
"""Beyond it a new visitor takes the place of a random older one, so that memory stays flat."""
EVENTS_PER_VISIT = 10.3
"""Events that one visit brings on average, follow-ups (refunds, renewals, mail) included; measured, see tests."""


class Country(NamedTuple):
    code: str
    share: float
    """Of all visits; roughly one over the rank."""
    utc_offset_hours: int
    currency: str
    rate: float
    """Units of the currency for one euro."""
    digits: int
    """Decimals of a price in it."""
    cities: tuple[str, ...]


COUNTRIES = (
    Country("DE", 0.265, 1, "EUR", 1.0, 2, ("Berlin", "Hamburg", "Leipzig", "Munich")),
    Country("US", 0.190, -5, "USD", 1.09, 2, ("New York", "Chicago", "Austin", "Seattle")),
    Country("GB", 0.120, 0, "GBP", 0.86, 2, ("London", "Leeds", "Bristol")),
    Country("FR", 0.090, 1, "EUR", 1.0, 2, ("Paris", "Lyon", "Nantes")),
    Country("ES", 0.070, 1, "EUR", 1.0, 2, ("Madrid", "Valencia")),
    Country("IT", 0.060, 1, "EUR", 1.0, 2, ("Milan", "Turin")),
    Country("NL", 0.050, 1, "EUR", 1.0, 2, ("Utrecht", "Rotterdam")),
    Country("PL", 0.040, 1, "PLN", 4.3, 2, ("Warsaw", "Gdansk")),
    Country("BR", 0.035, -3, "BRL", 5.9, 2, ("Recife", "Curitiba")),
    Country("SE", 0.030, 1, "SEK", 11.4, 2, ("Malmo", "Uppsala")),
    Country("JP", 0.027, 9, "JPY", 162.0, 0, ("Osaka", "Sendai")),
    Country("IN", 0.023, 5, "INR", 91.0, 0, ("Pune", "Kochi")),
)


class Product(NamedTuple):
    sku: str
    category: str
    euros: float


PRODUCTS = (
    Product("espresso-no-3", "coffee", 14.90),
    Product("filter-blend", "coffee", 11.50),
    Product("decaf-andes", "coffee", 13.20),
    Product("single-origin-yirga", "coffee", 17.80),
    Product("sencha", "tea", 9.90),
    Product("earl-grey", "tea", 7.40),
    Product("masala-chai", "tea", 8.60),
    Product("rooibos", "tea", 6.90),
    Product("hand-grinder", "gear", 64.00),
    Product("electric-grinder", "gear", 189.00),
    Product("pour-over-set", "gear", 39.50),
    Product("gooseneck-kettle", "gear", 74.00),
    Product("french-press", "gear", 29.90),
    Product("milk-frother", "gear", 24.50),
    Product("cup-pair", "table", 19.00),
    Product("teapot", "table", 34.00),
    Product("dark-chocolate", "pantry", 4.20),
    Product("almond-biscuits", "pantry", 5.60),
    Product("honey", "pantry", 8.10),
    Product("oat-drink-6", "pantry", 12.60),
)
"""Popularity falls with the rank inside this list."""

QUERIES = ("coffee beans", "grinder", "decaf", "green tea", "gift", "kettle", "filter paper", "oat", "chai", "cups")
FEATURES = ("taste_quiz", "brew_timer", "wishlist", "order_again", "delivery_slot", "recipe_book")
TICKETS = ("delivery_late", "damaged_item", "billing", "how_to", "account")
REFUND_REASONS = ("damaged", "late", "not_as_described", "changed_mind")
DECLINES = ("card_declined", "insufficient_funds", "3ds_abandoned", "timeout")


class Version(NamedTuple):
    name: str
    days_before_end: float
    adoption_days: float
    """Mean lag of a phone behind the release; a hot fix is pushed sooner."""


VERSIONS = (
    Version("4.4.0", 400, 1),
    Version("4.5.0", 76, 5),
    Version("4.6.0", 49, 5),
    Version("4.7.0", 24, 4),
    Version("4.7.1", 9, 1.5),
    Version("4.8.0", 3, 5),
)
"""Of the apps, oldest first. The web shop is built once a week: `web-2026w31`."""


class Campaign(NamedTuple):
    name: str
    days_before_end_from: float
    days_before_end_to: float
    pull: float
    """Visits while it runs, against the same day without it."""


CAMPAIGNS = (
    Campaign("spring-tasting", 82, 75, 1.20),
    Campaign("free-trial-week", 61, 54, 1.30),
    Campaign("bring-a-friend", 40, 33, 1.15),
    Campaign("new-harvest", 14, 9, 1.35),
)
ALWAYS_ON = ("(none)", "(none)", "(none)", "brand-search", "brand-search", "newsletter", "partner-blog")

# What people do. Each rate is the share of the step before it.
SIGNUP_RATE = 0.055
SIGNUP_AT_CHECKOUT_RATE = 0.70
TRIAL_RATE = 0.45
SUBSCRIBE_RATE = 0.42
CANCEL_RATE = 0.09
CART_RATE = 0.11
CART_CHANGED_RATE = 0.12
CHECKOUT_RATE = 0.55
CHECKOUT_FAILURE_RATE = 0.03
RETRY_RATE = 0.60
ATTEMPTS_MAX = 6
REFUND_RATE = 0.04
TICKET_RATE = 0.006
RETURNING_RATE = 0.62
SUBSCRIPTION_EUROS = 8.90

# What goes wrong on the way to the collector, as shares of all events unless said.
LATE_RATE = 0.02
"""Of what phones send."""
LATE_DAYS_MAX = 5.0
DUPLICATE_RATE = 0.005
FAULTY_HOURS = 0.1
"""Of all hours: some client is broken in them. So bad events come in runs, as they do, not evenly: one in every body of
a thousand would make the collector look at each event of every body for itself."""
BROKEN_RATE = 0.03
"""In faulty hours; 0.3 % of all events."""
TEXT_PRICE_RATE = 0.2
"""Of purchases in faulty hours: the amount is a text, which their declared schema forbids."""

INCIDENT_COUNTRY = "DE"
INCIDENT_VERSION = "4.7.0"
INCIDENT_FAILURE_RATE = 0.93
INCIDENT_RETRY_RATE = 0.85
"""Nothing tells them that it is not their card: they try again."""
INCIDENT_REASON = "payment_token_rejected"
OFFER_PULL = 3.0
"""Carts filled in the country of the incident while it lasts, on all platforms, against the same day without the offer
of that afternoon: it is why the failure hurt, and web buyers show what the app should have sold."""
INCIDENT_DAYS_BEFORE_END = 12
INCIDENT_HOURS_UTC = (12, 18)


class Incident(NamedTuple):
    """Checkout fails for one app version in one country, half-open [start_us, end_us)."""

    start_us: int
    end_us: int
    country: str
    app_version: str


def incident_of(end_us: int) -> Incident:
    """The planted incident of the history that ends at `end_us`: an afternoon twelve days before."""
    day_us = end_us // DAY_US * DAY_US - INCIDENT_DAYS_BEFORE_END * DAY_US
    first, last = INCIDENT_HOURS_UTC
    return Incident(day_us + first * HOUR_US, day_us + last * HOUR_US, INCIDENT_COUNTRY, INCIDENT_VERSION)


def whole_hour_us(now: dt.datetime) -> int:
    """The start of the hour of `now`: a good end for a history."""
    return us_of(now) // HOUR_US * HOUR_US

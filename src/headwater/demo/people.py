"""Who comes: people with a country, a device, a campaign that brought them, and where they stand with the shop."""

import math
import random
from bisect import bisect

from headwater.demo.facts import ALWAYS_ON, CAMPAIGNS, COUNTRIES, VERSIONS
from headwater.domain.events import DAY_US, datetime_of

VISITOR, MEMBER, TRIAL, SUBSCRIBER = range(4)
_STANDINGS = (VISITOR, VISITOR, VISITOR, VISITOR, MEMBER, MEMBER, MEMBER, SUBSCRIBER, SUBSCRIBER)

_BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.4 Safari/605",
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
)
_DEVICES = {
    "web": ("desktop", "desktop", "desktop", "tablet", "phone"),
    "ios": ("iPhone 15", "iPhone 14", "iPhone 16 Pro", "iPad Air"),
    "android": ("Pixel 8", "Galaxy S23", "Galaxy A54", "Redmi Note 12"),
}
_PLATFORMS = ("web", "ios", "android")
_PLATFORM_SHARES = (0.42, 0.70, 1.0)
_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
"""Set aside for documentation: no such address belongs to anybody."""


class Person:
    __slots__ = ("actor", "agent", "campaign", "city", "country", "device", "ip", "lag", "platform", "standing")

    def __init__(self, rng: random.Random, number: int, country: int, campaign: str, standing: int) -> None:
        draw = rng.random
        self.actor = f"u-{number:07d}"
        self.country = country
        self.platform = _PLATFORMS[bisect(_PLATFORM_SHARES, draw())]
        devices = _DEVICES[self.platform]
        self.device = devices[int(draw() * len(devices))]
        cities = COUNTRIES[country].cities
        self.city = cities[int(draw() * len(cities))]
        self.ip = f"{_NETWORKS[int(draw() * 3)]}.{1 + int(draw() * 254)}"
        self.agent = _BROWSERS[int(draw() * 3)] if self.platform == "web" else f"shop/{self.platform}"
        self.campaign = campaign
        self.lag = -math.log(1.0 - draw())
        """How slow this phone takes up new versions; 1 is the mean."""
        self.standing = standing


def founding_standing(rng: random.Random) -> int:
    return _STANDINGS[int(rng.random() * len(_STANDINGS))]


def campaign_of(rng: random.Random, at_us: int, end_us: int) -> str:
    """What brought a new visitor: the campaign that runs, for half of them, else one that always does."""
    days_before_end = (end_us - at_us) / DAY_US
    for campaign in CAMPAIGNS:
        if campaign.days_before_end_to < days_before_end <= campaign.days_before_end_from and rng.random() < 0.5:
            return campaign.name
    return ALWAYS_ON[int(rng.random() * len(ALWAYS_ON))]


def version_of(person: Person, at_us: int, end_us: int) -> str:
    """What the person runs at an instant: on a phone the newest release that it has taken up by then."""
    if person.platform == "web":
        year, week, _ = datetime_of(at_us).isocalendar()
        return f"web-{year}w{week:02d}"
    days_before_end = (end_us - at_us) / DAY_US
    for version in reversed(VERSIONS):
        if days_before_end <= version.days_before_end - person.lag * version.adoption_days:
            return version.name
    return VERSIONS[0].name

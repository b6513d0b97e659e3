"""What the shop sends out by itself: the Thursday newsletter and the evening push."""

import math

from headwater.demo.facts import COUNTRIES
from headwater.demo.people import SUBSCRIBER, VISITOR, Person
from headwater.demo.rhythm import local
from headwater.demo.visits import SECOND_US, Town, Visit

THURSDAY = 3
NEWSLETTER_HOUR = 9
PUSH_HOUR = 18
OPEN_RATE = 0.20
PUSH_RATE = 0.05


def send_out(town: Town, people: list[list[Person]], hour_us: int) -> None:
    """At the start of an hour: let those who get mail or a push in this hour of their day react to it."""
    for country in range(len(COUNTRIES)):
        weekday, hour = local(hour_us, country)
        if hour == NEWSLETTER_HOUR and weekday == THURSDAY:
            _newsletter(town, people[country], hour_us)
        if hour == PUSH_HOUR:
            _push(town, people[country], hour_us)


def _newsletter(town: Town, people: list[Person], hour_us: int) -> None:
    draw = town.rng.random
    for person in people:
        if person.standing != VISITOR and draw() < OPEN_RATE:
            # Half open it within two hours, some the day after.
            at_us = hour_us + int(-math.log(1.0 - draw()) * 3 * 3600) * SECOND_US + int(draw() * SECOND_US)
            clicked = "true" if draw() < 0.18 else "false"
            Visit(town, person, at_us).tell("email_opened", "USER_ACTION", f'"mail":"newsletter","clicked":{clicked},')


def _push(town: Town, people: list[Person], hour_us: int) -> None:
    draw = town.rng.random
    for person in people:
        if person.platform != "web" and draw() < PUSH_RATE:
            at_us = hour_us + int(draw() * 900) * SECOND_US + int(draw() * SECOND_US)
            topic = "order" if person.standing == SUBSCRIBER else "offer"
            opened = "true" if draw() < 0.11 else "false"
            Visit(town, person, at_us).tell("push_received", "USER_ACTION", f'"topic":"{topic}","opened":{opened},')

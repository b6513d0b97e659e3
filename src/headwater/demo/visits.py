"""What people do: one visit from the first page to a purchase, and everything that follows from it later."""

import math
import random
from typing import Protocol

from headwater.demo import facts
from headwater.demo.outbox import Clock, Outbox
from headwater.demo.people import MEMBER, SUBSCRIBER, TRIAL, VISITOR, Person, version_of
from headwater.domain.events import DAY_US

SECOND_US = 1_000_000
_PAGES = ("/", "/coffee", "/tea", "/gear", "/offers", "/about", "/brew-guide", "/membership")


class Town(Protocol):
    """What a visit needs of the shop around it."""

    rng: random.Random
    outbox: Outbox
    clock: Clock
    incident: facts.Incident
    end_us: int


class Visit:
    """One person's run of events. Times only go forward; all of them carry one sessionId."""

    def __init__(self, town: Town, person: Person, at_us: int) -> None:
        bits = town.rng.getrandbits
        self.town = town
        self.person = person
        self.at_us = at_us
        self.draw = town.rng.random
        # A version 4 UUID per event: the middle counts inside the visit, the rest is random per visit.
        back = f"{bits(62) | 1 << 63:016x}"
        self.head = f"{bits(32):08x}-{bits(16):04x}-4"
        self.tail = f"-{back[:4]}-{back[4:]}"
        self.count = 0
        self.session = f"s-{bits(48):012x}"
        self.version = version_of(person, at_us, town.end_us)
        self.on_phone = person.platform != "web"
        self.where = (
            f'"country":"{facts.COUNTRIES[person.country].code}","city":"{person.city}","platform":"{person.platform}",'
            f'"device":"{person.device}","appVersion":"{self.version}","campaign":"{person.campaign}"'
        )
        self.metadata = f'{{"sourceIp":"{person.ip}","userAgent":"{person.agent}","sessionId":"{self.session}"}}'

    def run(self) -> None:
        """Open, look around, perhaps buy, perhaps sign up."""
        draw, person = self.draw, self.person
        if self.on_phone:
            self.tell("app_opened", "USER_ACTION", f'"coldStartMs":{250 + int(draw() * 1800)},')
        else:
            self.page("/")
        cart = self.browse()
        if person.standing == VISITOR and draw() < facts.SIGNUP_RATE:
            self.sign_up()
        if person.standing != VISITOR and draw() < 0.30:
            feature = facts.FEATURES[int(draw() * draw() * len(facts.FEATURES))]
            self.tell("feature_used", "USER_ACTION", f'"feature":"{feature}","seconds":{3 + int(draw() * 200)},')
        if cart and draw() < facts.CHECKOUT_RATE:
            self.check_out(cart)
        if draw() < facts.TICKET_RATE:
            self.ask_for_help(facts.TICKETS[int(draw() * len(facts.TICKETS))])

    def browse(self) -> list[facts.Product]:
        """Pages, searches and products; returns what lies in the cart."""
        draw = self.draw
        cart: list[facts.Product] = []
        cart_rate = facts.CART_RATE * (facts.OFFER_PULL if self.in_offer() else 1.0)
        # A geometric number of steps with mean 6: a fifth of all visits end on the first or second page.
        steps = 1 + int(math.log(1.0 - draw()) / -0.19)
        for _ in range(min(steps, 40)):
            self.at_us += 2 * SECOND_US + int(draw() ** 2 * 90 * SECOND_US)
            choice = draw()
            if choice < 0.40:
                self.page(_PAGES[int(draw() * len(_PAGES))])
            elif choice < 0.53:
                query = facts.QUERIES[int(draw() * draw() * len(facts.QUERIES))]
                self.tell("search", "USER_ACTION", f'"query":"{query}","results":{int(draw() * 40)},')
                self.request("/api/search", 60)
            else:
                product = facts.PRODUCTS[int(draw() ** 1.7 * len(facts.PRODUCTS))]
                self.tell("product_view", "USER_ACTION", self.goods(product))
                if draw() < cart_rate and len(cart) < 8:
                    cart.append(product)
                    self.at_us += SECOND_US + int(draw() * 20 * SECOND_US)
                    self.tell("add_to_cart", "USER_ACTION", self.goods(product))
                    self.request("/api/cart", 35)
        if len(cart) > 1 and draw() < facts.CART_CHANGED_RATE:
            self.tell("remove_from_cart", "USER_ACTION", self.goods(cart.pop()))
        return cart

    def sign_up(self) -> None:
        draw, person = self.draw, self.person
        self.at_us += 20 * SECOND_US + int(draw() * 60 * SECOND_US)
        method = ("email", "email", "google", "apple")[int(draw() * 4)]
        person.standing = MEMBER
        self.tell("signup", "USER_ACTION", f'"method":"{method}",')
        if draw() < facts.TRIAL_RATE:
            self.start_trial()

    def start_trial(self) -> None:
        """Two weeks of free delivery; then it becomes a subscription, or ends."""
        draw, person = self.draw, self.person
        self.at_us += 5 * SECOND_US
        self.tell("trial_started", "BUSINESS_EVENT", f'"plan":"plus","days":{facts.TRIAL_DAYS},')
        converts = draw() < facts.SUBSCRIBE_RATE
        person.standing = SUBSCRIBER if converts else TRIAL
        over_us = self.at_us + facts.TRIAL_DAYS * DAY_US
        self.later(over_us, "trial_ended", f'"plan":"plus","converted":{"true" if converts else "false"},')
        if not converts:
            return
        price = f'"plan":"plus","amount":{facts.SUBSCRIPTION_EUROS},"currency":"EUR",'
        self.later(over_us + 3 * SECOND_US, "subscription_started", price)
        renewal_us = over_us
        while True:
            renewal_us += facts.RENEWAL_DAYS * DAY_US
            if renewal_us >= self.town.end_us:
                return
            if draw() < facts.CANCEL_RATE:
                reason = ("price", "not_used", "moved")[int(draw() * 3)]
                self.later(renewal_us - int(draw() * 9 * DAY_US), "subscription_cancelled", f'"reason":"{reason}",')
                person.standing = MEMBER
                return
            self.later(renewal_us, "subscription_renewed", price)

    def check_out(self, cart: list[facts.Product]) -> None:
        draw, person = self.draw, self.person
        self.at_us += 10 * SECOND_US + int(draw() * 40 * SECOND_US)
        if person.standing == VISITOR and draw() < facts.SIGNUP_AT_CHECKOUT_RATE:
            self.sign_up()
        euros = sum(product.euros for product in cart)
        for attempt in range(1, facts.ATTEMPTS_MAX + 1):
            self.at_us += 15 * SECOND_US + int(draw() * 60 * SECOND_US)
            self.tell(
                "checkout_started", "USER_ACTION", f'"items":{len(cart)},"amount":{euros:.2f},"attempt":{attempt},'
            )
            # The middle of checkout latencies is 420 ms, one in twenty takes over a second.
            latency_ms = int(420 * math.exp(0.55 * self.town.rng.gauss(0.0, 1.0)))
            self.at_us += latency_ms * 1000
            incident = self.in_incident()
            if draw() >= (facts.INCIDENT_FAILURE_RATE if incident else facts.CHECKOUT_FAILURE_RATE):
                self.buy(cart, euros, latency_ms)
                return
            reason = facts.INCIDENT_REASON if incident else facts.DECLINES[int(draw() * len(facts.DECLINES))]
            self.tell(
                "checkout_failed",
                "USER_ACTION",
                f'"reason":"{reason}","items":{len(cart)},"amount":{euros:.2f},"latencyMs":{latency_ms},',
            )
            self.request("/api/checkout", latency_ms, 502 if incident else 402)
            if incident and draw() < 0.2:
                self.ask_for_help("checkout")
            if draw() >= (facts.INCIDENT_RETRY_RATE if incident else facts.RETRY_RATE):
                return

    def in_offer(self) -> bool:
        incident = self.town.incident
        return (
            incident.start_us <= self.at_us < incident.end_us
            and facts.COUNTRIES[self.person.country].code == incident.country
        )

    def in_incident(self) -> bool:
        return self.version == self.town.incident.app_version and self.in_offer()

    def buy(self, cart: list[facts.Product], euros: float, latency_ms: int) -> None:
        draw = self.draw
        country = facts.COUNTRIES[self.person.country]
        order = f"o-{self.town.rng.getrandbits(40):010x}"
        amount = f"{euros:.2f}"
        local = f"{euros * country.rate:.{country.digits}f}"
        shown = f'"{amount} EUR"' if self.town.outbox.is_faulty and draw() < facts.TEXT_PRICE_RATE else amount
        text = self.line(
            self.at_us,
            "purchase",
            "BUSINESS_EVENT",
            "backend",
            f'"orderId":"{order}","amount":{shown},"currency":"EUR","localAmount":{local},'
            f'"localCurrency":"{country.currency}","items":{len(cart)},"category":"{cart[0].category}",'
            f'"latencyMs":{latency_ms},"member":{"true" if self.person.standing else "false"},',
        )
        if shown != amount:
            self.town.outbox.put_broken(self.at_us, text)
        else:
            self.town.outbox.put(self.at_us, text)
        self.request("/api/checkout", latency_ms)
        if draw() < facts.REFUND_RATE:
            reason = facts.REFUND_REASONS[int(draw() * len(facts.REFUND_REASONS))]
            self.later(
                self.at_us + DAY_US + int(draw() * 9 * DAY_US),
                "refund",
                f'"orderId":"{order}","amount":{amount},"currency":"EUR","reason":"{reason}",',
            )

    def ask_for_help(self, topic: str) -> None:
        self.at_us += 60 * SECOND_US + int(self.draw() * 600 * SECOND_US)
        priority = ("low", "normal", "high")[int(self.draw() * 3)]
        self.tell("support_ticket", "CUSTOM_EVENT", f'"topic":"{topic}","priority":"{priority}",')

    def page(self, path: str) -> None:
        self.tell("page_view", "USER_ACTION", f'"path":"{path}","loadMs":{120 + int(self.draw() ** 3 * 3000)},')

    def goods(self, product: facts.Product) -> str:
        return f'"sku":"{product.sku}","category":"{product.category}","price":{product.euros:.2f},'

    def tell(self, name: str, kind: str, attributes: str) -> None:
        """An event from the person's own device, now."""
        text = self.line(self.at_us, name, kind, self.person.platform, attributes)
        self.town.outbox.put(self.at_us, text, self.on_phone)

    def later(self, at_us: int, name: str, attributes: str) -> None:
        """An event of the shop's backend about this person, at another time."""
        self.town.outbox.put(at_us, self.line(at_us, name, "BUSINESS_EVENT", "backend", attributes))

    def request(self, route: str, latency_ms: int, status: int = 200) -> None:
        """The backend's own measurement of a call that this visit caused."""
        draw = self.draw
        if status == 200 and draw() < 0.004:
            status = 500
        taken_ms = latency_ms if route == "/api/checkout" else int(latency_ms * (0.6 + draw() + 6 * draw() ** 12))
        text = (
            f'{{"id":"{self.next_id()}","type":"SYSTEM_METRIC","name":"api_request","source":"backend",'
            f'"timestamp":"{self.town.clock.stamp(self.at_us)}","data":{{"attributes":{{"route":"{route}","status":{status},'
            f'"latencyMs":{taken_ms},{self.where}}},"metadata":{{"sessionId":"{self.session}"}}}},"version":"1"}}'
        )
        self.town.outbox.put(self.at_us, text)

    def line(self, at_us: int, name: str, kind: str, source: str, attributes: str) -> str:
        """One event as JSON text. `attributes` are members that end with a comma. All text here is plain ASCII."""
        return (
            f'{{"id":"{self.next_id()}","type":"{kind}","name":"{name}","source":"{source}",'
            f'"actor":"{self.person.actor}","timestamp":"{self.town.clock.stamp(at_us)}",'
            f'"data":{{"attributes":{{{attributes}{self.where}}},"metadata":{self.metadata}}},"version":"1"}}'
        )

    def next_id(self) -> str:
        self.count += 1
        return f"{self.head}{self.count:03x}{self.tail}"

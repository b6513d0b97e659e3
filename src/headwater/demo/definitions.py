"""What the shop declares before its first event: the shapes of three events, and the metrics its people look at."""

from typing import Any

PURCHASE: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "orderId": {"type": "string", "minLength": 3},
        "amount": {"type": "number", "exclusiveMinimum": 0},
        "currency": {"type": "string", "enum": ["EUR"]},
        "localAmount": {"type": "number"},
        "localCurrency": {"type": "string", "minLength": 3, "maxLength": 3},
        "items": {"type": "integer", "minimum": 1},
        "category": {"type": "string"},
        "latencyMs": {"type": "number", "minimum": 0},
        "member": {"type": "boolean"},
        "country": {"type": "string", "minLength": 2, "maxLength": 2},
    },
    "required": ["orderId", "amount", "currency", "items", "country"],
}
SIGNUP: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "method": {"type": "string", "enum": ["email", "google", "apple"]},
        "country": {"type": "string", "minLength": 2, "maxLength": 2},
        "campaign": {"type": "string"},
    },
    "required": ["method", "country"],
}
REFUND: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "orderId": {"type": "string", "minLength": 3},
        "amount": {"type": "number", "exclusiveMinimum": 0},
        "currency": {"type": "string", "enum": ["EUR"]},
        "reason": {"type": "string"},
    },
    "required": ["orderId", "amount"],
}

BY_PLACE = ["attributes.country", "attributes.platform", "attributes.appVersion", "attributes.campaign"]


def demo_schemas() -> list[dict[str, Any]]:
    """Bodies for /api/v1/schemas: `purchase` is enforced, so a purchase with a text as amount is quarantined."""
    return [
        _schema("purchase", PURCHASE, "enforce"),
        _schema("signup", SIGNUP, "warn"),
        _schema("refund", REFUND, "warn"),
    ]


def demo_metrics() -> list[dict[str, Any]]:
    """Bodies for /api/v1/metric-definitions."""
    return [
        _metric("revenue", "Revenue", ["purchase"], "sum", "attributes.amount", "EUR"),
        _metric("orders", "Orders", ["purchase"], "count"),
        _metric("average_order_value", "Average order value", ["purchase"], "avg", "attributes.amount", "EUR"),
        _metric("refunded", "Refunded", ["refund"], "sum", "attributes.amount", "EUR"),
        _metric("checkouts", "Checkouts begun", ["checkout_started"], "count"),
        _metric("checkout_failures", "Checkouts failed", ["checkout_failed"], "count"),
        _metric(
            "checkout_latency_p95",
            "Checkout latency, 95th percentile",
            ["purchase", "checkout_failed"],
            "p95",
            "attributes.latencyMs",
            "ms",
        ),
        _metric("signups", "Sign-ups", ["signup"], "count"),
        _metric("trials", "Trials begun", ["trial_started"], "count"),
        _metric("shoppers", "People in the shop", ["page_view", "app_opened"], "unique", "actor"),
        _metric("server_cpu_mean", "Server CPU", ["server_cpu"], "avg", "attributes.percent", "%", ["attributes.host"]),
    ]


def _schema(name: str, schema: dict[str, Any], mode: str) -> dict[str, Any]:
    return {"name": name, "version": "1", "jsonSchema": schema, "mode": mode, "unknownFields": "allow"}


def _metric(
    name: str,
    shown: str,
    events: list[str],
    aggregation: str,
    field: str | None = None,
    unit: str | None = None,
    dimensions: list[str] = BY_PLACE,
) -> dict[str, Any]:
    body = {"name": name, "displayName": shown, "events": events, "aggregation": aggregation, "dimensions": dimensions}
    return body | ({"field": field} if field else {}) | ({"unit": unit} if unit else {})

"""Three questions to ask a shop that has just been loaded: lines for a shell, ready to paste."""

import datetime as dt
import shlex

from headwater.demo.facts import INCIDENT_DAYS_BEFORE_END
from headwater.domain.events import DAY_US, datetime_of, us_of


def first_questions(base_url: str, end_us: int | None = None) -> list[str]:
    """Orders and revenue by day; failed checkouts by country around the incident; what became of every event.

    `end_us` is the end of the loaded history; default now.
    """
    end_us = us_of(dt.datetime.now(dt.UTC)) if end_us is None else end_us
    tomorrow_us = end_us // DAY_US * DAY_US + DAY_US
    # -g: curl would read the brackets of timeRange[start] as a range of its own.
    metrics = (
        f"{base_url}/api/v1/metrics?names=revenue,orders&timeRange[start]={_day(tomorrow_us - 7 * DAY_US)}"
        f"&timeRange[end]={_day(tomorrow_us)}&timeRange[interval]=1d"
    )
    incident_us = end_us // DAY_US * DAY_US - INCIDENT_DAYS_BEFORE_END * DAY_US
    query = (
        '{"metrics": ["checkout_failures", "orders"], "dimensions": ["attributes.country"], '
        f'"timeRange": {{"start": "{_day(incident_us)}", "end": "{_day(incident_us + DAY_US)}"}}, '
        '"order": [{"by": "checkout_failures", "descending": true}], "limit": 5}'
    )
    ask = shlex.quote(f"{base_url}/api/v1/query")
    return [
        f"curl -sg {shlex.quote(metrics)}",
        f"curl -s {ask} -H 'Content-Type: application/json' -d {shlex.quote(query)}",
        f"curl -s {shlex.quote(f'{base_url}/api/v1/ledger')}",
    ]


def _day(us: int) -> str:
    return f"{datetime_of(us):%Y-%m-%dT00:00:00Z}"

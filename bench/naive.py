"""The peer N: what a team writes in an afternoon. FastAPI + pydantic + asyncpg, one insert per request, on PostgreSQL.

It checks less than we do (no quarantine, no schemas, no ledger) and answers 201 after its transaction.
"""

import json
import os
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from fastapi import FastAPI
from pydantic import BaseModel, Field

TABLE = """
create table if not exists events (
    id uuid primary key, type text not null, name text, source text, actor text, occurred_at timestamptz not null,
    received_at timestamptz not null default now(), version text, attributes jsonb not null, metadata jsonb not null
)
"""
INSERT = """
insert into events (id, type, name, source, actor, occurred_at, version, attributes, metadata)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (id) do nothing
"""


class Data(BaseModel):
    attributes: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class Event(BaseModel):
    id: UUID = Field(default_factory=uuid4)
    type: str = "CUSTOM_EVENT"
    name: str | None = None
    source: str | None = None
    actor: str | None = None
    timestamp: datetime
    version: str = "1"
    data: Data = Data()


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.pool = await asyncpg.create_pool(os.environ["NAIVE_DSN"], min_size=8, max_size=8)
    async with app.state.pool.acquire() as connection:
        await connection.execute(TABLE)
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


@app.post("/api/v1/events", status_code=201)
async def send(events: list[Event]) -> dict[str, int]:
    rows = [
        (
            event.id,
            event.type,
            event.name,
            event.source,
            event.actor,
            event.timestamp,
            event.version,
            json.dumps(event.data.attributes),
            json.dumps(event.data.metadata),
        )
        for event in events
    ]
    async with app.state.pool.acquire() as connection, connection.transaction():
        await connection.executemany(INSERT, rows)
    return {"accepted": len(rows)}

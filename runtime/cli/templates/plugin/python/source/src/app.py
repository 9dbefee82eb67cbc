"""Customers of a service with a paged JSON API, as a source."""

import json
from datetime import datetime, timedelta, timezone

from affluent import fail, payload_of
from service import get_json
from wit_world import exports
from wit_world.exports import source
from wit_world.imports import types

CUSTOMERS = {
    "name": "customers",
    # A personal column names its class: the host seals it, and nothing personal leaves without a grant.
    "fields": [
        {"name": "id", "type": "integer", "nullable": False},
        {"name": "email", "type": "text", "pii": "email"},
        {"name": "first_name", "type": "text", "pii": "name"},
        {"name": "address_city", "type": "text", "pii": "address"},
        {"name": "total_spent", "type": "decimal"},
        {"name": "updated_at", "type": "timestamp", "nullable": False},
    ],
    "primary_key": ["id"],
    "cursor_field": "updated_at",
    "sync_modes": ["full_refresh", "incremental"],
}

# What the plugin is and asks for; nothing is granted by asking.
MANIFEST = {
    "manifest_version": 1,
    "name": "my-plugin",
    "version": "0.1.0",
    "kinds": ["source"],
    "description": "Customers of my-plugin",
    "config_schema": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "base_url": {"type": "string", "description": "Scheme, host, port and path prefix of the API."},
            "page_size": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "Records per request."},
        },
        "required": ["base_url"],
    },
    "formats": {"accepts": ["ndjson"], "emits": ["ndjson"]},
    "hosts": [{"pattern": "{config.base_url}", "schemes": ["https"]}],
    "auth": {"token": {"type": "bearer", "secret": "api_token"}},
    "secrets": [{"name": "api_token", "description": "API token", "scopes": ["customers:read"]}],
    "rate_limits": [{"requests": 20, "per_ms": 1000}],
    "limits": {"memory_mib": 128},
}


class Plugin(exports.Plugin):
    def manifest(self):
        return json.dumps(MANIFEST)

    def check(self, config):
        """Asks for one record: a wrong address or token shows before the first run."""
        get_json(json.loads(config)["base_url"] + "/customers", "token", {"limit": 1})
        return json.dumps({"notes": []})


class Source(exports.Source):
    config, lookback_ms, place = {}, 0, {}

    def discover(self, config):
        return json.dumps([CUSTOMERS])

    def open(self, config, stream_spec, state):
        """The state is that of the last stored page: opening at it gives exactly the rest."""
        spec = json.loads(stream_spec)
        since_us = spec.get("since_us")
        since = None if since_us is None else _text(datetime.fromtimestamp(since_us / 1e6, timezone.utc))
        Source.config, Source.lookback_ms = json.loads(config), spec.get("lookback_ms", 0)
        Source.place = json.loads(state) if state else {"since": since}

    def next(self, limits):
        config, place = Source.config, Source.place
        limit = min(config.get("page_size", 100), limits.max_rows)
        query = {"limit": limit, "updated_since": _since(), "cursor": place.get("cursor")}
        answer = get_json(config["base_url"] + "/customers", "token", query)
        cursor = answer.get("next_cursor")
        if cursor is not None and cursor == place.get("cursor"):
            raise fail("transient", "my-plugin.cursor", "the API answers with the cursor of the same page again")
        rows, rejected = _split(answer["items"])
        newest = max([place.get("newest") or "", *(row["updated_at"] for row in rows)])
        if cursor is None:
            Source.place = {"since": newest or place.get("since")}
        else:
            Source.place = {**place, "newest": newest, "cursor": cursor}
        parts = [types.Part("customers", types.RowOp.UPSERT, payload_of(rows))] if rows else []
        position = source.Position.END if cursor is None else source.Position.MORE
        return source.Page(parts, rejected, json.dumps(Source.place).encode(), position)

    def close(self):
        pass


def _since():
    since = Source.place.get("since")
    if since is None or not Source.lookback_ms:
        return since
    return _text(datetime.fromisoformat(since) - timedelta(milliseconds=Source.lookback_ms))


def _text(instant):
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _split(items):
    """A record that cannot be a row is rejected alone, with its place; the rest of the page goes on."""
    rows, rejected = [], []
    for number, item in enumerate(items, 1):
        row = _row(item)
        if row is not None:
            rows.append(row)
            continue
        raw = json.dumps(item).encode()[:65536]
        place = f"record {number} of the page"
        rejected.append(types.RejectedRow("customers", place, "value_type", "a value is not of its type", raw))
    return rows, rejected


def _row(item):
    try:
        datetime.fromisoformat(item["updated_at"])
    except (KeyError, TypeError, ValueError):
        return None
    if not isinstance(item.get("id"), int):
        return None
    names = ("id", "email", "first_name", "total_spent", "updated_at")
    return {**{name: item.get(name) for name in names}, "address_city": (item.get("address") or {}).get("city")}

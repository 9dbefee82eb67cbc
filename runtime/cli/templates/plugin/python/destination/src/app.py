"""Contacts of a service with a JSON API, as a destination: batches out, one outcome for every row."""

import json

from affluent import fail, rows_of
from service import post_json
from wit_world import exports
from wit_world.exports import destination
from wit_world.imports import types

# What the plugin is and asks for; nothing is granted by asking.
MANIFEST = {
    "manifest_version": 1,
    "name": "my-plugin",
    "version": "0.1.0",
    "kinds": ["destination"],
    "description": "Contacts of my-plugin",
    "config_schema": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"base_url": {"type": "string", "description": "Scheme, host, port and path prefix of the API."}},
        "required": ["base_url"],
    },
    "formats": {"accepts": ["ndjson"], "emits": ["ndjson"]},
    "hosts": [{"pattern": "{config.base_url}", "schemes": ["https"]}],
    "auth": {"token": {"type": "bearer", "secret": "api_token"}},
    "secrets": [{"name": "api_token", "description": "API token", "scopes": ["contacts:write"]}],
    "limits": {"memory_mib": 128},
}


class Plugin(exports.Plugin):
    def manifest(self):
        return json.dumps(MANIFEST)

    def check(self, config):
        """Sends an empty batch: a wrong address or token shows before the first run."""
        _post(json.loads(config), [])
        return json.dumps({"notes": []})


class Destination(exports.Destination):
    config = {}

    def discover(self, config):
        target = {"name": "contact", "any_fields": True, "match_fields": ["email", "id"], "modes": ["append", "upsert"]}
        return json.dumps([target])

    def open(self, config, target):
        name = json.loads(target)["object"]
        if name != "contact":
            raise fail("config", "my-plugin.object", f"there is no object `{name}`: write `contact`")
        Destination.config = json.loads(config)
        return json.dumps({"durable": "write", "idempotent": "by_header", "max_rows": 1000})

    def write(self, batch):
        """Personal values arrive as opaque tokens; the host puts the real ones into the request as it leaves. So they are
        passed on as they are: a form such as lower case is asked for, not computed here."""
        if batch.op == types.RowOp.DELETE:
            raise fail("unsupported", "my-plugin.delete", "contacts are not deleted")
        rows = rows_of(batch.payload)
        results = _post(Destination.config, rows, batch.idempotency_key)["results"]
        if len(results) != len(rows):
            raise fail("transient", "my-plugin.results", "the API did not answer for every contact")
        return destination.Outcome_Done(_report(results))

    def poll(self, token):
        raise fail("unsupported", "my-plugin.poll", "this destination has no pending batches")

    def close(self):
        pass


def _report(results):
    """One outcome for every row: the host counts them."""
    failed, remote_ids = [], []
    for row, result in enumerate(results):
        if result.get("error"):
            code = f"my-plugin.{result['error']}"
            kind, message = types.ErrorKind.INVALID_DATA, "the API refused the contact"
            failed.append(types.RowError(row, kind, code, message, result.get("field")))
        elif result.get("id") is not None:
            remote_ids.append((row, str(result["id"])))
    return destination.Report(len(results) - len(failed), [], failed, [], remote_ids)


def _post(config, contacts, key=None):
    headers = [("idempotency-key", key)] if key else []
    return post_json(config["base_url"] + "/contacts", {"contacts": contacts}, "token", headers, retry_safe=True)

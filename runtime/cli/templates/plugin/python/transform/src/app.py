"""A transform: rows in, rows out. It has no network and no store; what it is given leaves only by its output."""

import json

from affluent import fail, payload_of, rows_of
from wit_world import exports
from wit_world.exports import transform

# What the plugin is and asks for.
MANIFEST = {
    "manifest_version": 1,
    "name": "my-plugin",
    "version": "0.1.0",
    "kinds": ["transform"],
    "description": "Adds the domain of an e-mail address",
    "config_schema": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "from": {"type": "string", "description": "Column with an e-mail address.", "default": "email"},
            "to": {"type": "string", "description": "Column to add: the domain of the address.", "default": "email_domain"},
        },
    },
    "formats": {"accepts": ["ndjson"], "emits": ["ndjson"]},
    "limits": {"memory_mib": 128},
}


class Plugin(exports.Plugin):
    def manifest(self):
        return json.dumps(MANIFEST)

    def check(self, config):
        return json.dumps({"notes": []})


class Transform(exports.Transform):
    column, added = "email", "email_domain"

    def open(self, config, input_schema):
        """Says which form records leave in, before the first one comes."""
        config, schema = json.loads(config), json.loads(input_schema)
        Transform.column = config.get("from", "email")
        Transform.added = config.get("to", "email_domain")
        if not any(field["name"] == Transform.column and field["type"] == "text" for field in schema["fields"]):
            raise fail("config", "my-plugin.column", f"the stream has no text column `{Transform.column}`")
        schema["fields"].append({"name": Transform.added, "type": "text"})
        return json.dumps(schema)

    def apply(self, batch):
        rows = rows_of(batch)
        column, added = Transform.column, Transform.added
        for row in rows:
            email = row.get(column)
            row[added] = email.rpartition("@")[2] if email and "@" in email else None
        return transform.Output(payload_of(rows), [])

    def finish(self):
        return None

"""What a plugin needs of the contract beyond its own work: rows in and out, and errors that the host understands."""

import json

from componentize_py_types import Err
from wit_world.imports import types

# The compact form; one encoder for all rows, because making one costs more than using it.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def rows_of(payload):
    """The rows of a payload. One parse for the batch: a call for each line costs more."""
    if not isinstance(payload, types.Payload_Ndjson):
        raise fail("unsupported", "payload", "this plugin takes ndjson only")
    return json.loads(b"[" + payload.value.rstrip(b"\n").replace(b"\n", b",") + b"]")


def payload_of(rows):
    """Rows as a payload: numbers, texts, booleans and None; a timestamp is an RFC 3339 text."""
    return types.Payload_Ndjson("\n".join(map(_encode, rows)).encode())


def fail(kind, code, message, retry_after_ms=None):
    """An error to raise. The kind decides what the host does: config, auth and permission stop and alert, rate_limited
    waits, transient is tried again, invalid_data makes the host split the batch. No values of records in messages."""
    return Err(types.PluginError(types.ErrorKind[kind.upper()], code, message, retry_after_ms, None))

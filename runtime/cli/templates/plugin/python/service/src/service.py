"""Requests through the host: it checks the address, adds the credential of the slot, keeps the rate and repeats what is
safe to repeat."""

import json
from urllib.parse import urlencode

from affluent import fail
from componentize_py_types import Err
from wit_world.imports import http

_KINDS = {401: "auth", 403: "permission", 404: "not_found", 410: "not_found", 408: "transient", 425: "transient", 429: "rate_limited"}


def get_json(url, auth=None, query=None):
    """The JSON that a service answers; values of None are left out of the query."""
    pairs = {name: value for name, value in (query or {}).items() if value is not None}
    return _answer(http.Request("GET", f"{url}?{urlencode(pairs)}" if pairs else url, [], None, auth, None, None, True))


def post_json(url, body, auth=None, headers=(), retry_safe=False):
    """The same for a JSON body."""
    headers = [("content-type", "application/json"), *headers]
    return _answer(http.Request("POST", url, headers, json.dumps(body).encode(), auth, None, None, retry_safe))


def _answer(request):
    try:
        response = http.send(request)
    except Err as error:
        raise _http_error(error.value) from None
    if 200 <= response.status < 300:
        try:
            return json.loads(response.body)
        except ValueError:
            raise fail("transient", "http.body", "the answer is not the expected JSON") from None
    status = response.status
    kind = _KINDS.get(status) or ("transient" if status >= 500 else "invalid_data")
    raise fail(kind, f"http.{status}", f"the service answered with status {status}", _wait_ms(response.headers))


def _wait_ms(headers):
    for name, value in headers:
        if name.lower() == "retry-after" and value.strip().isdigit():
            return int(value) * 1000
    return None


def _http_error(error):
    if isinstance(error, http.HttpError_Denied):
        return fail("config", "http.denied", f"the request is not granted: {error.value}")
    if isinstance(error, http.HttpError_Invalid):
        return fail("config", "http.invalid", f"the request is invalid: {error.value}")
    if isinstance(error, http.HttpError_TooLarge):
        return fail("unsupported", "http.too_large", f"the answer is larger than {error.value} bytes")
    if isinstance(error, http.HttpError_RateLimited):
        return fail("rate_limited", "http.rate_limited", "the service asked for fewer requests", error.value)
    return fail("transient", "http.connect", "no answer from the service")

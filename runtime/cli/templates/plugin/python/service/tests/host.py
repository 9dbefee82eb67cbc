"""The network, played: `on_http` answers every request."""

import json

from wit_world.imports import http


def on_http(answer):
    """Answers every request from now on with `answer(request)`."""
    http.send = answer


def response(status, body, headers=()):
    return http.Response(status, list(headers), json.dumps(body).encode())

"""A service to try the plugin against: `python3 api.py`. It has 250 customers in pages, wants the bearer token
`example-token`, and takes contacts, which it prints; those without an `@` in their e-mail it refuses."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

CUSTOMERS = [
    {
        "id": number,
        "email": f"customer{number}@example.org",
        "first_name": ("Ada", "Grace", "Alan", "Edsger")[number % 4],
        "address": {"city": ("Lyon", "Oslo", "Porto")[number % 3]},
        "total_spent": f"{number * 3}.{number % 100:02}",
        "updated_at": f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z",
    }
    for number in range(1, 251)
]


def page(query):
    """A page of customers, oldest change first; `cursor` is how many came before it."""
    value = {name: values[0] for name, values in parse_qs(query).items()}
    changed = [one for one in CUSTOMERS if one["updated_at"] > value.get("updated_since", "")]
    start = int(value.get("cursor", 0))
    items = changed[start : start + int(value.get("limit", 100))]
    end = start + len(items)
    return {"items": items, "next_cursor": str(end) if end < len(changed) else None}


def take(contact):
    if "@" not in (contact.get("email") or ""):
        return {"error": "invalid_email", "field": "email"}
    print(json.dumps(contact), flush=True)
    return {"id": contact.get("id")}


class Service(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        self.answer(*((200, page(url.query)) if url.path == "/customers" else (404, {"error": "no such path"})))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or "{}")
        if self.path == "/contacts":
            self.answer(200, {"results": [take(contact) for contact in body["contacts"]]})
        else:
            self.answer(404, {"error": "no such path"})

    def answer(self, status, body):
        if self.headers.get("authorization") != "Bearer example-token":
            status, body = 401, {"error": "wrong token"}
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


print("serving on http://127.0.0.1:8700", file=sys.stderr, flush=True)
HTTPServer(("127.0.0.1", 8700), Service).serve_forever()

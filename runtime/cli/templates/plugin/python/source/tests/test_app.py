import unittest

from app import Source
from affluent import rows_of
from componentize_py_types import Err
from tests.host import on_http, response
from wit_world.exports.source import Limits, Position

LIMITS = Limits(2000, 1 << 20)


def customer(number):
    return {"id": number, "email": "ada@example.org", "updated_at": f"2026-01-0{number}T00:00:00Z"}


def opened(state=None):
    source = Source()
    source.open('{"base_url": "https://x.test"}', '{"lookback_ms": 0}', state)
    return source


def ids(page):
    return [row["id"] for part in page.parts for row in rows_of(part.payload)]


def serve_two_pages():
    def answer(request):
        assert request.auth == "token"
        if "cursor=b" in request.url:
            return response(200, {"items": [customer(3)], "next_cursor": None})
        return response(200, {"items": [customer(1), customer(2)], "next_cursor": "b"})

    on_http(answer)


class Reading(unittest.TestCase):
    def test_pages_are_read_to_the_end(self):
        serve_two_pages()
        source = opened()

        first, second = source.next(LIMITS), source.next(LIMITS)

        self.assertEqual([ids(first), ids(second)], [[1, 2], [3]])
        self.assertEqual([first.position, second.position], [Position.MORE, Position.END])

    def test_a_read_goes_on_at_the_state_of_the_last_stored_page(self):
        serve_two_pages()
        first = opened().next(LIMITS)

        self.assertEqual(ids(opened(first.state).next(LIMITS)), [3])

    def test_the_next_read_asks_only_for_what_changed_since(self):
        serve_two_pages()
        source = opened()
        source.next(LIMITS)
        end = source.next(LIMITS)
        urls = []
        on_http(lambda request: urls.append(request.url) or response(200, {"items": [], "next_cursor": None}))

        self.assertEqual(ids(opened(end.state).next(LIMITS)), [])
        self.assertIn("updated_since=2026-01-03T00%3A00%3A00Z", urls[0])

    def test_a_record_that_does_not_fit_is_rejected_alone(self):
        on_http(lambda _: response(200, {"items": [{"id": "x"}, customer(2)], "next_cursor": None}))

        page = opened().next(LIMITS)

        self.assertEqual((ids(page), len(page.rejected)), ([2], 1))

    def test_a_status_becomes_what_the_host_should_do(self):
        for status, kind in ((401, "AUTH"), (429, "RATE_LIMITED"), (503, "TRANSIENT")):
            on_http(lambda _, status=status: response(status, {}))

            with self.assertRaises(Err) as raised:
                opened().next(LIMITS)
            self.assertEqual(raised.exception.value.kind.name, kind)

    def test_a_cursor_that_does_not_move_is_an_error(self):
        on_http(lambda _: response(200, {"items": [], "next_cursor": "a"}))
        source = opened()
        source.next(LIMITS)

        with self.assertRaises(Err) as raised:
            source.next(LIMITS)
        self.assertEqual(raised.exception.value.code, "my-plugin.cursor")

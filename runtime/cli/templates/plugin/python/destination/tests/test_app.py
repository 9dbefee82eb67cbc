import unittest

from app import Destination
from affluent import payload_of
from componentize_py_types import Err
from tests.host import on_http, response
from wit_world.exports.destination import Batch, Outcome_Done
from wit_world.imports.types import RowOp


def opened():
    destination = Destination()
    destination.open('{"base_url": "https://x.test"}', '{"object": "contact"}')
    return destination


def batch(*emails):
    return Batch("k", RowOp.UPSERT, payload_of({"email": email} for email in emails))


class Writing(unittest.TestCase):
    def test_every_row_gets_its_outcome_and_the_refused_one_is_named(self):
        def answer(request):
            assert request.auth == "token"
            return response(200, {"results": [{"id": 1}, {"error": "invalid_email", "field": "email"}]})

        on_http(answer)

        outcome = opened().write(batch("ada@example.org", "nobody"))

        self.assertIsInstance(outcome, Outcome_Done)
        self.assertEqual(outcome.value.accepted, 1)
        self.assertEqual([(row.row, row.field) for row in outcome.value.failed], [(1, "email")])

    def test_an_answer_that_forgets_rows_is_asked_for_again(self):
        on_http(lambda _: response(200, {"results": []}))

        with self.assertRaises(Err) as raised:
            opened().write(batch("ada@example.org"))
        self.assertEqual(raised.exception.value.kind.name, "TRANSIENT")

    def test_a_status_becomes_what_the_host_should_do(self):
        for status, kind in ((401, "AUTH"), (429, "RATE_LIMITED"), (503, "TRANSIENT")):
            on_http(lambda _, status=status: response(status, {}))

            with self.assertRaises(Err) as raised:
                opened().write(batch("ada@example.org"))
            self.assertEqual(raised.exception.value.kind.name, kind)

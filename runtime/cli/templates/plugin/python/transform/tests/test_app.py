import json
import unittest

from app import Transform
from affluent import payload_of, rows_of
from componentize_py_types import Err


def schema(kind):
    return json.dumps({"name": "people", "fields": [{"name": "email", "type": kind}]})


class Domains(unittest.TestCase):
    def test_the_domain_is_added_and_null_stays_null(self):
        transform = Transform()
        output = json.loads(transform.open("{}", schema("text")))
        batch = payload_of([{"email": "ada@example.org"}, {"email": None}, {"email": "nobody"}])

        rows = rows_of(transform.apply(batch).payload)

        self.assertEqual([row["email_domain"] for row in rows], ["example.org", None, None])
        self.assertEqual(len(output["fields"]), 2)

    def test_a_stream_without_the_column_is_a_matter_of_configuration(self):
        with self.assertRaises(Err) as raised:
            Transform().open("{}", schema("integer"))
        self.assertEqual(raised.exception.value.kind.name, "CONFIG")

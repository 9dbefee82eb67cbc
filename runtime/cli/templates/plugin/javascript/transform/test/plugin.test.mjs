import assert from 'node:assert/strict';
import test from 'node:test';
import { payloadOf, rowsOf } from '../src/affluent.js';
import { transform } from '../src/plugin.js';

const people = JSON.stringify({ name: 'people', fields: [{ name: 'email', type: 'text' }] });

test('the domain is added and null stays null', () => {
  const output = JSON.parse(transform.open('{}', people));
  const batch = payloadOf([{ email: 'ada@example.org' }, { email: null }, { email: 'nobody' }]);

  const rows = rowsOf(transform.apply(batch).payload);

  assert.deepEqual(rows.map((row) => row.email_domain), ['example.org', null, null]);
  assert.equal(output.fields.length, 2);
});

test('a stream without the column is a matter of configuration', () => {
  const orders = JSON.stringify({ name: 'orders', fields: [{ name: 'email', type: 'integer' }] });

  assert.throws(() => transform.open('{}', orders), (error) => error.payload.kind === 'config');
});

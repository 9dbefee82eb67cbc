import assert from 'node:assert/strict';
import test from 'node:test';
import { payloadOf } from '../src/affluent.js';
import { destination } from '../src/plugin.js';
import { onHttp, response } from './host.mjs';

const open = () => destination.open('{"base_url":"https://x.test"}', '{"object":"contact"}');
const batch = (...emails) => ({ idempotencyKey: 'k', op: 'upsert', payload: payloadOf(emails.map((email) => ({ email }))) });

test('every row gets its outcome and the refused one is named', () => {
  onHttp((request) => {
    assert.equal(request.auth, 'token');
    return response(200, { results: [{ id: 1 }, { error: 'invalid_email', field: 'email' }] });
  });
  open();

  const { tag, val } = destination.write(batch('ada@example.org', 'nobody'));

  assert.deepEqual([tag, val.accepted, val.failed.map(({ row, field }) => [row, field])], ['done', 1, [[1, 'email']]]);
});

test('an answer that forgets rows is asked for again', () => {
  onHttp(() => response(200, { results: [] }));
  open();

  assert.throws(() => destination.write(batch('ada@example.org')), (error) => error.payload.kind === 'transient');
});

test('a status becomes what the host should do', () => {
  for (const [status, kind] of [[401, 'auth'], [429, 'rate-limited'], [503, 'transient']]) {
    onHttp(() => response(status, {}));
    open();

    assert.throws(() => destination.write(batch('ada@example.org')), (error) => error.payload.kind === kind);
  }
});

import assert from 'node:assert/strict';
import test from 'node:test';
import { rowsOf } from '../src/affluent.js';
import { source } from '../src/plugin.js';
import { onHttp, response } from './host.mjs';

const LIMITS = { maxRows: 2000, maxBytes: 1 << 20 };
const customer = (id) => ({ id, email: 'ada@example.org', updated_at: `2026-01-0${id}T00:00:00Z` });
const open = (state) => source.open('{"base_url":"https://x.test"}', '{"lookback_ms":0}', state);
const ids = (page) => page.parts.flatMap((part) => rowsOf(part.payload)).map((row) => row.id);

function serveTwoPages() {
  onHttp((request) => {
    assert.equal(request.auth, 'token');
    return request.url.includes('cursor=b')
      ? response(200, { items: [customer(3)], next_cursor: null })
      : response(200, { items: [customer(1), customer(2)], next_cursor: 'b' });
  });
}

test('pages are read to the end', () => {
  serveTwoPages();
  open();

  const [first, second] = [source.next(LIMITS), source.next(LIMITS)];

  assert.deepEqual([ids(first), ids(second)], [[1, 2], [3]]);
  assert.deepEqual([first.position, second.position], ['more', 'end']);
});

test('a read goes on at the state of the last stored page', () => {
  serveTwoPages();
  open();
  const first = source.next(LIMITS);
  open(first.state);

  assert.deepEqual(ids(source.next(LIMITS)), [3]);
});

test('the next read asks only for what changed since', () => {
  serveTwoPages();
  open();
  source.next(LIMITS);
  const end = source.next(LIMITS);
  onHttp((request) => {
    assert.match(request.url, /updated_since=2026-01-03T00%3A00%3A00Z/);
    return response(200, { items: [], next_cursor: null });
  });
  open(end.state);

  assert.deepEqual(ids(source.next(LIMITS)), []);
});

test('a record that does not fit is rejected alone', () => {
  onHttp(() => response(200, { items: [{ id: 'x' }, customer(2)], next_cursor: null }));
  open();

  const page = source.next(LIMITS);

  assert.deepEqual([ids(page), page.rejected.length], [[2], 1]);
});

test('a status becomes what the host should do', () => {
  for (const [status, kind] of [[401, 'auth'], [429, 'rate-limited'], [503, 'transient']]) {
    onHttp(() => response(status, {}));
    open();

    assert.throws(() => source.next(LIMITS), (error) => error.payload.kind === kind);
  }
});

test('a cursor that does not move is an error', () => {
  onHttp(() => response(200, { items: [], next_cursor: 'a' }));
  open();
  source.next(LIMITS);

  assert.throws(() => source.next(LIMITS), (error) => error.payload.code === 'my-plugin.cursor');
});

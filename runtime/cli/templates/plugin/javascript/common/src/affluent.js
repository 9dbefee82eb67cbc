// What a plugin needs of the contract beyond its own work: rows in and out, and errors that the host understands.

const decoder = new TextDecoder();
const encoder = new TextEncoder();

// The rows of a payload. One JSON.parse for the batch: a call for each line costs twice as much.
export function rowsOf(payload) {
  if (payload.tag !== 'ndjson') throw fail('unsupported', 'payload', 'this plugin takes ndjson only');
  const lines = decoder.decode(payload.val).trimEnd();
  return lines === '' ? [] : JSON.parse(`[${lines.replaceAll('\n', ',')}]`);
}

// Rows as a payload: numbers, texts, booleans and null; a timestamp is an RFC 3339 text.
export function payloadOf(rows) {
  let lines = '';
  for (const row of rows) lines += JSON.stringify(row) + '\n';
  return { tag: 'ndjson', val: encoder.encode(lines) };
}

// An error to throw. The kind decides what the host does: config, auth and permission stop and alert, rate-limited waits,
// transient is tried again, invalid-data makes the host split the batch. No values of records in messages: they are stored.
export function fail(kind, code, message, retryAfterMs) {
  const error = new Error(message);
  error.payload = {
    kind,
    code,
    message,
    retryAfterMs: retryAfterMs === undefined ? undefined : BigInt(Math.ceil(retryAfterMs)),
    details: undefined,
  };
  return error;
}

// JSON as bytes, for a page's state.
export const bytesOf = (value) => encoder.encode(JSON.stringify(value));
export const valueOf = (bytes) => JSON.parse(decoder.decode(bytes));

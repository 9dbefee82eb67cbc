// What a plugin needs of the contract beyond its own work: rows in and out, and errors that the host understands.

const decoder = new TextDecoder();
const encoder = new TextEncoder();

// The rows of a payload, which is used up. Line ends become commas in place, and one JSON.parse reads the batch: a call for
// each line, or a copy of the text, costs more.
export function rowsOf(payload) {
  if (payload.tag !== 'ndjson') throw fail('unsupported', 'payload', 'this plugin takes ndjson only');
  const bytes = payload.val;
  const last = bytes.length - 1;
  for (let at = bytes.indexOf(10); at >= 0 && at < last; at = bytes.indexOf(10, at + 1)) bytes[at] = 44;
  return JSON.parse(`[${decoder.decode(bytes)}]`);
}

// Rows as a payload: numbers, texts, booleans and null; a timestamp is an RFC 3339 text. Joined once: adding to a text line
// by line takes half as long again.
export function payloadOf(rows) {
  return { tag: 'ndjson', val: encoder.encode(rows.map((row) => JSON.stringify(row)).join('\n')) };
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

// Requests through the host: it checks the address, adds the credential of the slot, keeps the rate and repeats what is
// safe to repeat.
import { send } from 'affluent:plugin/http@0.1.0';
import { fail } from './affluent.js';

const decoder = new TextDecoder();
const encoder = new TextEncoder();

// The JSON that a service answers. `query` is an object; undefined values are left out.
export function getJson(url, { auth, query = {} } = {}) {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined);
  const text = pairs.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&');
  return answer({ method: 'GET', url: text ? `${url}?${text}` : url, headers: [], auth, retrySafe: true });
}

// The same for a JSON body.
export function postJson(url, body, { auth, headers = [], retrySafe = false } = {}) {
  const all = [['content-type', 'application/json'], ...headers];
  return answer({ method: 'POST', url, headers: all, body: encoder.encode(JSON.stringify(body)), auth, retrySafe });
}

function answer(request) {
  let response;
  try {
    response = send({ body: undefined, auth: undefined, timeoutMs: undefined, cost: undefined, ...request });
  } catch (error) {
    throw httpError(error.payload ?? error);
  }
  const { status, headers, body } = response;
  if (status >= 200 && status < 300) {
    try {
      return JSON.parse(decoder.decode(body));
    } catch {
      throw fail('transient', 'http.body', 'the answer is not the expected JSON');
    }
  }
  const after = headers.find(([name]) => name.toLowerCase() === 'retry-after')?.[1];
  const waitMs = after !== undefined && Number(after) >= 0 ? Number(after) * 1000 : undefined;
  throw fail(kindOf(status), `http.${status}`, `the service answered with status ${status}`, waitMs);
}

function kindOf(status) {
  const kinds = { 401: 'auth', 403: 'permission', 404: 'not-found', 410: 'not-found', 408: 'transient', 425: 'transient', 429: 'rate-limited' };
  return kinds[status] ?? (status >= 500 ? 'transient' : 'invalid-data');
}

function httpError({ tag, val }) {
  switch (tag) {
    case 'denied': return fail('config', 'http.denied', `the request is not granted: ${val}`);
    case 'invalid': return fail('config', 'http.invalid', `the request is invalid: ${val}`);
    case 'connect': return fail('transient', 'http.connect', `no connection: ${val}`);
    case 'too-large': return fail('unsupported', 'http.too_large', `the answer is larger than ${val} bytes`);
    case 'rate-limited': return fail('rate-limited', 'http.rate_limited', 'the service asked for fewer requests', Number(val));
    default: return fail('transient', `http.${tag}`, `no answer: ${tag}`);
  }
}

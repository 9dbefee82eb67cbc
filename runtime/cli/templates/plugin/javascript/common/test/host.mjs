// The host, played natively: `node --import ./test/host.mjs`. Imports of `affluent:plugin/…` are answered by this file.
import { register } from 'node:module';

const here = import.meta.url;
if (!here.includes('?')) {
  register(`data:text/javascript,${encodeURIComponent(`
    export function resolve(specifier, context, next) {
      return specifier.startsWith('affluent:') ? { url: '${here}?host', shortCircuit: true } : next(specifier, context);
    }`)}`);
}

const world = (globalThis.affluentWorld ??= { http: undefined, kv: new Map(), nowUs: 0n });

// Answers every request from now on: (request) => response. See `response`.
export function onHttp(answer) {
  world.http = answer;
}

export function response(status, body, headers = []) {
  return { status, headers, body: new TextEncoder().encode(JSON.stringify(body)) };
}

// affluent:plugin/http
export function send(request) {
  if (!world.http) throw Object.assign(new Error('no onHttp'), { payload: { tag: 'denied', val: 'call onHttp first' } });
  return world.http(request);
}

// affluent:plugin/kv
export const get = (key) => world.kv.get(key);
export const put = (key, value) => void world.kv.set(key, value);

// affluent:plugin/runtime
export const log = () => {};
export const nowUs = () => world.nowUs;
export const cancelled = () => false;

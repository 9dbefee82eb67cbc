// Customers of a service with a paged JSON API, as a source.
import { bytesOf, fail, payloadOf, valueOf } from './affluent.js';
import { getJson } from './http.js';

const customers = {
  name: 'customers',
  // A personal column names its class: the host seals it, and nothing personal leaves without a grant.
  fields: [
    { name: 'id', type: 'integer', nullable: false },
    { name: 'email', type: 'text', pii: 'email' },
    { name: 'first_name', type: 'text', pii: 'name' },
    { name: 'address_city', type: 'text', pii: 'address' },
    { name: 'total_spent', type: 'decimal' },
    { name: 'updated_at', type: 'timestamp', nullable: false },
  ],
  primary_key: ['id'],
  cursor_field: 'updated_at',
  sync_modes: ['full_refresh', 'incremental'],
};

const row = (customer) => ({
  id: customer.id,
  email: customer.email,
  first_name: customer.first_name,
  address_city: customer.address?.city,
  total_spent: customer.total_spent,
  updated_at: customer.updated_at,
});

// What the plugin is and asks for; nothing is granted by asking.
export const plugin = {
  manifest: () => JSON.stringify({
    manifest_version: 1,
    name: 'my-plugin',
    version: '0.1.0',
    kinds: ['source'],
    description: 'Customers of my-plugin',
    config_schema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        base_url: { type: 'string', description: 'Scheme, host, port and path prefix of the API.' },
        page_size: { type: 'integer', minimum: 1, maximum: 1000, description: 'Records per request.' },
      },
      required: ['base_url'],
    },
    formats: { accepts: ['ndjson'], emits: ['ndjson'] },
    limits: { memory_mib: 256 },
    hosts: [{ pattern: '{config.base_url}', schemes: ['https'] }],
    auth: { token: { type: 'bearer', secret: 'api_token' } },
    secrets: [{ name: 'api_token', description: 'API token', scopes: ['customers:read'] }],
    rate_limits: [{ requests: 20, per_ms: 1000 }],
  }),

  // Asks for one record: a wrong address or token shows before the first run.
  check(config) {
    getJson(`${JSON.parse(config).base_url}/customers`, { auth: 'token', query: { limit: 1 } });
    return JSON.stringify({ notes: [] });
  },
};

let config, lookbackMs, place;

export const source = {
  discover: () => JSON.stringify([customers]),

  // The state is that of the last stored page: opening at it gives exactly the rest.
  open(configJson, specJson, state) {
    const spec = JSON.parse(specJson);
    config = JSON.parse(configJson);
    lookbackMs = spec.lookback_ms ?? 0;
    place = state ? valueOf(state) : { since: spec.since_us == null ? undefined : new Date(spec.since_us / 1000).toISOString() };
  },

  next(limits) {
    const query = { limit: Math.min(config.page_size ?? 100, limits.maxRows), updated_since: since(), cursor: place.cursor };
    const answer = getJson(`${config.base_url}/customers`, { auth: 'token', query });
    const cursor = answer.next_cursor ?? undefined;
    if (cursor !== undefined && cursor === place.cursor) {
      throw fail('transient', 'my-plugin.cursor', 'the API answers with the cursor of the same page again');
    }
    const { rows, rejected } = split(answer.items);
    const newest = rows.reduce((last, { updated_at }) => (last > updated_at ? last : updated_at), place.newest ?? '');
    place = cursor === undefined ? { since: newest || place.since } : { ...place, newest, cursor };
    const parts = rows.length ? [{ stream: 'customers', op: 'upsert', payload: payloadOf(rows) }] : [];
    return { parts, rejected, state: bytesOf(place), position: cursor === undefined ? 'end' : 'more' };
  },

  close() {},
};

function since() {
  if (place.since === undefined || lookbackMs === 0) return place.since;
  return new Date(Date.parse(place.since) - lookbackMs).toISOString();
}

// A record that cannot be a row is rejected alone, with its place; the rest of the page goes on.
function split(items) {
  const rows = [], rejected = [];
  items.forEach((item, number) => {
    if (Number.isInteger(item.id) && !Number.isNaN(Date.parse(item.updated_at))) {
      rows.push(row(item));
    } else {
      const raw = bytesOf(item).slice(0, 65536);
      const place = `record ${number + 1} of the page`;
      rejected.push({ stream: 'customers', place, code: 'value_type', message: 'a value is not of its type', raw });
    }
  });
  return { rows, rejected };
}

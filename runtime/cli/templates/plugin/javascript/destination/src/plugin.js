// Contacts of a service with a JSON API, as a destination: batches out, one outcome for every row.
import { fail, rowsOf } from './affluent.js';
import { postJson } from './http.js';

// What the plugin is and asks for; nothing is granted by asking.
export const plugin = {
  manifest: () => JSON.stringify({
    manifest_version: 1,
    name: 'my-plugin',
    version: '0.1.0',
    kinds: ['destination'],
    description: 'Contacts of my-plugin',
    config_schema: {
      type: 'object',
      additionalProperties: false,
      properties: { base_url: { type: 'string', description: 'Scheme, host, port and path prefix of the API.' } },
      required: ['base_url'],
    },
    formats: { accepts: ['ndjson'], emits: ['ndjson'] },
    limits: { memory_mib: 256 },
    hosts: [{ pattern: '{config.base_url}', schemes: ['https'] }],
    auth: { token: { type: 'bearer', secret: 'api_token' } },
    secrets: [{ name: 'api_token', description: 'API token', scopes: ['contacts:write'] }],
  }),

  // Sends an empty batch: a wrong address or token shows before the first run.
  check(config) {
    post(JSON.parse(config), []);
    return JSON.stringify({ notes: [] });
  },
};

let config;

export const destination = {
  discover: () => JSON.stringify([
    { name: 'contact', any_fields: true, match_fields: ['email', 'id'], modes: ['append', 'upsert'] },
  ]),

  open(configJson, targetJson) {
    const { object } = JSON.parse(targetJson);
    if (object !== 'contact') throw fail('config', 'my-plugin.object', `there is no object \`${object}\`: write \`contact\``);
    config = JSON.parse(configJson);
    return JSON.stringify({ durable: 'write', idempotent: 'by_header', max_rows: 1000 });
  },

  // Personal values arrive as opaque tokens; the host puts the real ones into the request as it leaves. So they are passed
  // on as they are: a form such as lower case is asked for, not computed here.
  write({ idempotencyKey, op, payload }) {
    if (op === 'delete') throw fail('unsupported', 'my-plugin.delete', 'contacts are not deleted');
    const rows = rowsOf(payload);
    const { results } = post(config, rows, idempotencyKey);
    if (results.length !== rows.length) {
      throw fail('transient', 'my-plugin.results', 'the API did not answer for every contact');
    }
    return { tag: 'done', val: report(results) };
  },

  poll() {
    throw fail('unsupported', 'my-plugin.poll', 'this destination has no pending batches');
  },

  close() {},
};

// One outcome for every row: the host counts them.
function report(results) {
  const failed = [], remoteIds = [];
  results.forEach(({ id, error, field }, row) => {
    if (error) {
      failed.push({ row, kind: 'invalid-data', code: `my-plugin.${error}`, message: 'the API refused the contact', field });
    } else if (id != null) {
      remoteIds.push([row, String(id)]);
    }
  });
  return { accepted: results.length - failed.length, skipped: [], failed, retryable: [], remoteIds };
}

function post(config, contacts, key) {
  const headers = key ? [['idempotency-key', key]] : [];
  return postJson(`${config.base_url}/contacts`, { contacts }, { auth: 'token', headers, retrySafe: true });
}

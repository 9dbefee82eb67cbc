// A transform: rows in, rows out. It has no network and no store; what it is given leaves only by its output.
import { fail, payloadOf, rowsOf } from './affluent.js';

// What the plugin is and asks for.
export const plugin = {
  manifest: () => JSON.stringify({
    manifest_version: 1,
    name: 'my-plugin',
    version: '0.1.0',
    kinds: ['transform'],
    description: 'Adds the domain of an e-mail address',
    config_schema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        from: { type: 'string', description: 'Column with an e-mail address.', default: 'email' },
        to: { type: 'string', description: 'Column to add: the domain of the address.', default: 'email_domain' },
      },
    },
    formats: { accepts: ['ndjson'], emits: ['ndjson'] },
    limits: { memory_mib: 256 },
  }),
  check: () => JSON.stringify({ notes: [] }),
};

let from, to;

export const transform = {
  // Says which form records leave in, before the first one comes.
  open(configJson, inputJson) {
    ({ from = 'email', to = 'email_domain' } = JSON.parse(configJson));
    const input = JSON.parse(inputJson);
    if (!input.fields.some((field) => field.name === from && field.type === 'text')) {
      throw fail('config', 'my-plugin.column', `the stream has no text column \`${from}\``);
    }
    input.fields.push({ name: to, type: 'text' });
    return JSON.stringify(input);
  },

  apply(batch) {
    const rows = rowsOf(batch);
    for (const row of rows) row[to] = domain(row[from]);
    return { payload: payloadOf(rows), rejected: [] };
  },

  finish: () => undefined,
};

function domain(email) {
  const at = email ? email.lastIndexOf('@') : -1;
  return at < 0 ? null : email.slice(at + 1);
}

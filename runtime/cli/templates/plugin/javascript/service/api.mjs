// A service to try the plugin against: `node api.mjs`. It has 250 customers in pages, wants the bearer token
// `example-token`, and takes contacts, which it prints; those without an `@` in their e-mail it refuses.
import { createServer } from 'node:http';

const customers = Array.from({ length: 250 }, (_, before) => {
  const id = before + 1;
  const two = (number) => String(number).padStart(2, '0');
  return {
    id,
    email: `customer${id}@example.org`,
    first_name: ['Ada', 'Grace', 'Alan', 'Edsger'][id % 4],
    address: { city: ['Lyon', 'Oslo', 'Porto'][id % 3] },
    total_spent: `${id * 3}.${two(id % 100)}`,
    updated_at: `2026-01-01T${two(Math.floor(id / 60))}:${two(id % 60)}:00Z`,
  };
});

// A page of customers, oldest change first; `cursor` is how many came before it.
function page(query) {
  const changed = customers.filter(({ updated_at }) => updated_at > (query.get('updated_since') ?? ''));
  const start = Number(query.get('cursor') ?? 0);
  const items = changed.slice(start, start + Number(query.get('limit') ?? 100));
  const end = start + items.length;
  return { items, next_cursor: end < changed.length ? String(end) : null };
}

// Takes contacts: one result for each, in their order.
function take(contacts) {
  const results = contacts.map((contact) => {
    if (!String(contact.email ?? '').includes('@')) return { error: 'invalid_email', field: 'email' };
    console.log(JSON.stringify(contact));
    return { id: contact.id };
  });
  return { results };
}

createServer(async (request, response) => {
  const url = new URL(request.url, 'http://localhost');
  let body = '';
  for await (const piece of request) body += piece;
  let status = 200, answer;
  if (request.headers.authorization !== 'Bearer example-token') [status, answer] = [401, { error: 'wrong token' }];
  else if (request.method === 'GET' && url.pathname === '/customers') answer = page(url.searchParams);
  else if (request.method === 'POST' && url.pathname === '/contacts') answer = take(JSON.parse(body).contacts);
  else [status, answer] = [404, { error: 'no such path' }];
  console.error(request.method, request.url, status);
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
}).listen(8700, '127.0.0.1', () => console.error('serving on http://127.0.0.1:8700'));

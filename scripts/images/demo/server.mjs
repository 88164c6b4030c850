// The tutorial's backend: answers every request as `terminus` of buoyantio/bb does.
//   PAYLOAD         the text of its answers            (default "hello")
//   PORT            where it listens                   (default 8888)
//   DELAY_MS        how long an answer takes           (default 0)
//   FAILURE_PERCENT how many of a hundred answers are 500 (default 0)
import { createServer } from "node:http";

const payload = process.env.PAYLOAD ?? "hello";
const port = number("PORT", 8888, 65535);
const delay = number("DELAY_MS", 0, 600_000);
const failures = number("FAILURE_PERCENT", 0, 100);

const server = createServer((request, response) => {
  request.resume();
  const id = Math.floor(Math.random() * 1e9);
  const body = JSON.stringify({ requestUID: `in:http-sid:terminus-grpc:-1-h1:${port}-${id}`, payload });
  const status = Math.random() * 100 < failures ? 500 : 200;
  setTimeout(() => response.writeHead(status, { "content-type": "application/json" }).end(body), delay);
});
server.listen(port, () => console.log(`answering ${JSON.stringify(payload)} on port ${port}`));

// The first process of a container gets no signal that it does not ask for.
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    // Requests under way are answered; connections without one are closed.
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}

function number(name, fallback, most) {
  const text = process.env[name] ?? String(fallback);
  if (!/^\d+$/.test(text) || Number(text) > most) {
    console.error(`${name} is "${text}"; it must be a whole number from 0 to ${most}`);
    process.exit(2);
  }
  return Number(text);
}

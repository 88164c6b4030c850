import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { Link } from "../../contract/index.ts";
import { KubeClient } from "../../controller/kube/client.ts";
import { forAll } from "../../scripts/bench/bare-client.ts";
import { type RecordedCall, RecordingProxy } from "./recording-proxy.ts";
import { until } from "./until.ts";
import { World } from "./world.ts";

const MIRRORED = 1_000;
/** Services that cannot be mirrored: each has a message of its own in the status. */
const FAILING = 4_000;
/** An API server stores objects of a megabyte and a half; a status that large would be read by nobody. */
const LIMIT_BYTES = 256 * 1024;

let world: World;
let proxy: RecordingProxy;
let client: KubeClient;
const record: RecordedCall[] = [];

beforeAll(async () => {
  world = await World.create();
  proxy = await RecordingProxy.open("controller", record, world.sourceCredentials);
  client = new KubeClient({ cluster: "source", credentials: proxy.credentials() });
});
afterAll(async () => {
  await world.destroy();
  await client.close();
  await proxy.close();
}, 600_000);

const statusWrites = () =>
  record.filter(({ method, path }) => method === "PATCH" && /\/links\/remote\/status/.test(path));

test("a Link with 5,000 services has a status that stays small, failures first, written once a second at the most", async () => {
  const udp = { ports: [{ name: "dns", port: 53, protocol: "UDP" }] };
  const names = [
    ...Array.from({ length: MIRRORED }, (_, n) => `a-good-one-${n}`),
    ...Array.from({ length: FAILING }, (_, n) => `udp-${n}`),
  ];
  await forAll(names, 16, (name) => world.export(name, {}, name.startsWith("udp") ? udp : {}));
  await world.link();
  const since = performance.now();
  await world.start({ client });
  let largest = 0;
  const link = await until(async (): Promise<Link> => {
    const found = await world.getLink();
    largest = Math.max(largest, JSON.stringify(found.status ?? {}).length);
    const { mirroredServices, failedServices } = found.status ?? {};
    if (mirroredServices !== MIRRORED || failedServices !== FAILING)
      throw new Error(`${mirroredServices} mirrored, ${failedServices} failed`);
    return found;
  }, 300_000);
  const seconds = (performance.now() - since) / 1000;
  console.log(
    `5,000 services: ${statusWrites().length} status writes in ${seconds.toFixed(1)} s; the status has ${JSON.stringify(link.status).length} bytes, ${largest} at the most`,
  );
  expect(largest).toBeLessThan(LIMIT_BYTES);
  expect(JSON.stringify(link).length).toBeLessThan(LIMIT_BYTES);
  expect(statusWrites().length).toBeGreaterThan(0);
  // The first one need not wait.
  expect(statusWrites().length).toBeLessThanOrEqual(seconds + 1);

  const services = link.status?.services ?? [];
  expect(services.length).toBeGreaterThan(100);
  expect(services.every(({ mirrored, reason }) => !mirrored && reason === "InvalidService")).toBe(true);
  expect(link.status?.conditions).toContainEqual(
    expect.objectContaining({
      type: "Synced",
      status: "False",
      reason: "ServicesFailed",
      message: expect.stringContaining(
        "4000 of 5000 exported services are not mirrored: InvalidService 4000",
      ),
    }),
  );
  // One Event for each would be a flood.
  expect((await world.events()).length).toBeLessThan(100);

  // What is mended makes room, and is no longer told.
  const before = statusWrites().length;
  await world.export("udp-0");
  await until(async () => {
    const { failedServices } = (await world.getLink()).status ?? {};
    if (failedServices !== FAILING - 1) throw new Error(`${failedServices} failed`);
  });
  expect(statusWrites().length - before).toBeLessThanOrEqual(3);
}, 600_000);

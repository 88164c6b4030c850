import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { Service } from "../../controller/kube/objects.ts";
import { until } from "./until.ts";
import { World } from "./world.ts";

/** Cluster names that make a mirror's name of exactly 63 characters of the longest service's, and of one less. */
const SERVICE_62 = `s${"a".repeat(61)}`;
const SERVICE_63 = `s${"a".repeat(62)}`;
const EXACT = `e${"x".repeat(56)}`;

let world: World;
beforeAll(async () => {
  world = await World.create();
  await world.link();
  await world.link({}, EXACT);
  await world.start();
  await world.export("plain");
  await until(() => world.mirror("plain-remote"));
});
afterAll(() => world.destroy());

const port = (n: number, protocol = "TCP") => ({
  name: `p${n}-${protocol.toLowerCase()}`,
  port: n,
  protocol,
});

interface Odd {
  name: string;
  metadata?: Partial<Service["metadata"]>;
  spec?: Service["spec"];
  /** What its mirror must have. */
  mirror?: (mirror: Service) => void;
  /** Why there is none, and a word of why. */
  refused?: [reason: string, words: string];
  /** What the status says beside a mirror. */
  note?: string;
  mirrorName?: string;
}

const ports = (mirror: Service) =>
  (mirror.spec?.ports ?? []).map((each) => `${each.name ?? ""} ${each.port}/${each.protocol}`);

const table: [what: string, odd: Odd][] = [
  [
    "an unnamed port",
    {
      name: "unnamed",
      spec: { ports: [{ port: 80 }] },
      mirror: (m) => expect(ports(m)).toEqual([" 80/TCP"]),
    },
  ],
  [
    "one port number for TCP and for UDP",
    {
      name: "twice",
      spec: { ports: [port(53), port(53, "UDP")] },
      mirror: (m) => expect(ports(m)).toEqual(["p53-tcp 53/TCP"]),
      note: "p53-udp (UDP)",
    },
  ],
  [
    "UDP only",
    { name: "udp", spec: { ports: [port(53, "UDP")] }, refused: ["InvalidService", "only p53-udp (UDP)"] },
  ],
  ["SCTP only", { name: "sctp", spec: { ports: [port(5, "SCTP")] }, refused: ["InvalidService", "SCTP"] }],
  [
    "SCTP and TCP",
    {
      name: "mixed",
      spec: { ports: [port(5, "SCTP"), port(80)] },
      mirror: (m) => expect(ports(m)).toEqual(["p80-tcp 80/TCP"]),
    },
  ],
  ["no port", { name: "portless", spec: { clusterIP: "None", ports: [] }, refused: ["InvalidService", ""] }],
  [
    "100 ports",
    {
      name: "hundred",
      spec: { ports: Array.from({ length: 100 }, (_, n) => port(1000 + n)) },
      mirror: (m) => expect(m.spec?.ports).toHaveLength(100),
    },
  ],
  [
    "200 ports",
    {
      name: "two-hundred",
      spec: { ports: Array.from({ length: 200 }, (_, n) => port(1000 + n)) },
      refused: ["InvalidService", "200 TCP ports"],
    },
  ],
  [
    "type ExternalName",
    {
      name: "external",
      spec: { type: "ExternalName", externalName: "example.com", ports: [] } as Service["spec"],
      refused: ["InvalidService", "ExternalName"],
    },
  ],
  [
    "annotations of 256 KiB",
    {
      name: "large",
      metadata: { annotations: { "example.com/a": "x".repeat(256 * 1024 - 13) } },
      refused: ["InvalidService", "excludedAnnotations"],
    },
  ],
  [
    "annotations in every script",
    {
      name: "unicode",
      metadata: {
        annotations: {
          "example.com/greeting": "grüß Gott, 你好, 👋🏽, \u202e, \u0000".replace("\u0000", ""),
        },
      },
      mirror: (m) => expect(m.metadata.annotations?.["example.com/greeting"]).toContain("你好, 👋🏽"),
    },
  ],
  [
    "annotations under keys of every sort",
    {
      name: "keys",
      metadata: {
        annotations: {
          plain: "1",
          constructor: "2",
          "example.com/toString": "3",
          "kubectl.kubernetes.io/x": "4",
          "service.beta.kubernetes.io/x": "5",
          "mirror.linkerd.io/gateway-identity": "evil",
          "isthmus.dev/egress-ports": "evil",
          "multicluster.linkerd.io/x": "evil",
          "config.linkerd.io/opaque-ports": "80",
        },
      },
      mirror: (m) => {
        const copied = m.metadata.annotations ?? {};
        expect(copied).toMatchObject({ plain: "1", constructor: "2", "example.com/toString": "3" });
        expect(copied).toMatchObject({ "config.linkerd.io/opaque-ports": "80" });
        expect(Object.values(copied)).not.toContain("evil");
        expect(Object.keys(copied).filter((key) => /kubernetes\.io|multicluster/.test(key))).toEqual([]);
      },
    },
  ],
  [
    "a name of 62 characters",
    { name: SERVICE_62, mirrorName: "shortened", mirror: (m) => expect(m.metadata.name).toHaveLength(63) },
  ],
  [
    "a name of 63 characters",
    { name: SERVICE_63, mirrorName: "shortened", mirror: (m) => expect(m.metadata.name).toHaveLength(63) },
  ],
];

describe("an exported service with", () => {
  test.each(table)(
    "%s is mirrored as it can be, or the status says why not, and others do not notice",
    async (_, odd) => {
      const { name, metadata = {}, spec = {} } = odd;
      await world.export(name, metadata, spec);
      if (odd.refused !== undefined) {
        const [reason, words] = odd.refused;
        const status = await world.serviceReason(name, reason);
        expect(status.message).toContain(words);
        expect(status.mirrored).toBe(false);
        await until(async () => {
          const events = await world.events();
          if (
            !events.some(
              (each) => each.reason === reason && each.message?.includes(`${world.namespace}/${name} `),
            )
          )
            throw new Error(`no Event tells of ${name}`);
        });
      } else {
        const status = await world.serviceReason(name, "Mirrored");
        if (odd.mirrorName === undefined) expect(status.mirror).toBe(`${name}-remote`);
        if (odd.note !== undefined) expect(status.message).toContain(odd.note);
        odd.mirror?.(await world.mirror(status.mirror));
        // The slice goes with it, port for port.
        const slice = await until(() => world.slice(status.mirror));
        expect(slice.ports).toHaveLength(((await world.mirror(status.mirror)).spec?.ports ?? []).length);
      }
      await world.condition("Connected").then((condition) => expect(condition?.status).toBe("True"));
    },
  );
});

test("a mirror's name of exactly 63 characters is used as it is, one of 64 is shortened, and both stay apart", async () => {
  await world.export("abcde");
  await world.export("abcdef");
  expect(`abcde-${EXACT}`).toHaveLength(63);
  await until(() => world.mirror(`abcde-${EXACT}`));
  const { mirror } = await world.serviceReason("abcdef", "Mirrored", EXACT);
  expect(mirror).toHaveLength(63);
  expect(mirror).not.toBe(`abcdef-${EXACT}`.slice(0, 63));
});

test("an address that an API server takes and we would not keeps nothing else from being mirrored", async () => {
  const service = await world.export("leading-zeros");
  await world.putSlice(service, [{ addresses: ["010.0.0.1"] }]);
  await world.export("after-it");
  await until(() => world.mirror("after-it-remote"));
  expect((await until(() => world.slice("leading-zeros-remote"))).endpoints).not.toEqual([]);
  await until(async () => expect(await world.condition("Connected")).toMatchObject({ status: "True" }));
});

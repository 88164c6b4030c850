import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { KubeClient } from "../../controller/kube/client.ts";
import { silentLog } from "../../controller/kube/log.ts";
import { SERVICES } from "../../controller/kube/resource.ts";
import { type Call, Transport } from "../../controller/kube/transport.ts";
import { Target } from "../../controller/mirror/target/target.ts";
import { FakeApi } from "../support/fake-api.ts";
import type { FakeRequest } from "../support/fake-api-request.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { aLink, anExport } from "../support/mirror-objects.ts";
import { eventually } from "../support/wait.ts";

/** A quarter of a minute, and a fifth of that at the most. */
const PERIOD = 18_000;
const HEARTBEAT = 15_000;

let api: FakeApi;
let clock: FakeClock;
let target: Target;
/** How long an answer may be waited for, by the clock of the machine. */
let patience: number;

class Impatient extends Transport {
  override send(call: Call) {
    return super.send({ ...call, headersTimeoutMs: patience });
  }
}

beforeEach(async () => {
  api = await FakeApi.start({ namespaces: ["ns1"] });
  api.objects.create(SERVICES, anExport("web"));
  clock = new FakeClock();
  patience = 30_000;
  target = new Target(aLink(), {
    connect: (cluster, credentials) =>
      new KubeClient({ cluster, credentials, transport: (options) => new Impatient(options) }),
    clock,
    random: () => 0.99,
    log: silentLog,
    onState: () => undefined,
    onListed: () => undefined,
    onGateways: () => undefined,
  });
  connect("fake-token");
  await reason("Connected");
  await eventually(() => watches().every(([connected]) => connected));
});

afterEach(async () => {
  await target.stop();
  await api.close();
});

const connect = (token: string) =>
  target.connect(aLink(), { credentials: api.credentials(token), fingerprint: token });
const reason = (wanted: string) => eventually(() => target.state.reason === wanted);
const known = () => target.services.list().map(({ metadata }) => metadata.name);
/** Of each watch: whether it is open, and how often it was opened and its list taken. */
const watches = () =>
  target.watchState()?.map(({ connected, lists, watches }) => [connected, lists, watches]) ?? [];
const questions = () => api.requests.filter(({ query }) => query.get("limit") === "1");
const isQuestion = ({ watch }: { watch: boolean }) => !watch;

describe("while all watches stay open", () => {
  test("a small question a period is all that a target is asked", async () => {
    const before = api.requests.length;
    for (const count of [1, 2, 3]) {
      await clock.advance(PERIOD);
      await eventually(() => questions().length === count);
    }
    expect(api.requests.slice(before)).toEqual(questions());
    expect(target.state).toMatchObject({ status: "True", reason: "Connected" });
  });

  test("a token that is revoked is told of within a period, and a new one is all it takes", async () => {
    const before = watches();
    api.tokens.clear();
    await clock.advance(PERIOD);
    await reason("Unauthorized");
    expect(target.state).toMatchObject({
      status: "False",
      message: expect.stringContaining("replace the Secret's kubeconfig"),
    });
    expect(watches()).toEqual(before);
    expect(known()).toEqual(["web"]);
    api.tokens.set("another", Number.POSITIVE_INFINITY);
    connect("another");
    await reason("Connected");
    await eventually(() =>
      watches().every(([connected, lists, opened]) => connected && lists === 1 && opened === 2),
    );
    expect(known()).toEqual(["web"]);
  });

  test("a target that takes calls and answers none is told of, until it answers again", async () => {
    const before = watches();
    patience = 100;
    const wakeUp = api.faults.inject({ kind: "hang" }, { times: Number.POSITIVE_INFINITY, when: isQuestion });
    await clock.advance(PERIOD);
    await reason("Unreachable");
    expect(target.state.status).toBe("False");
    expect(watches()).toEqual(before);
    expect(known()).toEqual(["web"]);
    patience = 30_000;
    wakeUp();
    await eventually(async () => {
      await clock.advance(PERIOD);
      return target.state.reason === "Connected";
    });
    expect(watches()).toEqual(before);
  });

  test("a question that is not answered yet does not keep new credentials waiting", async () => {
    api.faults.inject({ kind: "hang" }, { when: isQuestion });
    await clock.advance(PERIOD);
    await eventually(() => questions().length === 1);
    api.tokens.set("another", Number.POSITIVE_INFINITY);
    connect("another");
    await eventually(() => questions().at(-1)?.token === "another");
    expect(target.state.reason).toBe("Connected");
  });

  test("a question that was answered badly is asked again soon, and less and less often", async () => {
    api.faults.inject(
      { kind: "status", status: 500, message: "etcd is leaving" },
      { times: 3, when: isQuestion },
    );
    await clock.advance(PERIOD);
    await reason("Unreachable");
    for (const [count, ms] of [1_000, 2_000, 4_000].entries()) {
      expect(questions()).toHaveLength(count + 1);
      await clock.advance(ms);
      await eventually(() => questions().length === count + 2);
    }
    await reason("Connected");
    await clock.advance(HEARTBEAT);
    expect(questions()).toHaveLength(4);
  });
});

describe("of watches that wait longer and longer", () => {
  const failing = (when: (request: FakeRequest) => boolean) =>
    api.faults.inject({ kind: "status", status: 503 }, { times: Number.POSITIVE_INFINITY, when });
  const isSlices = ({ path }: FakeRequest) => path.includes("endpointslices");

  test("none waits on when another is open again", async () => {
    const mend = failing(isSlices);
    api.watches.drop();
    await forLong();
    mend();
    expect(target.state.status).toBe("False");
    const asked = api.requests.length;
    await dropped();
    await reason("Connected");
    expect(api.requests.length - asked).toBe(watches().length);
  });

  test("those that the target has told to wait do so", async () => {
    const told = { kind: "status", status: 429, retryAfterSeconds: 60 } as const;
    api.faults.inject(told, { times: Number.POSITIVE_INFINITY, when: isSlices });
    const asked = () => api.requests.filter(isSlices).length;
    await dropped();
    await eventually(() => clock.pending().some((ms) => ms > 50_000));
    await clock.advance(2_000);
    const before = asked();
    const opened = watches()[0]?.[2];
    await dropped();
    await eventually(() => watches()[0]?.[2] !== opened);
    await clock.advance(500);
    expect(asked()).toBe(before);
  });

  test("none waits on when a question has been answered", async () => {
    const mend = failing(() => true);
    api.watches.drop();
    await forLong();
    mend();
    const before = questions().length;
    while (questions().length === before) await clock.advance(100);
    await reason("Connected");
  });

  /** All watches break, and each is tried again after the first of its pauses. */
  async function dropped(): Promise<void> {
    api.watches.drop();
    await eventually(() => clock.pending().some((ms) => ms <= 100));
    await clock.advance(100);
  }

  /** Until all pauses are as long as they get. */
  async function forLong(): Promise<void> {
    for (let passed = 0; passed < 120_000; passed += 500) await clock.advance(500);
  }
});

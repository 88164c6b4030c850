import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { Link } from "../../contract/index.ts";
import { KubeClient } from "../../controller/kube/client.ts";
import { silentLog } from "../../controller/kube/log.ts";
import type { Secret } from "../../controller/kube/objects.ts";
import { SECRETS } from "../../controller/kube/resource.ts";
import { Store } from "../../controller/kube/store.ts";
import { CredentialsSecrets } from "../../controller/mirror/credentials/secrets.ts";
import { FakeApi } from "../support/fake-api.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { aLink } from "../support/mirror-objects.ts";
import { eventually } from "../support/wait.ts";

const TYPE = "mirror.linkerd.io/remote-kubeconfig";

let api: FakeApi;
let client: KubeClient;
let clock: FakeClock;
let links: Store<Link>;
let secrets: CredentialsSecrets;
let told: string[];
let stop: AbortController;
let running: Promise<void>;

beforeEach(async () => {
  api = await FakeApi.start();
  client = new KubeClient({ cluster: "source", credentials: api.credentials() });
  clock = new FakeClock();
  links = new Store<Link>();
  secrets = new CredentialsSecrets({ client, links, clock, random: () => 0.5, log: silentLog });
  told = [];
  secrets.onChange((key) => void told.push(key));
  stop = new AbortController();
  running = secrets.run(stop.signal);
});

afterEach(async () => {
  stop.abort();
  await running;
  await client.close();
  await api.close();
});

function put(name: string, kubeconfig = "k", type = TYPE): void {
  const data = { kubeconfig: Buffer.from(kubeconfig).toString("base64"), other: "c2VjcmV0" };
  const object: Secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { namespace: "isthmus", name },
    type,
    data,
  };
  if (api.objects.find(SECRETS, object.metadata)) api.objects.update(SECRETS, object);
  else api.objects.create(SECRETS, object);
}

function link(name: string, secret: string): void {
  links.apply(aLink({ clusterCredentialsSecret: secret }, { name }));
}

const kubeconfigOf = (name: string) => {
  const found = secrets.lookup(`isthmus/${name}`);
  const encoded = found.state === "known" ? found.secret?.data?.kubeconfig : undefined;
  return encoded && Buffer.from(encoded, "base64").toString();
};
/** What the API server was asked for about Secrets. */
const asked = () =>
  new Set(
    api.requests
      .filter(({ resource }) => resource?.plural === "secrets")
      .map(({ query }) => query.get("fieldSelector")),
  );

describe("the Secrets that Links name", () => {
  test("are asked for by their names, and no other is", async () => {
    put("a", "first");
    put("isthmus-issuer", "key");
    link("one", "a");
    await eventually(() => kubeconfigOf("a") === "first");
    put("a", "second");
    await eventually(() => kubeconfigOf("a") === "second");
    expect(asked()).toEqual(new Set(["metadata.name=a"]));
    expect(secrets.lookup("isthmus/isthmus-issuer")).toEqual({ state: "unknown" });
    expect(told.every((key) => key === "isthmus/a")).toBe(true);
  });

  test("are known to be missing, and come when they are made", async () => {
    link("one", "a");
    await eventually(() => secrets.lookup("isthmus/a").state === "known");
    expect(secrets.lookup("isthmus/a")).toEqual({ state: "known", secret: undefined });
    expect(told).toEqual(["isthmus/a"]);
    put("a");
    await eventually(() => kubeconfigOf("a") === "k");
    api.objects.delete(SECRETS, { namespace: "isthmus", name: "a" });
    await eventually(() => kubeconfigOf("a") === undefined);
    expect(told).toHaveLength(3);
  });

  test("are watched once, however many Links name them, and no longer than one does", async () => {
    put("a");
    link("one", "a");
    link("two", "a");
    await eventually(() => kubeconfigOf("a") === "k");
    await eventually(() => api.watches.size === 1);
    links.delete(aLink({}, { name: "one" }));
    await clock.advance(0);
    expect(api.watches.size).toBe(1);
    links.delete(aLink({}, { name: "two" }));
    await eventually(() => api.watches.size === 0);
    expect(secrets.lookup("isthmus/a")).toEqual({ state: "unknown" });
  });

  test("change with what a Link names", async () => {
    put("a", "of a");
    put("b", "of b");
    link("one", "a");
    await eventually(() => kubeconfigOf("a") === "of a");
    link("one", "b");
    await eventually(() => kubeconfigOf("b") === "of b");
    await eventually(() => api.watches.size === 1);
    expect(secrets.lookup("isthmus/a")).toEqual({ state: "unknown" });
  });

  test("that may not be read say so by themselves, and are read once they may be", async () => {
    put("a");
    put("b");
    api.forbids = ({ query }) => query.get("fieldSelector") === "metadata.name=b";
    link("one", "a");
    link("two", "b");
    await eventually(() => secrets.lookup("isthmus/b").state === "forbidden");
    await eventually(() => kubeconfigOf("a") === "k");
    expect(told).toContain("isthmus/b");
    const { length } = told;
    await clock.advance(60_000);
    // Asked again and again, and nothing new is told.
    expect(told).toHaveLength(length);
    api.forbids = () => false;
    await clock.advance(10_000);
    await eventually(() => kubeconfigOf("b") === "k");
  });

  test("of another type are known without what is in them", async () => {
    put("a", "key", "kubernetes.io/tls");
    link("one", "a");
    await eventually(() => secrets.lookup("isthmus/a").state === "known");
    expect(secrets.lookup("isthmus/a")).toMatchObject({ secret: { type: "kubernetes.io/tls", data: {} } });
  });

  test("are kept without what is not used, and no more of one than shows that it is too long", async () => {
    put("a", "x".repeat(1_000_000));
    link("one", "a");
    await eventually(() => kubeconfigOf("a") !== undefined);
    expect(kubeconfigOf("a")!.length).toBeLessThan(100_000);
    const found = secrets.lookup("isthmus/a");
    expect(found.state === "known" && Object.keys(found.secret?.data ?? {})).toEqual(["kubeconfig"]);
  });
});

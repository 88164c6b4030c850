import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { KubeClient } from "../../controller/kube/client.ts";
import { silentLog } from "../../controller/kube/log.ts";
import type { Secret } from "../../controller/kube/objects.ts";
import { SECRETS } from "../../controller/kube/resource.ts";
import { LinkerdCopies } from "../../controller/mirror/credentials/linkerd-copy.ts";
import { SourceWriter } from "../../controller/mirror/writer.ts";
import { FakeApi } from "../support/fake-api.ts";
import { aLink } from "../support/mirror-objects.ts";

const COPY = { namespace: "linkerd", name: "cluster-credentials-remote" };

describe("a copy of credentials for Linkerd that something is in the way of", () => {
  let api: FakeApi;
  let client: KubeClient;
  let copies: LinkerdCopies;
  let events: string[];

  beforeEach(async () => {
    api = await FakeApi.start({ namespaces: ["isthmus", "linkerd"] });
    client = new KubeClient({ cluster: "source", credentials: api.credentials() });
    events = [];
    const writer = new SourceWriter(
      client,
      () => undefined,
      () => undefined,
    );
    copies = new LinkerdCopies({
      namespace: COPY.namespace,
      writer,
      events: { record: (_, { reason }) => events.push(reason) },
      log: silentLog,
      onNews: () => undefined,
    });
  });

  afterEach(async () => {
    await client.close();
    await api.close();
  });

  const credentials: Secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { namespace: "isthmus", name: COPY.name },
    data: { kubeconfig: "b3Vycw==" },
  };
  const keep = () => copies.keep(aLink(), credentials, AbortSignal.timeout(10_000));
  const found = () => [copies.condition(aLink())?.reason, api.objects.find(SECRETS, COPY)?.data?.kubeconfig];

  test("is tried again, without anybody having to say so, until it is allowed", async () => {
    api.forbids = ({ path }) => path.includes("/namespaces/linkerd/secrets");
    expect(await keep()).toEqual({ againMs: 30_000 });
    expect(found()).toEqual(["CopyFailed", undefined]);
    api.forbids = () => false;
    expect(await keep()).toBeUndefined();
    expect(found()).toEqual(["CredentialsCopied", "b3Vycw=="]);
  });

  test("is tried again until what is not ours has gone", async () => {
    api.objects.create(SECRETS, { ...credentials, metadata: COPY, data: { kubeconfig: "dGhlaXJz" } });
    expect(await keep()).toEqual({ againMs: 30_000 });
    expect(found()).toEqual(["CopyConflict", "dGhlaXJz"]);
    api.objects.delete(SECRETS, COPY);
    expect(await keep()).toBeUndefined();
    expect(found()).toEqual(["CredentialsCopied", "b3Vycw=="]);
  });

  test("is made under its new name also where the former may not be looked for any more", async () => {
    expect(await keep()).toBeUndefined();
    api.forbids = ({ path }) => path.endsWith(`/namespaces/linkerd/secrets/${COPY.name}`);
    const renamed = { ...credentials, metadata: { namespace: "isthmus", name: "renamed" } };
    expect(await copies.keep(aLink(), renamed, AbortSignal.timeout(10_000))).toBeUndefined();
    expect(copies.condition(aLink())?.reason).toBe("CredentialsCopied");
    expect(api.objects.find(SECRETS, { namespace: COPY.namespace, name: "renamed" })).toBeDefined();
    expect(events).toEqual(["CopyFailed"]);
  });
});

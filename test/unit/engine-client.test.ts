import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { Client, type KubeObject } from "../../stacks/engines/embedded/kubernetes/client.ts";
import { ApiError, Unreachable } from "../../stacks/engines/embedded/kubernetes/errors.ts";
import { NotReady, waitUntil } from "../../stacks/engines/embedded/kubernetes/wait.ts";
import { StackApi } from "../support/stack-api.ts";

let server: Server;
let answer: RequestListener;
let client: Client;

const kubeconfig = (address: string) =>
  JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster: { server: address, "insecure-skip-tls-verify": true } }],
    users: [{ name: "u", user: { token: "the-token" } }],
    contexts: [
      { name: "east", context: { cluster: "c", user: "u" } },
      { name: "west", context: { cluster: "c", user: "u", namespace: "shop" } },
    ],
    "current-context": "east",
  });

beforeEach(async () => {
  server = createServer((request, response) => answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  client = new Client(kubeconfig(`http://127.0.0.1:${(server.address() as AddressInfo).port}`), "", "");
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const json = (response: ServerResponse, body: object, status = 200, headers = {}) =>
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));

describe("a client of an API server", () => {
  test("takes the context that it is told, its namespace, and otherwise the current one", () => {
    const config = kubeconfig("https://one:6443/");
    expect(client).toMatchObject({ name: "east", namespace: "default" });
    expect(new Client(config, "west", "")).toMatchObject({
      name: "west",
      namespace: "shop",
      server: "https://one:6443",
    });
    expect(new Client(config, "west", "own").namespace).toBe("own");
    expect(() => new Client(config, "south", "")).toThrow(
      'the kubeconfig has no context "south" with a cluster; it has east, west',
    );
  });

  test("says who it is, what it sends, and passes warnings on", async () => {
    let seen: IncomingMessage | undefined;
    answer = (request, response) => {
      seen = request;
      json(response, { kind: "ConfigMap" }, 200, { warning: '299 - "v1 is old", 299 - "say \\"v2\\""' });
    };
    const warnings: string[] = [];
    await client.request({ method: "PATCH", path: "/api/v1/x", query: { dryRun: "All" }, body: {} }, (text) =>
      warnings.push(text),
    );
    expect(seen?.url).toBe("/api/v1/x?dryRun=All");
    expect(seen?.headers).toMatchObject({
      authorization: "Bearer the-token",
      "content-type": "application/apply-patch+yaml",
    });
    expect(warnings).toEqual(["v1 is old", 'say "v2"']);
  });

  test("tries again what is busy, and gives up in the server's words", async () => {
    let asked = 0;
    answer = (_, response) => {
      asked++;
      json(response, { message: "slow down", reason: "TooManyRequests" }, 429, { "retry-after": "0.001" });
    };
    await expect(client.request({ method: "GET", path: "/" })).rejects.toThrow("slow down");
    expect(asked).toBe(5);
  });

  test("does not try again what was refused", async () => {
    let asked = 0;
    answer = (_, response) => {
      asked++;
      json(response, { message: "no", reason: "Forbidden" }, 403);
    };
    const error = await client.request({ method: "GET", path: "/" }).catch((thrown: ApiError) => thrown);
    expect(error).toBeInstanceOf(ApiError);
    expect([asked, (error as ApiError).reason]).toEqual([1, "Forbidden"]);
  });

  test("tries again when its connection is cut", async () => {
    let asked = 0;
    answer = (request, response) =>
      asked++ === 0 ? request.socket.destroy() : json(response, { kind: "X" });
    expect(await client.request({ method: "GET", path: "/" })).toEqual({ kind: "X" });
  });

  test("says which cluster cannot be reached, where, and why", async () => {
    const nobody = new Client(kubeconfig("http://127.0.0.1:1"), "", "");
    const error = await nobody.request({ method: "GET", path: "/" }).catch((thrown: Unreachable) => thrown);
    expect(error).toBeInstanceOf(Unreachable);
    expect((error as Error).message).toMatch(
      /^cluster east \(http:\/\/127\.0\.0\.1:1\) cannot be reached: .*ECONNREFUSED/,
    );
  });
});

describe("waiting for an object", () => {
  const place = { collection: "/api/v1/namespaces/default/configmaps", name: "a" };
  const withPhase = (phase: string): KubeObject => ({ metadata: { name: "a", resourceVersion: "7" }, phase });
  const ready = (object: KubeObject | undefined) =>
    object?.phase === "done"
      ? ({ state: "ready" } as const)
      : ({ state: "waiting", why: "it is not done" } as const);
  const never = new AbortController().signal;
  const isWatch = (request: IncomingMessage) => request.url?.includes("watch=true");

  test("ends with the event that makes it ready, and watches from what it has read", async () => {
    const urls: (string | undefined)[] = [];
    answer = (request, response) => {
      urls.push(request.url);
      if (!isWatch(request)) return json(response, withPhase("new"));
      response.writeHead(200);
      response.write(`${JSON.stringify({ type: "MODIFIED", object: withPhase("half") })}\n`);
      response.write(`${JSON.stringify({ type: "MODIFIED", object: withPhase("done") })}\n`);
    };
    expect(await waitUntil(client, place, ready, 60_000, never)).toEqual(withPhase("done"));
    expect(urls[1]).toMatch(/fieldSelector=metadata.name%3Da&resourceVersion=7/);
  });

  test.each<[string, (response: ServerResponse) => void]>([
    ["a watch that ends", (response) => response.writeHead(200).end()],
    ["a watch that breaks", (response) => response.socket?.destroy()],
    [
      "a version that is too old",
      (response) => json(response, { message: "too old", reason: "Expired" }, 410),
    ],
    [
      "an error in the stream",
      (response) =>
        response.writeHead(200).write(`${JSON.stringify({ type: "ERROR", object: { code: 410 } })}\n`),
    ],
  ])("reads again after %s", async (_, broken) => {
    let reads = 0;
    answer = (request, response) =>
      isWatch(request) ? broken(response) : json(response, withPhase(++reads > 2 ? "done" : "new"));
    expect(await waitUntil(client, place, ready, 60_000, never)).toEqual(withPhase("done"));
  });

  test("goes on through a restart of the API server", async () => {
    let reads = 0;
    answer = (request, response) => {
      reads++;
      if (reads === 2) return json(response, { message: "starting" }, 500);
      if (reads === 3) return request.socket.destroy();
      json(response, withPhase(reads > 4 ? "done" : "new"));
    };
    expect(await waitUntil(client, place, ready, 60_000, never)).toEqual(withPhase("done"));
  });

  test("ends when time is up, even in the middle of a silent watch, and says what was missing", async () => {
    answer = (request, response) =>
      isWatch(request) ? response.writeHead(200).flushHeaders() : json(response, withPhase("new"));
    const error = await waitUntil(client, place, ready, 50, never).catch((thrown: NotReady) => thrown);
    expect(error).toBeInstanceOf(NotReady);
    expect((error as NotReady).message).toBe("not ready after 0.05 s: it is not done");
    expect((error as NotReady).object).toEqual(withPhase("new"));
  });

  test("ends when the run is interrupted", async () => {
    const controller = new AbortController();
    answer = (request, response) => {
      if (!isWatch(request)) return json(response, withPhase("new"));
      response.writeHead(200).flushHeaders();
      controller.abort();
    };
    await expect(waitUntil(client, place, ready, 60_000, controller.signal)).rejects.toThrow(
      "interrupted while waiting: it is not done",
    );
  });

  test("ends when it can only fail", async () => {
    answer = (_, response) => json(response, withPhase("broken"));
    const failed = () => ({ state: "failed", why: "its names are taken" }) as const;
    await expect(waitUntil(client, place, failed, 60_000, never)).rejects.toThrow("its names are taken");
  });

  test("can be for its end", async () => {
    const api = await StackApi.start();
    try {
      const other = new Client(api.kubeconfig, "", "");
      const gone = (object: KubeObject | undefined) =>
        object === undefined ? ({ state: "ready" } as const) : ({ state: "waiting", why: "there" } as const);
      expect(await waitUntil(other, place, gone, 60_000, never)).toBeUndefined();
    } finally {
      await api.stop();
    }
  });
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { EXPORTED_LABEL, FEDERATED_LABEL, INGRESS, REMOTE_HOST_ANNOTATION } from "../../contract/index.ts";
import { statefulWorkload, TestMesh, until, workload } from "../support/mesh.ts";

/** Calls to services that are more than one address behind a name: pods of headless ones, and federated ones. */
describe("a mesh of east and west", () => {
  let folder: string;
  let mesh: TestMesh;

  /** Who answers a call from east; undefined when nobody does. */
  async function answerOf(host: string): Promise<string | undefined> {
    const answer = await mesh.curl("east", `http://${host}:8888`);
    return answer === undefined ? undefined : JSON.parse(answer).payload;
  }

  /** Who answers so many calls, one after another. */
  async function answersOf(host: string, calls: number): Promise<(string | undefined)[]> {
    const answers: (string | undefined)[] = [];
    for (let call = 0; call < calls; call++) answers.push(await answerOf(host));
    return answers;
  }

  const scale = (cluster: string, what: string, replicas: number, namespace = "default") =>
    mesh.kubectl(cluster, "scale", what, `--replicas=${replicas}`, "-n", namespace);
  const rolledOut = (cluster: string, what: string, namespace = "default") =>
    mesh.kubectl(cluster, "rollout", "status", what, "-n", namespace, "--timeout=120s");
  const isThere = async (cluster: string, ...what: string[]) =>
    (await mesh.tryKubectl(cluster, "get", ...what)).exitCode === 0;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "isthmus-modes-"));
    mesh = await TestMesh.at(folder);
    await mesh.apply("east", ...workload("caller", "east-caller", "caller"));
    await mesh.apply("west", ...statefulWorkload("db", 3, { [EXPORTED_LABEL]: "true" }));
    for (const cluster of ["east", "west"]) {
      await mesh.apply(cluster, ...federatedWorkload("backend", `${cluster}-backend`));
    }
    await mesh.declare();
    const up = await mesh.isthmus("up", "--yes");
    expect(up.exitCode === 0 ? "" : up.stdout + up.stderr).toBe("");
    await rolledOut("east", "deployment/caller");
    await rolledOut("west", "statefulset/db");
    for (const cluster of ["east", "west"]) await rolledOut(cluster, "deployment/backend");
  }, 600_000);

  afterAll(async () => {
    for (const cluster of ["east", "west"]) {
      const workloads = "statefulset/db,deployment/backend,deployment/caller,service/db,service/backend";
      await mesh.kubectl(cluster, "delete", "--ignore-not-found", ...workloads.split(","));
    }
    await mesh.isthmus("destroy", "--yes");
    await rm(folder, { recursive: true, force: true });
  }, 300_000);

  describe("with a headless service exported by west", () => {
    test("reaches exactly the pod whose mirror is called", async () => {
      for (const pod of ["db-0", "db-1", "db-2"]) {
        await until(() => answerOf(`${pod}-west`), `an answer of ${pod}-west`);
        expect(await answersOf(`${pod}-west`, 3)).toEqual([pod, pod, pod]);
      }
    }, 180_000);

    test("knows the pods by their names under the service's own mirror", async () => {
      for (const pod of ["db-0", "db-1", "db-2"]) {
        const host = `${pod}.db-west.default.svc.cluster.local`;
        await until(async () => (await answerOf(host)) === pod, `${pod} to answer as ${host}`);
      }
      const { spec } = await mesh.get<{ spec: object }>("east", "service", "db-west");
      expect(spec).toMatchObject({ clusterIP: "None" });
      expect(["db-0", "db-1", "db-2"]).toContain(await answerOf("db-west"));
    }, 180_000);

    test("follows the pods as their number grows and shrinks, and leaves the others alone", async () => {
      await scale("west", "statefulset/db", 4);
      await until(async () => (await answerOf("db-3-west")) === "db-3", "an answer of db-3-west");
      await scale("west", "statefulset/db", 1);
      for (const pod of ["db-1", "db-2", "db-3"]) {
        await until(async () => !(await isThere("east", "service", `${pod}-west`)), `no mirror of ${pod}`);
      }
      expect(await answersOf("db-0-west", 3)).toEqual(["db-0", "db-0", "db-0"]);
      await scale("west", "statefulset/db", 3);
      await until(async () => (await answerOf("db-2-west")) === "db-2", "an answer of db-2-west");
    }, 240_000);

    test("finds a pod again that has come back at another address", async () => {
      await mesh.kubectl("west", "delete", "pod", "db-1");
      await rolledOut("west", "statefulset/db");
      await until(async () => (await answerOf("db-1-west")) === "db-1", "an answer of db-1-west");
      const service = await mesh.get<{ metadata: { annotations: object } }>("east", "service", "db-1-west");
      expect(service.metadata.annotations).toMatchObject({ [REMOTE_HOST_ANNOTATION]: "db-1" });
    }, 180_000);
  });

  describe("with a service that both are members of", () => {
    test("answers from both clusters", async () => {
      const seen = new Set<string>();
      await until(async () => {
        const answer = await answerOf("backend-federated");
        if (answer !== undefined) seen.add(answer);
        return seen.size === 2;
      }, "answers from both clusters");
      expect([...seen].sort()).toEqual(["east-backend", "west-backend"]);
    }, 120_000);

    test("goes on with one when the other's gateway is gone, and with both when it is back", async () => {
      await scale("west", `deployment/${INGRESS}`, 0, "isthmus");
      try {
        await until(
          async () => (await answersOf("backend-federated", 10)).every((answer) => answer === "east-backend"),
          "east alone to answer",
        );
        expect(new Set(await answersOf("backend-federated", 10))).toEqual(new Set(["east-backend"]));
      } finally {
        await scale("west", `deployment/${INGRESS}`, 2, "isthmus");
      }
      await rolledOut("west", `deployment/${INGRESS}`, "isthmus");
      await until(
        async () => (await answersOf("backend-federated", 5)).includes("west-backend"),
        "west to answer again",
      );
    }, 300_000);

    test("is called at one when the other leaves", async () => {
      await mesh.kubectl("west", "label", "service", "backend", `${FEDERATED_LABEL}-`);
      await until(
        async () => (await answersOf("backend-federated", 10)).every((answer) => answer === "east-backend"),
        "east alone to answer",
      );
      await mesh.kubectl("west", "label", "service", "backend", `${FEDERATED_LABEL}=member`);
      await until(
        async () => (await answersOf("backend-federated", 5)).includes("west-backend"),
        "west to answer again",
      );
    }, 240_000);
  });
});

/** As `workload`, with a Service that is a member of the federated service of its name. */
function federatedWorkload(name: string, payload: string): object[] {
  const [deployment, service] = workload(name, payload) as [object, { metadata: object }];
  const metadata = { ...service.metadata, labels: { [FEDERATED_LABEL]: "member" } };
  return [deployment, { ...service, metadata }];
}

/** Brings one stack up in a process of its own, so that a test can kill it. Arguments: the state's folder, the program. */
import { join } from "node:path";
import { EmbeddedEngine } from "../../stacks/engines/embedded/engine.ts";

const [folder = "", program = ""] = process.argv.slice(2);
const engine = new EmbeddedEngine({
  mesh: "demo",
  meshFile: join(folder, "mesh.yaml"),
  stateFile: join(folder, "state", "demo.json"),
  program,
});
await engine.up("demo-a");

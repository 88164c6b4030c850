import { start } from "./start.js";

/** What Pulumi runs for every stack of a mesh; it takes the program from the default export. */
const { program } = await start("stacks/index");
// biome-ignore lint/style/noDefaultExport: Pulumi calls a default export, and takes what it returns as the outputs.
export default program;

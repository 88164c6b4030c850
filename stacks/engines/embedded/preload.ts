/**
 * Loaded into a program's process before the SDK. The SDK maps stack traces through its source maps, which name files
 * as `node_modules/@pulumi/resource.ts`; over a scoped package without a folder below it, Node's `util.inspect` never
 * finds an end and fills half a gigabyte before it gives up (seen with Node 22: half a minute for one error). Types are
 * stripped in place, so that traces are right without any mapping.
 */
import Module, { createRequire } from "node:module";

const sdk = createRequire(process.argv[1] ?? import.meta.url);
const mapping = sdk.resolve("source-map-support/register");
sdk.cache[mapping] = Object.assign(new Module(mapping), { filename: mapping, loaded: true });

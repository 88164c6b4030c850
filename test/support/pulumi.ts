import * as pulumi from "@pulumi/pulumi";

/** A value that a program handed over as a secret. */
export class Secret {
  readonly value: unknown;
  constructor(value: unknown) {
    this.value = value;
  }
}

/** What stands for a value that is not known in a preview. */
export const UNKNOWN = "<unknown>";

/** A resource as a program registered it. */
export interface Registered {
  type: string;
  name: string;
  custom: boolean;
  /** Secrets are instances of `Secret`, unknown values `UNKNOWN`. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look deep into objects whose shape they are about to assert
  inputs: any;
  /** Name and type of the parent. */
  parent: string;
  provider: string;
  /** URNs of what it depends on, by options and by inputs. */
  dependencies: string[];
  protect: boolean;
  ignoreChanges: string[];
}

export interface RunOptions {
  /** @default false */
  preview?: boolean;
  stack?: string;
  config?: Record<string, string>;
  /** Outputs of other stacks, by their fully qualified names. */
  stacks?: Record<string, Record<string, unknown>>;
}

export interface Run {
  resources: Registered[];
  /** Qualified stack names that a StackReference was made for. */
  read: string[];
  /** What the program returned, each output as it became known. */
  outputs: Record<string, Observed>;
  /** The resource of this type and name; fails the test where there is none. */
  find(type: string, name?: string): Registered;
  /** Every resource of this type. */
  all(type: string): Registered[];
}

/** An output at the end of a run. */
export interface Observed {
  known: boolean;
  secret: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  value: any;
}

const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";
const UNKNOWN_VALUE = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/**
 * Run a program as an engine would, with every resource made by `stateOf`; nothing outside is touched.
 *
 * @param program may return the stack's outputs
 */
export async function runProgram(program: () => unknown, options: RunOptions = {}): Promise<Run> {
  const resources: Registered[] = [];
  const read: string[] = [];
  const preview = options.preview ?? false;
  const stacks = options.stacks ?? {};
  const mocks: pulumi.runtime.Mocks = {
    newResource: ({ type, name, inputs, custom, id }) => {
      if (type === "pulumi:pulumi:StackReference") {
        read.push(id!);
        const outputs = stacks[id!];
        if (!outputs) throw new Error(`unknown stack ${JSON.stringify(id)}`);
        const secretOutputNames = Object.keys(outputs).filter((output) => output === "issuers");
        return { id: id!, state: { name: id, outputs, secretOutputNames } };
      }
      // In the preview of something new an engine knows what it was given, but no id, and nothing of what is to come.
      if (preview) return { id: undefined, state: inputs };
      return { id: custom ? `${name}-id` : undefined, state: stateOf(type, name, inputs) };
    },
    call: ({ token, inputs }) => {
      if (token !== "pulumi:pulumi:readStackOutputs") throw new Error(`unexpected call of ${token}`);
      // An engine's answers come with their text in `details`.
      const details = `unknown stack ${JSON.stringify(inputs.name)}`;
      if (!stacks[inputs.name]) throw Object.assign(new Error(details), { details });
      return { name: inputs.name, outputs: stacks[inputs.name] };
    },
  };
  await pulumi.runtime.setMocks(mocks, "isthmus", options.stack ?? "test", preview, "organization");
  // The mocks are not told of the options of a resource; the request behind them has it all.
  // biome-ignore lint/suspicious/noExplicitAny: Pulumi's own protocol
  const monitor = pulumi.runtime.getMonitor() as any;
  const register = monitor.registerResource.bind(monitor);
  // biome-ignore lint/suspicious/noExplicitAny: Pulumi's own protocol
  monitor.registerResource = (request: any, callback: any) => {
    resources.push({
      type: request.getType(),
      name: request.getName(),
      custom: request.getCustom(),
      inputs: plain(request.getObject().toJavaScript()),
      parent: request.getParent().split("::").slice(2).join("::").split("$").pop(),
      provider: request.getProvider(),
      dependencies: request.getDependenciesList(),
      protect: request.getProtect(),
      ignoreChanges: request.getIgnorechangesList(),
    });
    return register(request, callback);
  };
  pulumi.runtime.setAllConfig(options.config ?? {});
  const returned = ((await program()) ?? {}) as Record<string, unknown>;
  const outputs: Record<string, Observed> = {};
  for (const [name, value] of Object.entries(returned)) outputs[name] = await observe(value);
  await (pulumi.runtime as unknown as { waitForRPCs(): Promise<void> }).waitForRPCs();
  return {
    resources,
    read,
    outputs,
    all: (type) => resources.filter((resource) => resource.type === type),
    find: (type, name) => {
      const found = resources.filter(
        (resource) => resource.type === type && (name === undefined || objectName(resource) === name),
      );
      if (found.length !== 1) {
        const there = resources.map((resource) => `${resource.type} ${objectName(resource)}`).join("\n");
        throw new Error(`${found.length} of ${type} ${name ?? ""}; there are\n${there}`);
      }
      return found[0]!;
    },
  };
}

/** What an output is, once it is settled. */
export async function observe(value: unknown): Promise<Observed> {
  const output = pulumi.output(value) as unknown as {
    isKnown: Promise<boolean>;
    isSecret: Promise<boolean>;
    promise(): Promise<unknown>;
    allResources(): Promise<unknown>;
  };
  // All at once: each of them is rejected when the value cannot be had.
  const [known, secret, found] = await Promise.all([
    output.isKnown,
    output.isSecret,
    output.promise(),
    output.allResources(),
  ]);
  return { known, secret, value: known ? found : UNKNOWN };
}

/** Name of the Kubernetes object, or of the resource where it is none. */
export function objectName(resource: Registered): string {
  return resource.inputs?.metadata?.name ?? resource.name;
}

/** What a provider would add to the inputs of a resource. */
function stateOf(type: string, name: string, inputs: Record<string, unknown>): Record<string, unknown> {
  const pem = (kind: string) => `-----BEGIN ${kind}-----\n${name}\n-----END ${kind}-----\n`;
  switch (type) {
    case "tls:index/privateKey:PrivateKey":
      return { ...inputs, privateKeyPem: pem("EC PRIVATE KEY"), privateKeyPemPkcs8: pem("PRIVATE KEY") };
    case "tls:index/certRequest:CertRequest":
      return { ...inputs, certRequestPem: pem("CERTIFICATE REQUEST") };
    case "tls:index/selfSignedCert:SelfSignedCert":
    case "tls:index/locallySignedCert:LocallySignedCert":
      return { ...inputs, certPem: pem("CERTIFICATE") };
    case "kubernetes:core/v1:Service":
      return { ...inputs, status: { loadBalancer: { ingress: [{ ip: "203.0.113.10" }] } } };
    default:
      return inputs;
  }
}

function plain(value: unknown): unknown {
  if (value === UNKNOWN_VALUE) return UNKNOWN;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const object = value as Record<string, unknown>;
  if (object[SIGNATURE] === SECRET) return new Secret(plain(object.value));
  return Object.fromEntries(Object.entries(object).map(([key, entry]) => [key, plain(entry)]));
}

import { Argument, Command, InvalidArgumentError, Option } from "commander";
import {
  ADMIN_PORT,
  DEFAULT_NAMESPACE,
  EGRESS_PORTS,
  FEDERATED_LABEL,
  LINKERD_NAMESPACE,
} from "../contract/index.ts";
import { parseAddress } from "./kube/admin.ts";
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from "./kube/log.ts";

/** Both ends are in it. */
export interface PortRange {
  first: number;
  last: number;
}

/** Flags of every role. */
export interface CommonFlags {
  namespace: string;
  kubeconfig?: string;
  context?: string;
  adminAddress: string;
  logLevel: LogLevel;
  logFormat: LogFormat;
}

export interface MirrorFlags extends CommonFlags {
  dataPlane: "standalone" | "linkerd";
  linkerdNamespace: string;
  workers: number;
  allowNamespaces: string[];
  createNamespaces: boolean;
  /** Labels that an own member of a federated service has. */
  federatedServiceSelector: Record<string, string>;
  excludedLabels: string[];
  excludedAnnotations: string[];
  egressPorts: PortRange;
}

export interface GatewayFlags extends CommonFlags {
  direction: "ingress" | "egress";
  init: boolean;
  identity: string;
  haproxyDirectory: string;
  certificateDirectory: string;
  trustBundle: string;
  podIps: string[];
  egressPorts: PortRange;
  /** Seconds. */
  drainTimeout?: number;
}

export interface IdentityFlags extends CommonFlags {
  identity: string;
}

/** What a role does once its flags are read. */
export interface Roles {
  mirror(flags: MirrorFlags): Promise<void>;
  gateway(flags: GatewayFlags): Promise<void>;
  identity(flags: IdentityFlags): Promise<void>;
}

/** The command line of `isthmus-controller`. Every flag can be given as a variable: `--log-level` is `ISTHMUS_LOG_LEVEL`. */
export function createProgram(roles: Roles): Command {
  const program = new Command("isthmus-controller")
    .description("What of Isthmus runs inside a cluster: one program, three roles.")
    .exitOverride()
    .showHelpAfterError("(--help shows what there is)");

  role(program, "mirror")
    .description("keep a mirror of every exported service of the linked clusters")
    .addOption(
      flag("--data-plane <name>", "what carries the calls to mirrors")
        .choices(["standalone", "linkerd"])
        .default("standalone"),
    )
    .addOption(
      flag(
        "--linkerd-namespace <name>",
        "the namespace of Linkerd's control plane, with --data-plane linkerd",
      ).default(LINKERD_NAMESPACE),
    )
    .addOption(
      flag("--workers <number>", "mirrors reconciled at a time").argParser(positiveInteger).default(32),
    )
    .addOption(
      flag(
        "--allow-namespaces <names>",
        "protected namespaces (kube-system, …) that may have mirrors, joined by commas",
      )
        .argParser(commaList)
        .default([], "none"),
    )
    .addOption(
      flag(
        "--create-namespaces [yes]",
        "make the namespaces that exported services want, and remove those made once they are empty",
      )
        .argParser(yesOrNo)
        .preset("true")
        .default(false),
    )
    .addOption(
      flag(
        "--federated-service-selector <selector>",
        "labels of this cluster's own members of federated services, joined by commas; empty: none is a member",
      )
        .argParser(equalities)
        .default({ [FEDERATED_LABEL]: "member" }, `${FEDERATED_LABEL}=member`),
    )
    .addOption(
      flag(
        "--excluded-labels <keys>",
        "labels of these members that federated services do not get, joined by commas; example.com/* is a prefix",
      )
        .argParser(commaList)
        .default([], "none"),
    )
    .addOption(
      flag("--excluded-annotations <keys>", "likewise, annotations").argParser(commaList).default([], "none"),
    )
    .addOption(egressPortsFlag())
    .action((flags: MirrorFlags) => roles.mirror(flags));

  role(program, "gateway")
    .description("tell the HAProxy beside this process where to carry calls to")
    .addArgument(new Argument("<direction>", "which way").choices(["ingress", "egress"]))
    .addOption(identityFlag())
    .addOption(
      flag("--haproxy-directory <directory>", "configuration, maps and sockets, shared with HAProxy").default(
        "/run/isthmus",
      ),
    )
    .addOption(
      flag("--certificate-directory <directory>", "where the gateway's certificate is mounted").default(
        "/certificates",
      ),
    )
    .addOption(flag("--trust-bundle <file>", "trust anchors of the mesh").default("/trust/ca.crt"))
    .addOption(
      flag("--pod-ips <addresses>", "of this pod, joined by commas").argParser(commaList).default([], "none"),
    )
    .addOption(
      flag("--drain-timeout <seconds>", "how long a stopping pod waits for its open connections").argParser(
        positiveInteger,
      ),
    )
    .addOption(egressPortsFlag())
    .addOption(flag("--init", "write the first configuration and end").default(false))
    .action((direction: GatewayFlags["direction"], flags: Omit<GatewayFlags, "direction">) =>
      roles.gateway({ ...flags, direction }),
    );

  role(program, "identity")
    .description("keep the gateway's certificate fresh, signed by the cluster's issuer")
    .addOption(identityFlag())
    .action((flags: IdentityFlags) => roles.identity(flags));

  return program;
}

function role(program: Command, name: string): Command {
  return program
    .command(name)
    .addOption(flag("--namespace <name>", "the namespace of Isthmus").default(DEFAULT_NAMESPACE))
    .addOption(flag("--kubeconfig <file>", "outside of a cluster: how to reach it"))
    .addOption(flag("--context <name>", "context of the kubeconfig"))
    .addOption(
      flag("--admin-address <address>", "where to answer /live, /ready, /metrics and /state")
        .argParser(address)
        .default(`:${ADMIN_PORT}`),
    )
    .addOption(flag("--log-level <level>", "least that is logged").choices(LOG_LEVELS).default("info"))
    .addOption(
      flag("--log-format <format>", "lines for people or for programs").choices(LOG_FORMATS).default("plain"),
    );
}

function identityFlag(): Option {
  return flag("--identity <name>", "TLS identity of this cluster's gateway").makeOptionMandatory();
}

function egressPortsFlag(): Option {
  const { first, last } = EGRESS_PORTS;
  return flag("--egress-ports <first-last>", "ports of the egress for mirrors: the same for both roles")
    .argParser(portRange)
    .default({ first, last }, `${first}-${last}`);
}

function flag(flags: string, description: string): Option {
  const option = new Option(flags, description);
  return option.env(`ISTHMUS_${option.name().replaceAll("-", "_").toUpperCase()}`);
}

function positiveInteger(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError("It must be a whole number above 0.");
  return Number(text);
}

function portRange(text: string): PortRange {
  const [, first, last] = (/^(\d{1,5})-(\d{1,5})$/.exec(text) ?? []).map(Number);
  if (first === undefined || last === undefined || first < 1 || first > last || last > 65_535) {
    throw new InvalidArgumentError("It must be two ports, the lower first: 20000-28191.");
  }
  return { first, last };
}

/** `true` and `false`, so that a variable can say no as well. */
function yesOrNo(text: string): boolean {
  if (text !== "true" && text !== "false") throw new InvalidArgumentError("It must be true or false.");
  return text === "true";
}

function equalities(text: string): Record<string, string> {
  const pairs = commaList(text).map((part) => /^([^=!,\s]+)={1,2}([^=!,\s]*)$/.exec(part.trim()));
  if (pairs.includes(null))
    throw new InvalidArgumentError("It must be labels as key=value, joined by commas.");
  return Object.fromEntries(pairs.map((pair) => [pair?.[1], pair?.[2]]));
}

function commaList(text: string): string[] {
  return text.split(",").filter((part) => part !== "");
}

function address(text: string): string {
  try {
    parseAddress(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
  return text;
}

import { isIP } from "node:net";
import type { GatewayReference } from "../../contract/index.ts";
import {
  bindAddress,
  type CommonSettings,
  defaultsSection,
  globalSection,
  LOG_COMMON,
  probeFrontend,
  renderConfig,
  type Section,
} from "./haproxy/config.ts";

/** What an egress must know of a gateway of a target to reach it. */
export interface GatewayTarget {
  /** `linkLabelValue` of the Link. */
  link: string;
  /** Which of the target's gateways; absent for the Link's own. */
  gateway?: GatewayReference;
  /** IP addresses or host names. */
  addresses: readonly string[];
  port: number;
  identity: string;
  /** Health checks of each address. */
  check: { periodMs: number; timeoutMs: number; failures: number };
}

export interface EgressSettings extends CommonSettings {
  /** The ports bound for mirrors. */
  ports: { first: number; last: number };
  targets: readonly GatewayTarget[];
}

/**
 * How often a dead address is looked at, in milliseconds, where living ones are looked at less often. The mirror controller
 * probes gateways, too: once it has found one alive, calls come, and must not find a server that HAProxy thinks dead.
 */
const DEAD_PERIOD_MS = 500;

/** Addresses that one host name may stand for at a time. */
const ADDRESSES_A_NAME = 4;

/** A backend for each gateway: `link_<link>`, and `link_<link>:<namespace>.<name>` for one that services choose. */
export function gatewayBackend(link: string, gateway?: GatewayReference): string {
  // Neither a link's label nor these names have a colon, and no namespace has a dot.
  return gateway === undefined ? `link_${link}` : `link_${link}:${gateway.namespace}.${gateway.name}`;
}

/** The backend that leads to a gateway. */
export function backendOf({ link, gateway }: GatewayTarget): string {
  return gatewayBackend(link, gateway);
}

/** The link, with the gateway that was chosen, of a backend's name; undefined for other backends. */
export function backendPeer(backend: string): string | undefined {
  return backend.startsWith("link_") ? backend.slice("link_".length) : undefined;
}

/**
 * `haproxy.cfg` of an egress. It changes only when it is told another way to a gateway: which port means what stands in
 * the map.
 */
export function egressConfig(settings: EgressSettings): string {
  const targets = [...settings.targets].sort((a, b) => (backendOf(a) < backendOf(b) ? -1 : 1));
  const named = targets.some(({ addresses }) => addresses.some((address) => isIP(address) === 0));
  return renderConfig([
    globalSection(settings),
    defaultsSection(),
    ...(named ? [resolvers()] : []),
    frontend(settings),
    ...targets.map((target) => backend(target, settings)),
    probeFrontend(settings),
  ]);
}

function frontend(settings: EgressSettings): Section {
  const { files, ports } = settings;
  const lines = [
    `bind ${bindAddress(settings, `${ports.first}-${ports.last}`)}`,
    // A mirror's port is known to kube-proxy and to the agent at the same time: whoever calls first waits for the other.
    "tcp-request inspect-delay 1s",
    `tcp-request content set-var(sess.route) dst_port,map(${files.routes})`,
    "tcp-request content set-var(sess.backend) var(sess.route),field(1,/)",
    "tcp-request content set-var(sess.sni) var(sess.route),field(2,/)",
    "tcp-request content accept if { var(sess.route) -m found }",
    "tcp-request content reject if WAIT_END",
    "use_backend %[var(sess.backend)]",
  ];
  return { heading: "frontend egress", lines: settings.accessLog ? [...lines, ...logLines()] : lines };
}

function backend(target: GatewayTarget, { files }: EgressSettings): Section {
  const { addresses, port, identity, check } = target;
  const server = [
    "ssl",
    `crt ${files.certificate}`,
    `ca-file ${files.trust}`,
    // The certificate must bear the name that is asked for (and the identity, were none asked for).
    "verify required",
    "sni var(sess.sni)",
    `verifyhost ${identity}`,
    "check",
    `check-sni ${identity}`,
    `inter ${check.periodMs}ms downinter ${Math.min(check.periodMs, DEAD_PERIOD_MS)}ms`,
    `fall ${check.failures} rise 1`,
    // A peer that does not acknowledge for so long is gone, and so is the connection.
    "tcp-ut 30s",
  ].join(" ");
  return {
    heading: `backend ${backendOf(target)}`,
    lines: [
      "balance leastconn",
      // A new worker takes its servers for up until a check says otherwise: try another one at once.
      "retries 3",
      "option redispatch 1",
      "load-server-state-from-file global",
      // Asked through the very door that calls use: it tells that this cluster is let in, not just that a port is open.
      "option httpchk",
      `http-check send meth GET uri /ready ver HTTP/1.1 hdr Host ${identity} hdr Connection close`,
      "http-check expect status 200",
      `timeout check ${check.timeoutMs}ms`,
      `default-server ${server}`,
      ...[...addresses].sort().map((address) => serverLine(address, port)),
    ],
  };
}

/** A server is named after where it is: what one worker knew of it means nothing for another address or port. */
function serverLine(address: string, port: number): string {
  const name = `${address}:${port}`;
  switch (isIP(address)) {
    case 4:
      return `server ${name} ${address}:${port}`;
    case 6:
      return `server ${name} [${address}]:${port}`;
    default:
      // The prefix of a template may have no colon. No name is looked up while a configuration is read: HAProxy would stand
      // still for as long as a name server does not answer, four times a name, and with it the links of all others.
      return `server-template ${address}_${port}- ${ADDRESSES_A_NAME} ${name} resolvers cluster init-addr last,none`;
  }
}

/** Host names are followed while HAProxy runs; when the name server is gone, what was known last stays in use. */
function resolvers(): Section {
  return {
    heading: "resolvers cluster",
    lines: [
      "parse-resolv-conf",
      "accepted_payload_size 8192",
      "hold valid 10s",
      "hold nx 30s",
      "hold obsolete 30s",
      "hold other 24h",
      "hold refused 24h",
      "hold timeout 24h",
    ],
  };
}

function logLines(): string[] {
  const call = [
    '"t":%Ts.%ms',
    '"gateway":"egress"',
    '"link":"%[var(sess.backend),bytes(5)]"',
    '"sni":"%[var(sess.sni)]"',
    '"route":"%[var(sess.route),field(3,/,0)]"',
    '"port":%[dst_port]',
    '"to":"%si:%sp"',
    LOG_COMMON,
  ];
  return ["log stdout format raw local0 info", `log-format '{${call.join(",")}}'`];
}

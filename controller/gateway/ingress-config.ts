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

export interface IngressSettings extends CommonSettings {
  /** Port for calls from other clusters. */
  port: number;
  /** This gateway's TLS identity. */
  identity: string;
  /** Clusters that may call. */
  sources: readonly string[];
}

/** Name of the backend that carries the connections of one source: by it they can be cut together. */
export function sourceBackend(source: string): string {
  return `src_${source}`;
}

/** The source of a backend's name; undefined for other backends. */
export function backendSource(backend: string): string | undefined {
  return backend.startsWith("src_") ? backend.slice("src_".length) : undefined;
}

/**
 * `haproxy.cfg` of an ingress. It changes only when a source comes or goes: who may call what stands in the maps.
 */
export function ingressConfig(settings: IngressSettings): string {
  const sources = [...settings.sources].sort();
  return renderConfig([
    globalSection(settings),
    defaultsSection(),
    frontend(settings),
    ...sources.map((source): Section => {
      // The frontend has set the destination: an exported Service's ClusterIP and port.
      return { heading: `backend ${sourceBackend(source)}`, lines: ["retries 2", "server any 0.0.0.0:0"] };
    }),
    probeFrontend(settings),
    { heading: "backend own_health", lines: [`server probe 127.0.0.1:${settings.probePort}`] },
  ]);
}

function frontend(settings: IngressSettings): Section {
  const { files, identity } = settings;
  const lookUp = (owner: string) => `${owner},concat(|,sess.sni),map(${files.routes})`;
  const lines = [
    `bind ${bindAddress(settings, settings.port)} ssl crt ${files.certificate} ca-file ${files.trust} verify required`,
    // Who calls is who signed the client's certificate: a leaf's own names could be anything its issuer likes.
    "tcp-request content set-var(sess.source) ssl_c_i_dn(cn)",
    "tcp-request content set-var(sess.sni) ssl_fc_sni,lower",
    `tcp-request content set-var(sess.backend) var(sess.source),map(${files.sources})`,
    // The other clusters' health checks come every few seconds.
    `acl health_check var(sess.sni) -m str ${identity}`,
    "tcp-request content set-log-level silent if health_check",
    "tcp-request content reject unless { var(sess.backend) -m found }",
    "tcp-request content accept if health_check",
    // A source is a known name here and has no | in it: no server name can reach another source's entries.
    `tcp-request content set-var(sess.route) ${lookUp("var(sess.source)")}`,
    `tcp-request content set-var(sess.route) ${lookUp("str(*)")} unless { var(sess.route) -m found }`,
    "tcp-request content reject unless { var(sess.route) -m found }",
    "tcp-request content set-dst var(sess.route),field(1,/)",
    "tcp-request content set-dst-port var(sess.route),field(2,/)",
    "use_backend own_health if health_check",
    "use_backend %[var(sess.backend)]",
  ];
  return { heading: "frontend ingress", lines: settings.accessLog ? [...lines, ...logLines()] : lines };
}

function logLines(): string[] {
  const text = (name: string, value: string) => `"${name}":"%[${value},json(utf8s)]"`;
  const call = [
    '"t":%Ts.%ms',
    '"gateway":"ingress"',
    text("source", "var(sess.source)"),
    text("identity", "ssl_c_s_dn(cn)"),
    '"tls":"%sslv"',
    text("sni", "var(sess.sni)"),
    '"route":"%[var(sess.route),field(3,/,0)]"',
    '"to":"%si:%sp"',
    LOG_COMMON,
  ];
  const failure = [
    '"t":%Ts.%ms',
    '"gateway":"ingress"',
    '"client":"%ci:%cp"',
    text("error", "ssl_fc_err_str"),
  ];
  return [
    "log stdout format raw local0 info",
    `log-format '{${call.join(",")}}'`,
    `error-log-format '{${failure.join(",")}}'`,
  ];
}

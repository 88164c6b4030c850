import { isDeepStrictEqual } from "node:util";
import {
  type Condition,
  type ConditionStatus,
  LINK_CONDITION,
  LINK_REASON,
  type Link,
  type LinkGatewayStatus,
  type LinkServiceStatus,
  type LinkStatus,
  SERVICE_REASON,
  timestamp,
} from "../../contract/index.ts";

export type LinkReason = (typeof LINK_REASON)[keyof typeof LINK_REASON];

/** How it stands with the target's API server. */
export interface ConnectionState {
  status: ConditionStatus;
  reason: LinkReason;
  /** What happened and what to do, for people. */
  message: string;
}

/** What a Link's status is made from. */
export interface LinkReport {
  connection: ConnectionState;
  /** Conditions besides `Connected` and `Synced`. */
  others: readonly (ConnectionState & { type: string })[];
  /** The target's gateways, the Link's own first. */
  gateways: readonly LinkGatewayStatus[];
  /** Whether the exported services are known: their list was complete once in this process. */
  listed: boolean;
  /** Whether exported services wait for their turn. */
  isPending: boolean;
  /** What became of each exported service. */
  services: readonly LinkServiceStatus[];
}

/** Bytes of JSON that a status may take, so that a Link never outgrows what an API server stores. */
const MAX_STATUS_BYTES = 220_000;
/** Characters of one message: some quote what a target or an API server says. */
const MAX_MESSAGE = 512;

/** The status that a Link should have. Times stay as they were where nothing changed. */
export function linkStatus(link: Link, report: LinkReport, now: Date): LinkStatus {
  const mirrored = report.services.filter((service) => service.mirrored).length;
  const failures = report.services.filter(isFailure);
  const services = [...report.services].sort(byFailureThenName).map(shortened);
  const conditions = [
    { type: LINK_CONDITION.connected, ...report.connection },
    { type: LINK_CONDITION.synced, ...syncedState(report, failures) },
    ...report.others,
  ].map(({ type, status, reason, message }) => {
    const before = link.status?.conditions?.find((condition) => condition.type === type);
    return {
      type,
      status,
      reason,
      message: truncated(message),
      lastTransitionTime: before?.status === status ? before.lastTransitionTime : timestamp(now),
      ...(link.metadata.generation === undefined ? {} : { observedGeneration: link.metadata.generation }),
    } satisfies Condition;
  });
  const status = {
    ...(link.metadata.generation === undefined ? {} : { observedGeneration: link.metadata.generation }),
    conditions,
    // Never left out: what a patch does not name stays as it was.
    gateways: [...report.gateways],
    mirroredServices: mirrored,
    failedServices: failures.length,
  };
  return { ...status, services: firstBytes(services, MAX_STATUS_BYTES - bytesOf(status)) };
}

/** Whether writing `desired` over `actual` would change anything. */
export function sameStatus(actual: LinkStatus | undefined, desired: LinkStatus): boolean {
  return isDeepStrictEqual(actual, desired);
}

/** Whether something is to be done about a service. A mirror that matches the selector too is no failure: it is skipped. */
export function isFailure(service: LinkServiceStatus): boolean {
  return !service.mirrored && service.reason !== SERVICE_REASON.mirrorOfMirror;
}

function syncedState(report: LinkReport, failures: readonly LinkServiceStatus[]): ConnectionState {
  if (!report.listed) {
    return {
      status: "Unknown",
      reason: LINK_REASON.syncing,
      message: "the target's exported services are not known yet; mirrors that exist are left as they are",
    };
  }
  if (report.isPending) {
    return {
      status: "False",
      reason: LINK_REASON.syncing,
      message: "exported services are being mirrored",
    };
  }
  if (failures.length > 0) {
    return {
      status: "False",
      reason: LINK_REASON.servicesFailed,
      message: `${failures.length} of ${report.services.length} exported services are not mirrored: ${countReasons(failures)}; see status.services`,
    };
  }
  return { status: "True", reason: LINK_REASON.synced, message: "every exported service is mirrored" };
}

function countReasons(services: readonly LinkServiceStatus[]): string {
  const counts = new Map<string, number>();
  for (const { reason } of services) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([reason, count]) => `${reason} ${count}`)
    .join(", ");
}

function byFailureThenName(a: LinkServiceStatus, b: LinkServiceStatus): number {
  return (
    rank(a) - rank(b) ||
    compare(a.namespace, b.namespace) ||
    compare(a.name, b.name) ||
    compare(a.mirror, b.mirror)
  );
}

function rank(service: LinkServiceStatus): number {
  if (isFailure(service)) return 0;
  return service.mirrored ? 2 : 1;
}

function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

function shortened(service: LinkServiceStatus): LinkServiceStatus {
  return service.message === undefined ? service : { ...service, message: truncated(service.message) };
}

function truncated(text: string): string {
  return text.length <= MAX_MESSAGE ? text : `${text.slice(0, MAX_MESSAGE - 1)}…`;
}

function firstBytes(services: readonly LinkServiceStatus[], limit: number): LinkServiceStatus[] {
  let bytes = 0;
  const kept: LinkServiceStatus[] = [];
  for (const service of services) {
    bytes += bytesOf(service) + 1;
    if (bytes > limit) break;
    kept.push(service);
  }
  return kept;
}

function bytesOf(value: object): number {
  return Buffer.byteLength(JSON.stringify(value));
}

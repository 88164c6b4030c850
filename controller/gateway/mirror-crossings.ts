import {
  EGRESS_PORTS_ANNOTATION,
  FEDERATED_BY_LABEL,
  GATEWAY_ANNOTATION,
  type GatewayReference,
  LINK_LABEL,
  MEMBER_PORTS_PREFIX,
  parseEgressPorts,
  REMOTE_HOST_ANNOTATION,
  REMOTE_SERVICE_ANNOTATION,
  type Route,
} from "../../contract/index.ts";
import { keyOf, type Service } from "../kube/objects.ts";

/** What one Service of ours has an egress carry over one link. */
export interface Crossing {
  /** What cannot be called when this cannot be carried, for people. */
  subject: string;
  /** `linkLabelValue` of the Link. */
  link: string;
  /** The gateway that the exported service chooses; absent for the Link's own. */
  gateway?: GatewayReference;
  /** The exported Service; `service` is empty where it is not said. */
  route: Omit<Route, "port">;
  /** Egress ports by the numbers of the exported Service's ports. */
  ports: ReadonlyMap<number, number>;
}

const known = new WeakMap<Service, readonly Crossing[]>();

/**
 * What a Service of ours has carried: a mirror, the calls to one service over one link; a federated Service, those to
 * each member elsewhere. The mirror of a headless service as a whole has nothing carried: calls go to the mirrors of its
 * pods. Remembered as long as it is the same object.
 */
export function crossingsOf(service: Service): readonly Crossing[] {
  const crossings = known.get(service) ?? readCrossings(service);
  known.set(service, crossings);
  return crossings;
}

function readCrossings(service: Service): Crossing[] {
  const { labels = {}, annotations = {} } = service.metadata;
  const [namespace = "", name = ""] = annotations[REMOTE_SERVICE_ANNOTATION]?.split("/") ?? [];
  const remote = { namespace, service: name };
  const link = labels[LINK_LABEL];
  if (link === undefined && labels[FEDERATED_BY_LABEL] !== undefined) {
    return Object.keys(annotations)
      .filter((key) => key.startsWith(MEMBER_PORTS_PREFIX))
      .sort()
      .map((key) => memberCrossing(service, key, remote));
  }
  const ports = annotations[EGRESS_PORTS_ANNOTATION];
  if (ports === undefined && service.spec?.clusterIP === "None") return [];
  const hostname = annotations[REMOTE_HOST_ANNOTATION];
  const gateway = annotations[GATEWAY_ANNOTATION];
  return [
    {
      subject: `mirror ${keyOf(service)}`,
      link: link ?? "",
      ...(gateway !== undefined && { gateway: gatewayReference(gateway) }),
      route: { ...remote, ...(hostname !== undefined && { hostname }) },
      ports: parseEgressPorts(ports),
    },
  ];
}

function memberCrossing(service: Service, annotation: string, route: Crossing["route"]): Crossing {
  const link = annotation.slice(MEMBER_PORTS_PREFIX.length);
  return {
    subject: `member over link ${link} of federated service ${keyOf(service)}`,
    link,
    route,
    ports: parseEgressPorts(service.metadata.annotations?.[annotation]),
  };
}

/** Read `<namespace>/<name>`; what is no such text is no gateway's name either. */
function gatewayReference(text: string): GatewayReference {
  const [namespace = "", ...name] = text.split("/");
  return { namespace, name: name.join("/") };
}

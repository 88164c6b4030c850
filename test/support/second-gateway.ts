import {
  DEFAULT_NAMESPACE,
  GATEWAY_CERTIFICATE_SECRET,
  GATEWAY_IDENTITY_ANNOTATION,
  GATEWAY_PORT_NAME,
  gatewayIdentity,
  INGRESS,
  ISSUER_SECRET,
  PROBE_PORT_NAME,
} from "../../contract/index.ts";
import { parseIssuer } from "../../controller/identity/issuer.ts";
import { signLeaf } from "../../controller/identity/leaf.ts";
import type { TestMesh } from "./mesh.ts";

/** Name of its Service and its Deployment, and the label `app` of its pods. */
export const SECOND_GATEWAY = "second-gateway";
export const SECOND_PORT = 5143;

/**
 * A second way into a cluster: the ingress of its gateway once more, which proves `gateway2.<cluster>.<trust domain>` by a
 * certificate that the cluster's own issuer signed, and a Service of a load balancer in front of it.
 */
export async function secondGateway(mesh: TestMesh, cluster: string, trustDomain: string): Promise<object[]> {
  const identity = `gateway2.${cluster}.${trustDomain}`;
  const inIsthmus = ["-n", DEFAULT_NAMESPACE];
  const { data } = await mesh.get<{ data: Record<string, string> }>(
    cluster,
    "secret",
    ISSUER_SECRET,
    ...inIsthmus,
  );
  const decoded = (key: string) => Buffer.from(data[key] ?? "", "base64").toString();
  const issuer = parseIssuer(decoded("tls.crt"), decoded("tls.key"));
  const { certificatePem, privateKeyPem } = await signLeaf(issuer, identity, new Date());

  const { spec } = await mesh.get<{ spec: { template: { spec: object } } }>(
    cluster,
    ...["deployment", INGRESS, ...inIsthmus],
  );
  const secret = `${SECOND_GATEWAY}-certificate`;
  const podSpec = JSON.stringify(spec.template.spec)
    .replaceAll(JSON.stringify(gatewayIdentity(cluster, trustDomain)), JSON.stringify(identity))
    .replaceAll(JSON.stringify(GATEWAY_CERTIFICATE_SECRET), JSON.stringify(secret));

  const labels = { app: SECOND_GATEWAY };
  const metadata = { name: SECOND_GATEWAY, namespace: DEFAULT_NAMESPACE };
  const template = { metadata: { labels }, spec: JSON.parse(podSpec) };
  const ports = [
    { name: GATEWAY_PORT_NAME, port: SECOND_PORT, targetPort: GATEWAY_PORT_NAME },
    { name: PROBE_PORT_NAME, port: 5191, targetPort: PROBE_PORT_NAME },
  ];
  return [
    {
      apiVersion: "v1",
      kind: "Secret",
      type: "kubernetes.io/tls",
      metadata: { ...metadata, name: secret },
      stringData: { "tls.crt": certificatePem, "tls.key": privateKeyPem },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata,
      spec: { selector: { matchLabels: labels }, template },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { ...metadata, annotations: { [GATEWAY_IDENTITY_ANNOTATION]: identity } },
      spec: { type: "LoadBalancer", selector: labels, ports },
    },
  ];
}

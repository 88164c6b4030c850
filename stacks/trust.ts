import { TrustAnchor } from "../components/index.ts";
import type { Mesh } from "./mesh.ts";
import type { TrustOutputs } from "./outputs.ts";
import type { Outputs } from "./program.ts";

/** The stack `<mesh>-trust`: the trust anchors and every cluster's issuer. The root's key never leaves it. */
export async function trust(mesh: Mesh): Promise<Outputs<TrustOutputs>> {
  const { anchors, signer, protect } = mesh.trust;
  const anchor = new TrustAnchor(
    mesh.name,
    {
      trustDomain: mesh.trustDomain,
      clusters: mesh.clusters.map(({ name }) => name),
      anchors,
      ...(signer === undefined ? {} : { signer }),
    },
    { protect },
  );
  return { trustDomain: anchor.trustDomain, trustBundle: anchor.trustBundle, issuers: anchor.issuers };
}

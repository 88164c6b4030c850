/** Names of resources within a stack, as Pulumi forms them: `urn:pulumi:<stack>::<project>::<types>::<name>`. */

export const STACK_TYPE = "pulumi:pulumi:Stack";
export const STACK_REFERENCE_TYPE = "pulumi:pulumi:StackReference";
const PROVIDER_PREFIX = "pulumi:providers:";

export interface Urn {
  stack: string;
  project: string;
  /** The types of the parents and of the resource, joined by `$`. */
  qualifiedType: string;
  /** The resource's own type. */
  type: string;
  name: string;
}

export function parseUrn(urn: string): Urn {
  const [prefix, project, qualifiedType, ...rest] = urn.split("::");
  if (!prefix?.startsWith("urn:pulumi:") || project === undefined || qualifiedType === undefined) {
    throw new Error(`"${urn}" is not a resource name of the form urn:pulumi:STACK::PROJECT::TYPE::NAME`);
  }
  return {
    stack: prefix.slice("urn:pulumi:".length),
    project,
    qualifiedType,
    type: qualifiedType.slice(qualifiedType.lastIndexOf("$") + 1),
    name: rest.join("::"),
  };
}

/** The types of the parents do count, the stack's own does not: so it has always been in Pulumi. */
export function makeUrn(stack: string, project: string, parent: string, type: string, name: string): string {
  const above = parent === "" ? undefined : parseUrn(parent);
  const qualified =
    above === undefined || above.type === STACK_TYPE ? type : `${above.qualifiedType}$${type}`;
  return `urn:pulumi:${stack}::${project}::${qualified}::${name}`;
}

export function isProviderType(type: string): boolean {
  return type.startsWith(PROVIDER_PREFIX);
}

/** The package whose provider handles a type: `kubernetes` of `kubernetes:core/v1:Secret` and of `pulumi:providers:kubernetes`. */
export function packageOf(type: string): string {
  return isProviderType(type) ? type.slice(PROVIDER_PREFIX.length) : (type.split(":")[0] ?? "");
}

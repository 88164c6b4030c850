// A module of its own, so that the bundle loads the client library only where it is asked for, and no more of it than this.
export { KubeConfig } from "@kubernetes/client-node";

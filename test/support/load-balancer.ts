import { BlockList, connect, createServer, type Server, type Socket } from "node:net";
import { networkInterfaces } from "node:os";

/** A load balancer as a cloud has it: an address outside a cluster, whose ports lead to ports of a node. */
export class LoadBalancer {
  /** Where it listens. */
  readonly address: string;
  readonly #open = new Set<Socket>();
  readonly #servers: Server[] = [];

  private constructor(address: string) {
    this.address = address;
  }

  /** @param ports by the port here: that of the node */
  static async before(node: string, ports: Record<number, number>): Promise<LoadBalancer> {
    const balancer = new LoadBalancer(addressBeside(node));
    for (const [port, nodePort] of Object.entries(ports)) {
      await balancer.#listen(Number(port), { host: node, port: nodePort });
    }
    return balancer;
  }

  async stop(): Promise<void> {
    const closed = this.#servers.map((server) => new Promise((resolve) => server.close(resolve)));
    for (const socket of this.#open) socket.destroy();
    await Promise.all(closed);
  }

  #listen(port: number, to: { host: string; port: number }): Promise<void> {
    const server = createServer((near) => {
      const far = connect(to);
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#open.add(socket);
        // A side that breaks takes the other with it, as the end of a machine would.
        socket.on("error", () => other.destroy());
        socket.on("close", () => {
          this.#open.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.on("error", reject);
      server.listen(port, this.address, resolve);
    });
  }
}

/** This machine's own address in the network of a node, which pods of the other clusters reach as they reach the node. */
function addressBeside(node: string): string {
  for (const { address, cidr, family } of Object.values(networkInterfaces()).flatMap((all) => all ?? [])) {
    if (family !== "IPv4" || cidr === null) continue;
    const network = new BlockList();
    network.addSubnet(address, Number(cidr.split("/")[1]));
    if (network.check(node)) return address;
  }
  throw new Error(`this machine has no address in the network of the node ${node}`);
}

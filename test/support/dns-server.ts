import { createSocket } from "node:dgram";
import { once } from "node:events";

/** By the type of question (1: IPv4, 28: IPv6) one record: its data, and how many seconds it is valid. */
export type DnsRecords = Record<number, [data: number[], ttl: number]>;

/** A DNS server that knows these of every name; what is changed in them, it answers from then on. */
export async function dnsServer(records: DnsRecords) {
  const socket = createSocket("udp4");
  socket.on("message", (query, { port, address }) => {
    const end = query.indexOf(0, 12) + 5;
    const record = records[query.readUInt16BE(end - 4)];
    const head = Buffer.from(query.subarray(0, end));
    // An answer, with as many records as there are.
    head.writeUInt16BE(0x8180, 2);
    head.writeUInt16BE(record ? 1 : 0, 6);
    head.writeUInt32BE(0, 8);
    const body = record
      ? [0xc0, 12, ...head.subarray(end - 4, end), ...bytes(record[1]), 0, record[0].length, ...record[0]]
      : [];
    socket.send(Buffer.concat([head, Buffer.from(body)]), port, address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return { address: `127.0.0.1:${socket.address().port}`, close: () => socket.close() };
}

function bytes(number: number): number[] {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(number);
  return [...buffer];
}

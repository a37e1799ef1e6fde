/*
 * Requests of 004 as written down in the interface description, without our
 * codec: 3 version bytes, service, u32 length; QoS of seven u32 and a mimetype.
 */
import { expect } from 'chai';
import { bytesOf, u32 } from './kme-fixture.ts';

export const ETSI = [2, 1, 1];
export const QUBIP = [1, 0, 1];
export const NULL_KSID = new Array<number>(16).fill(0);
export const CHOSEN_KSID = [0xaa, 0xbb, 1, 2, 3, 4, 0x45, 6, 0x87, 8, 9, 10, 11, 12, 13, 14];

export function qos(chunkBytes: number, timeoutMs = 0, ttlSeconds = 60): number[] {
  return [chunkBytes, 100_000, 32, 0, 0, timeoutMs, ttlSeconds].flatMap(u32);
}

export function message(version: number[], service: number, body: Buffer): Buffer {
  return bytesOf(version, [service], u32(body.length), body.toString('latin1'));
}

export function openEtsi(ksid: number[], chunkBytes = 32, timeoutMs = 0): Buffer {
  return message(
    ETSI,
    0x02,
    bytesOf('qkd://siteA\0', 'qkd://siteB\0', qos(chunkBytes, timeoutMs), 'application/json\0', ksid),
  );
}

export function openQubip(ksid: number[], chunkBytes = 32, timeoutMs = 0): Buffer {
  const mimetype = 'application/json'.padEnd(256, '\0');
  return message(QUBIP, 0x02, bytesOf('qkd://siteA\0', 'qkd://siteB\0', qos(chunkBytes, timeoutMs), mimetype, ksid));
}

export function getKeyEtsi(ksid: number[], index: number, metadataSize = 128): Buffer {
  const room = new Array<number>(metadataSize).fill(0);
  return message(ETSI, 0x04, bytesOf(ksid, u32(index), u32(metadataSize), room));
}

export function getKeyQubip(ksid: number[], index: number, metadataSize = 128): Buffer {
  return message(QUBIP, 0x04, bytesOf(ksid, u32(index), u32(metadataSize)));
}

export function close(version: number[], ksid: number[]): Buffer {
  return message(version, 0x08, bytesOf(ksid));
}

/** Fields of a successful GET_KEY reply, header included. */
export function delivered(reply: Buffer): { status: number; index: number; key: string; metadata: string } {
  const keyLength = reply.readUInt32BE(16);
  const metadataLength = reply.readUInt32BE(20 + keyLength);
  expect(reply.length).to.equal(24 + keyLength + metadataLength);
  return {
    status: reply.readUInt32BE(8),
    index: reply.readUInt32BE(12),
    key: reply.subarray(20, 20 + keyLength).toString('hex'),
    metadata: reply.subarray(24 + keyLength).toString(),
  };
}

export const statusOf = (reply: Buffer) => reply.readUInt32BE(8);

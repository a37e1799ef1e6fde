import type { Socket } from 'node:net';
import { expect } from 'chai';
import {
  type KdiErrorCode as Code,
  Etsi004Source,
  type Etsi004SourceOptions,
  KdiError,
  parseKmeUrl,
} from '../../../kdi-client/index.ts';
import { fromHex } from '../../../tls-ext/bytes/index.ts';
import { afterBytes, type Script, type ScriptedKme, scriptedKme } from '../support/scripted-kme.ts';
import { type TestPki, testPki } from '../support/test-pki.ts';

export const bytes = (text: string): Uint8Array => fromHex(text.replace(/\s+/g, ''));
export const u32 = (value: number): string => value.toString(16).padStart(8, '0');

export const KSID = '8f14e45fceea467a9f3c2e1d0b5a6978';
export const MIMETYPE = '6170706c69636174696f6e2f6a736f6e00';

/** QoS as a reply carries it, written by hand: chunk, max, min, jitter, priority, timeout, TTL, mimetype. */
export function qosHex(dialect: 'etsi' | 'qubip', chunk = 32, ttl = 3600): string {
  const numbers = [chunk, 100_000, 0, 0, 0, 2_000, ttl].map(u32).join('');
  return numbers + (dialect === 'etsi' ? MIMETYPE : MIMETYPE + '00'.repeat(256 - 17));
}
export const VERSION = { etsi: '020101', qubip: '010001' } as const;
export const message = (dialect: 'etsi' | 'qubip', service: string, payload: string): Uint8Array =>
  bytes(`${VERSION[dialect]} ${service} ${u32(bytes(payload).length)} ${payload}`);
export const opened = (dialect: 'etsi' | 'qubip' = 'etsi', status = 0, ksid = KSID, chunk = 32): Uint8Array =>
  message(dialect, '03', `${u32(status)} ${qosHex(dialect, chunk)} ${ksid}`);
export const key = (index: number, keyHex: string, metadataHex = '', dialect: 'etsi' | 'qubip' = 'etsi'): Uint8Array =>
  message(
    dialect,
    '05',
    `00000000 ${u32(index)} ${u32(bytes(keyHex).length)} ${keyHex} ${u32(bytes(metadataHex).length)} ${metadataHex}`,
  );
export const closed = message('etsi', '09', '00000000');

/** Reads one whole request, by its header, and hands it to `answer`; the connection is closed after the reply. */
export function perRequest(answer: (request: Uint8Array, socket: Socket) => Uint8Array | undefined): Script {
  return (socket) =>
    afterBytes(socket, 8, function onBytes(head) {
      const length = 8 + Buffer.from(head).readUInt32BE(4);
      const done = (request: Uint8Array): void => {
        const reply = answer(request, socket);
        if (reply !== undefined) socket.end(reply);
      };
      if (head.length >= length) done(head);
      else afterBytes(socket, length - head.length, (rest) => done(Buffer.concat([head, rest])));
    });
}

/** Answers any number of requests on one connection; each is cut out by its header, without our codec. */
export function eachRequest(answer: (request: Uint8Array, socket: Socket) => Uint8Array | undefined): Script {
  return (socket) => {
    let held = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk]);
      while (held.length >= 8 && held.length >= 8 + held.readUInt32BE(4)) {
        const end = 8 + held.readUInt32BE(4);
        const reply = answer(Uint8Array.from(held.subarray(0, end)), socket);
        held = held.subarray(end);
        if (reply !== undefined) socket.write(reply);
      }
    });
  };
}

/** Servers and sources of the tests of one `describe`, closed after each. */
export function etsi004Bench() {
  let pki: TestPki;
  const kmes: ScriptedKme[] = [];
  const sources: Etsi004Source[] = [];

  before(async () => {
    pki = await testPki();
  });
  afterEach(async () => {
    await Promise.all(sources.splice(0).map((source) => source.close()));
    await Promise.all(kmes.splice(0).map((kme) => kme.close()));
  });

  async function serve(script: Script, tls = true): Promise<ScriptedKme> {
    const kme = await scriptedKme(tls ? pki : undefined, script);
    kmes.push(kme);
    return kme;
  }
  function sourceOf(kme: { port: number }, options: Partial<Etsi004SourceOptions> = {}, query = ''): Etsi004Source {
    const source = new Etsi004Source({
      address: parseKmeUrl(`etsi004://127.0.0.1:${kme.port}${query}`),
      saeId: 'siteA',
      tls: { cert: pki.sae.cert, key: pki.sae.key, ca: pki.ca },
      ...options,
    });
    sources.push(source);
    return source;
  }
  async function codeOf(promise: Promise<unknown>): Promise<Code | undefined> {
    try {
      await promise;
    } catch (error) {
      expect(error).to.be.instanceOf(KdiError);
      return (error as KdiError).code;
    }
    return undefined;
  }
  return { serve, sourceOf, codeOf, sources, pki: () => pki };
}

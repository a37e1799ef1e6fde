/** Names the secrets in a trace of HMACs: who is derived from whom, and by which label. */
import { concatBytes, fromUtf8, hexOf } from '../../../tls-ext/bytes/index.ts';
import type { TracedHmac } from './hmac-trace.ts';
import type { VectorValue } from './vector-text.ts';

/** HKDF-Expand-Label as an HMAC shows it. */
interface Expansion {
  readonly label: string;
  readonly context: Uint8Array;
  readonly lengthBytes: number;
}

/**
 * The secrets and transcript hashes of a run, in the order in which they were
 * first computed. `inputs` are the values where the derivations start. Throws
 * on an HMAC that no rule explains: then a secret would be missing. `privateKey`
 * is the server's cookie key: what it does with it is nobody else's business.
 */
export function nameSecrets(
  hmacs: readonly TracedHmac[],
  inputs: readonly VectorValue[],
  privateKey?: Uint8Array,
): VectorValue[] {
  const naming = new Naming(inputs);
  for (let at = 0; at < hmacs.length; at++) {
    const hmac = hmacs[at] as TracedHmac;
    if (privateKey !== undefined && sameKey(hmac.paddedKey, privateKey)) continue;
    const expansion = parseExpansion(hmac.data);
    if (expansion === undefined) {
      naming.extractOrMac(hmac);
      continue;
    }
    let output = hmac.output;
    // A second block: HMAC(key, T(1) || info || 2). None of our secrets has a third.
    if (expansion.lengthBytes > output.length) output = concatBytes(output, (hmacs[++at] as TracedHmac).output);
    naming.expand(hmac.paddedKey, expansion, output.slice(0, expansion.lengthBytes));
  }
  return naming.values;
}

class Naming {
  readonly values: VectorValue[] = [];
  readonly #names = new Map<string, string>();
  readonly #known = new Map<string, string>();
  /** Names of the hashes by the MAC they go into: a second ClientHello has a second binder. */
  readonly #macs = new Map<string, number>();

  constructor(inputs: readonly VectorValue[]) {
    for (const { name, bytes } of inputs) this.#names.set(unpadded(bytes), name);
  }

  expand(key: Uint8Array, { label, context }: Expansion, output: Uint8Array): void {
    const parent = this.#expectName(key, `the key of "${label}"`);
    const name = expansionName(parent, label, output.length);
    const hashName = contextName(label, name);
    if (hashName !== undefined) this.#add('hash', hashName, context);
    const isAnotherTicket = name === 'ticket_psk' && this.#known.has(name) && this.#known.get(name) !== hexOf(output);
    this.#add('secret', isAnotherTicket ? 'ticket_psk_again' : name, output);
  }

  extractOrMac({ paddedKey: key, data, output }: TracedHmac): void {
    if (isZero(key)) {
      this.#add('secret', extractName(this.#names.get(unpadded(data)), output.length, isZero(data)), output);
      return;
    }
    const parent = this.#expectName(key, 'the key of an HMAC');
    const epoch = Number(/_(\d+)_derived$/.exec(parent)?.[1]);
    if (/finished_key(_sha\d+)?$|confirm_key_\d+$/.test(parent)) this.#mac(parent, data);
    else if (/early_secret_sha\d+_derived$/.test(parent)) {
      this.#add('secret', 'shared_secret', data);
      this.#add('secret', 'handshake_secret', output);
    } else if (parent === 'handshake_secret_derived') this.#add('secret', 'main_secret_0', output);
    else if (/^main_secret_\d+_derived$/.test(parent)) {
      this.#add('secret', `shared_secret_${epoch + 1}`, data);
      this.#add('secret', `rekey_secret_${epoch + 1}`, output);
    } else if (/^rekey_secret_\d+_derived$/.test(parent)) this.#add('secret', `main_secret_${epoch}`, output);
    else throw new Error(`no rule for an HMAC under ${parent}`);
  }

  /** The MAC itself stands in a message; what it is over does not. */
  #mac(key: string, transcriptHash: Uint8Array): void {
    const base = key
      .replace('binder_finished_key', 'binder_hash')
      .replace('finished_key', 'finished_hash')
      .replace('confirm_key', 'confirm_hash');
    const hex = hexOf(transcriptHash);
    const known = this.#known.get(`${base} ${hex}`);
    if (known !== undefined) return;
    const count = (this.#macs.get(base) ?? 0) + 1;
    this.#macs.set(base, count);
    this.#known.set(`${base} ${hex}`, base);
    this.#add('hash', count === 1 ? base : `${base}_again`, transcriptHash);
  }

  #add(kind: 'hash' | 'secret', name: string, bytes: Uint8Array): void {
    const hex = hexOf(bytes);
    const known = this.#known.get(name);
    if (known === hex) return;
    if (known !== undefined) throw new Error(`two values for ${name}`);
    this.#known.set(name, hex);
    if (kind === 'secret') this.#names.set(unpadded(bytes), name);
    this.values.push({ kind, name, bytes });
  }

  #expectName(bytes: Uint8Array, what: string): string {
    const name = this.#names.get(unpadded(bytes));
    if (name === undefined) throw new Error(`${what} is not known`);
    return name;
  }
}

function expansionName(parent: string, label: string, lengthBytes: number): string {
  const epoch = /_(\d+)$/.exec(parent)?.[1];
  switch (label) {
    case 'derived psk':
      return parent.replace('epskx', `ipskx_sha${lengthBytes * 8}`);
    case 'imp binder':
    case 'res binder':
      return parent.replace('early_secret', 'binder_key');
    case 'finished':
      return parent.includes('binder_key')
        ? parent.replace('binder_key', 'binder_finished_key')
        : parent.replace('handshake_traffic_secret', 'finished_key');
    case 'derived':
      return `${parent}_derived`;
    case 'c hs traffic':
      return 'client_handshake_traffic_secret';
    case 's hs traffic':
      return 'server_handshake_traffic_secret';
    case 'c ap traffic':
      return `client_application_traffic_secret_${epoch}`;
    case 's ap traffic':
      return `server_application_traffic_secret_${epoch}`;
    case 'exp master':
      return `exporter_secret_${epoch}`;
    case 'res master':
      return `resumption_secret_${epoch}`;
    case 'key':
    case 'iv':
      return parent.replace('traffic_secret', label);
    case 'traffic upd':
      return `${parent}_updated`;
    case 'resumption':
      return 'ticket_psk';
    case 'rekey s confirm':
      return `server_confirm_key_${epoch}`;
    case 'rekey c confirm':
      return `client_confirm_key_${epoch}`;
    case 'exporter':
      return parent.replace('derived', 'value');
    case 'qkd check d':
    case 'qkd check a':
      return parent.replace('prk', label === 'qkd check d' ? 'check_d' : 'check_a');
    default:
      if (parent.startsWith('exporter_secret')) return parent.replace('secret', 'derived');
      throw new Error(`no rule for the label "${label}" under ${parent}`);
  }
}

/** The transcript hash that a label is over; confirm hashes come with the MACs that are over them too. */
function contextName(label: string, secret: string): string | undefined {
  switch (label) {
    case 'c hs traffic':
      return 'transcript_hash_server_hello';
    case 'c ap traffic':
      return secret.endsWith('_0') ? 'transcript_hash_server_finished' : `transcript_hash_${secret.split('_').at(-1)}`;
    case 'res master':
      return `transcript_hash_${secret.split('_').at(-1)}`;
    default:
      return undefined;
  }
}

function extractName(input: string | undefined, lengthBytes: number, inputIsZero: boolean): string {
  if (input?.endsWith('qkd_key')) return input.replace('qkd_key', 'epskx');
  if (input?.includes('ipskx')) return input.replace('ipskx', 'early_secret');
  if (input === 'resumption_psk') return `early_secret_sha${lengthBytes * 8}`;
  if (inputIsZero) return `no_psk_early_secret_sha${lengthBytes * 8}`;
  if (input?.endsWith('channel_key')) return input.replace('channel_key', 'prk');
  throw new Error(`no rule for an extraction from ${input}`);
}

/** HkdfLabel and the first block's counter, if that is what an HMAC's input is. */
function parseExpansion(data: Uint8Array): Expansion | undefined {
  const labelBytes = data[2] ?? 0;
  const contextBytes = data[3 + labelBytes] ?? 0;
  const label = data.subarray(3, 3 + labelBytes);
  if (data.length !== 5 + labelBytes + contextBytes || data.at(-1) !== 1 || labelBytes < 6) return undefined;
  const text = fromUtf8(label);
  if (!text.startsWith('tls13 ')) return undefined;
  return {
    label: text.slice('tls13 '.length),
    context: data.slice(4 + labelBytes, -1),
    lengthBytes: ((data[0] as number) << 8) | (data[1] as number),
  };
}

/** HMAC does not tell a key from the same one with zeros after it. */
function unpadded(key: Uint8Array): string {
  return hexOf(key).replace(/(00)+$/, '');
}

function sameKey(a: Uint8Array, b: Uint8Array): boolean {
  return unpadded(a) === unpadded(b);
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

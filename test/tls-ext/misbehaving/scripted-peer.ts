/**
 * A TLS 1.3 peer that does what a script says, right or wrong. It shares codecs
 * and key schedule with the engine under test, but neither its record layer nor
 * its state machine: it has none, so every message can be sent at every time,
 * in every record, under whatever keys there are.
 *
 * Suite 0x1301, so that the transcript's hash is known from the first byte.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { concatBytes, encode, type SecretBytes } from '../../../tls-ext/bytes/index.ts';
import { type ClientKeyShare, cipherSuiteInfo, TranscriptHash } from '../../../tls-ext/crypto/index.ts';
import {
  deriveTrafficKeys,
  EarlySecret,
  finishedVerifyData,
  type HandshakeSecret,
  type MainSecret,
  nextTrafficSecret,
  type TrafficKeys,
} from '../../../tls-ext/key-schedule/index.ts';
import { encodeFinished } from '../../../tls-ext/messages/index.ts';
import { ContentType } from '../../../tls-ext/record/index.ts';

export type Role = 'client' | 'server';
type Secret = Parameters<typeof deriveTrafficKeys>[1];

const suite = cipherSuiteInfo(0x1301);
if (suite === undefined) throw new Error('no TLS_AES_128_GCM_SHA256');

const TAG_BYTES = 16;
const RECORD_HEADER_BYTES = 5;

/** One direction under keys. */
interface Epoch {
  readonly secret: Secret;
  readonly key: Uint8Array;
  readonly iv: Uint8Array;
  sequence: number;
}

export class ScriptedPeer {
  readonly role: Role;
  transcript = new TranscriptHash('sha256');
  /** Whether what is sent and read enters the transcript: not after the handshake. */
  recording = true;
  /** The PSK's, once there is one. */
  earlySecret: EarlySecret | undefined;
  keyShare: ClientKeyShare | undefined;
  /** What the handshake needs of what the engine said. */
  readonly heard = new Map<string, Uint8Array>();
  /** What goes to the engine, a chunk for each record. */
  outbox: Uint8Array[] = [];
  /** The alert that the engine sent, once it has been read. */
  alert: number | undefined;
  /** main_N and th_N of the epoch that a rekey goes on from; a rekey's steps change them. */
  mainSecret: MainSecret | undefined;
  transcriptHash: Uint8Array = new Uint8Array(0);
  /** Records of the engine that these keys don't open. */
  unreadable = 0;
  applicationData: Uint8Array = new Uint8Array(0);
  #inbox: Uint8Array = new Uint8Array(0);
  #messages: Uint8Array = new Uint8Array(0);
  #sending: Epoch | undefined;
  #receiving: Epoch | undefined;
  #handshakeSecret: HandshakeSecret | undefined;
  #handshakeSecrets: { readonly client: Secret; readonly server: Secret } | undefined;
  #applicationSecrets: { readonly client: Secret; readonly server: Secret } | undefined;

  constructor(role: Role) {
    this.role = role;
  }

  // Sending.

  /** A handshake message as it should be: whole, in a record of its own. */
  send(message: Uint8Array): void {
    this.note(message);
    this.record(ContentType.handshake, message);
  }

  /** Takes a message into the transcript, or into the memory of what was said after the handshake. */
  note(message: Uint8Array): void {
    if (this.recording) this.transcript.update(message);
    else this.heard.set(`${message[0]}`, message);
  }

  /** The handshake is over: th_0 stands. */
  endHandshake(): void {
    this.recording = false;
    this.transcriptHash = this.transcript.snapshot();
  }

  /** A record of any type and content, under the keys of the moment; `zeros` bytes of padding. */
  record(type: number, content: Uint8Array, zeros = 0): void {
    if (this.#sending === undefined) this.plaintext(type, content);
    else this.seal(concatBytes(content, Uint8Array.of(type), new Uint8Array(zeros)));
  }

  /** A record without protection, whatever keys there are. */
  plaintext(type: number, content: Uint8Array, version = 0x0303): void {
    this.raw(encode((writer) => writer.u8(type).u16(version).vector(2, content)));
  }

  /** Any TLSInnerPlaintext, sealed. */
  seal(inner: Uint8Array, outerType: number = ContentType.applicationData, version = 0x0303): void {
    const epoch = this.#sending;
    if (epoch === undefined) throw new Error('no keys to seal with');
    const header = encode((writer) =>
      writer
        .u8(outerType)
        .u16(version)
        .u16(inner.length + TAG_BYTES),
    );
    const cipher = createCipheriv('aes-128-gcm', epoch.key, nonce(epoch), { authTagLength: TAG_BYTES });
    cipher.setAAD(header);
    this.raw(concatBytes(header, cipher.update(inner), cipher.final(), cipher.getAuthTag()));
  }

  raw(bytes: Uint8Array): void {
    this.outbox.push(bytes);
  }

  // Receiving.

  deliver(bytes: Uint8Array): void {
    this.#inbox = concatBytes(this.#inbox, bytes);
  }

  /** The next handshake message of the engine, taken into the transcript; `undefined` if it is not whole yet. */
  nextMessage(): Uint8Array | undefined {
    for (;;) {
      const [, high = 0, middle = 0, low = 0] = this.#messages;
      const lengthBytes = 4 + (high << 16) + (middle << 8) + low;
      if (this.#messages.length >= 4 && this.#messages.length >= lengthBytes) {
        const message = this.#messages.slice(0, lengthBytes);
        this.#messages = this.#messages.slice(lengthBytes);
        this.note(message);
        return message;
      }
      if (!this.#readRecord()) return undefined;
    }
  }

  /** Reads what is left, to find the alert. */
  drain(): void {
    while (this.#readRecord());
  }

  #readRecord(): boolean {
    const header = this.#inbox.subarray(0, RECORD_HEADER_BYTES);
    const [type = 0, , , high = 0, low = 0] = header;
    const end = RECORD_HEADER_BYTES + (high << 8) + low;
    if (header.length < RECORD_HEADER_BYTES || this.#inbox.length < end) return false;
    const fragment = this.#inbox.slice(RECORD_HEADER_BYTES, end);
    const aad = header.slice();
    this.#inbox = this.#inbox.slice(end);
    if (type !== ContentType.applicationData) this.#takeContent(type, fragment);
    else this.#open(fragment, aad);
    return true;
  }

  #open(fragment: Uint8Array, header: Uint8Array): void {
    const epoch = this.#receiving;
    if (epoch === undefined) {
      this.unreadable++;
      return;
    }
    const decipher = createDecipheriv('aes-128-gcm', epoch.key, nonce(epoch), { authTagLength: TAG_BYTES });
    decipher.setAAD(header).setAuthTag(fragment.subarray(-TAG_BYTES));
    try {
      const inner = concatBytes(decipher.update(fragment.subarray(0, -TAG_BYTES)), decipher.final());
      let typeAt = inner.length - 1;
      while (inner[typeAt] === 0) typeAt--;
      this.#takeContent(inner[typeAt] ?? 0, inner.subarray(0, typeAt));
    } catch {
      this.unreadable++;
    }
  }

  #takeContent(type: number, content: Uint8Array): void {
    if (type === ContentType.handshake) this.#messages = concatBytes(this.#messages, content);
    if (type === ContentType.alert) this.alert = content[1];
    if (type === ContentType.applicationData) this.applicationData = concatBytes(this.applicationData, content);
  }

  // Keys.

  /** Handshake keys in both directions: after ServerHello. */
  enterHandshakeKeys(sharedSecret: SecretBytes): void {
    this.earlySecret ??= EarlySecret.of('sha256', undefined);
    const secret = this.earlySecret.toHandshakeSecret(sharedSecret);
    const transcriptHash = this.transcript.snapshot();
    this.#handshakeSecret = secret;
    this.#handshakeSecrets = {
      client: secret.clientHandshakeTrafficSecret(transcriptHash),
      server: secret.serverHandshakeTrafficSecret(transcriptHash),
    };
    this.#sending = epochOf(this.#handshakeSecrets[this.role]);
    this.#receiving = epochOf(this.#handshakeSecrets[otherRole(this.role)]);
  }

  /** Application secrets: at the server's Finished. The keys are taken into use one direction at a time. */
  deriveApplicationSecrets(): void {
    const main = this.#handshakeSecret?.toMainSecret();
    if (main === undefined) throw new Error('no handshake secret');
    this.mainSecret = main;
    const transcriptHash = this.transcript.snapshot();
    this.#applicationSecrets = {
      client: main.clientApplicationTrafficSecret(transcriptHash),
      server: main.serverApplicationTrafficSecret(transcriptHash),
    };
  }

  sendUnderApplicationKeys(): void {
    this.#sending = epochOf(this.#application(this.role));
  }

  receiveUnderApplicationKeys(): void {
    this.#receiving = epochOf(this.#application(otherRole(this.role)));
  }

  /** The keys of another epoch, for what is sent or received from here on. */
  sendUnder(main: MainSecret, transcriptHash: Uint8Array): void {
    this.#sending = epochOf(trafficSecret(main, transcriptHash, this.role));
  }

  receiveUnder(main: MainSecret, transcriptHash: Uint8Array): void {
    this.#receiving = epochOf(trafficSecret(main, transcriptHash, otherRole(this.role)));
  }

  /** Keys that somebody else derived. */
  useKeys(direction: 'sending' | 'receiving', { key, iv }: TrafficKeys): void {
    const epoch = { secret: key as never, key: key.expose().slice(), iv: iv.expose().slice(), sequence: 0 };
    if (direction === 'sending') this.#sending = epoch;
    else this.#receiving = epoch;
  }

  /** The keys that follow a KeyUpdate of ours. */
  updateSendingKeys(): void {
    if (this.#sending === undefined) throw new Error('no keys to update');
    this.#sending = epochOf(nextTrafficSecret('sha256', this.#sending.secret as never));
  }

  /** A Finished that is right for the transcript as it was sent. */
  finished(): Uint8Array {
    const secret = this.#handshakeSecrets?.[this.role];
    if (secret === undefined) throw new Error('no handshake secret');
    return encodeFinished(finishedVerifyData('sha256', secret as never, this.transcript.snapshot()));
  }

  #application(role: Role): Secret {
    const secret = this.#applicationSecrets?.[role];
    if (secret === undefined) throw new Error('no application secret');
    return secret;
  }
}

function trafficSecret(main: MainSecret, transcriptHash: Uint8Array, sender: Role): Secret {
  return sender === 'client'
    ? main.clientApplicationTrafficSecret(transcriptHash)
    : main.serverApplicationTrafficSecret(transcriptHash);
}

function otherRole(role: Role): Role {
  return role === 'client' ? 'server' : 'client';
}

function epochOf(secret: Secret): Epoch {
  const { key, iv } = deriveTrafficKeys(suite as NonNullable<typeof suite>, secret);
  return { secret, key: key.expose().slice(), iv: iv.expose().slice(), sequence: 0 };
}

/** The nonce of the next record: its number, XORed into the IV. */
function nonce(epoch: Epoch): Uint8Array {
  const value = epoch.iv.slice();
  const view = new DataView(value.buffer);
  view.setUint32(8, (view.getUint32(8) ^ epoch.sequence++) >>> 0);
  return value;
}

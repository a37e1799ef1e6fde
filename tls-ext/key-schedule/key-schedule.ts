/**
 * The key schedule as a chain of stages, each a type of its own:
 * EarlySecret → HandshakeSecret → MainSecret → MainSecret of the next epoch.
 * A stage that has been left is wiped and can't be used again.
 *
 * RFC 9846, "Key Schedule" (RFC 8446, 7.1, where the main secret was the master
 * secret); labels keep the RFC's spelling. `transcriptHash` is always the
 * Transcript-Hash of the messages that the RFC names for that secret.
 */
import type { SecretBytes } from '../bytes/index.ts';
import { emptyHash, type HashName, hashLengthBytes } from '../crypto/hash.ts';
import { deriveNextSalt, deriveSecret, hkdfExtract } from '../crypto/hkdf.ts';
import type {
  BinderKey,
  ClientApplicationTrafficSecret,
  ClientHandshakeTrafficSecret,
  ExporterSecret,
  ResumptionSecret,
  ServerApplicationTrafficSecret,
  ServerHandshakeTrafficSecret,
} from './secrets.ts';

/** What kind of PSK a binder proves: external, resumption, or imported by RFC 9258. */
export type PskKind = 'external' | 'resumption' | 'imported';

const binderLabels: Readonly<Record<PskKind, string>> = {
  external: 'ext binder',
  resumption: 'res binder',
  imported: 'imp binder',
};

/** Early Secret: HKDF-Extract(0, PSK), or of zeros without a PSK. */
export class EarlySecret {
  readonly hash: HashName;
  readonly #secret: SecretBytes;

  private constructor(hash: HashName, secret: SecretBytes) {
    this.hash = hash;
    this.#secret = secret;
  }

  /** The PSK stays the caller's, to be wiped by it. */
  static of(hash: HashName, psk: SecretBytes | undefined): EarlySecret {
    const inputKeyingMaterial = psk?.expose() ?? new Uint8Array(hashLengthBytes[hash]);
    return new EarlySecret(hash, hkdfExtract(hash, undefined, inputKeyingMaterial));
  }

  /** binder_key. The receiver wipes it. */
  binderKey(kind: PskKind): BinderKey {
    return deriveSecret(this.hash, this.#secret, binderLabels[kind], emptyHash(this.hash)) as BinderKey;
  }

  /** Goes on with the (EC)DHE or hybrid secret, and wipes both it and this stage. */
  toHandshakeSecret(sharedSecret: SecretBytes): HandshakeSecret {
    const salt = deriveNextSalt(this.hash, this.#secret);
    const secret = hkdfExtract(this.hash, salt, sharedSecret.expose());
    salt.wipe();
    sharedSecret.wipe();
    this.wipe();
    return new HandshakeSecret(this.hash, secret);
  }

  wipe(): void {
    this.#secret.wipe();
  }
}

/** Handshake Secret: reached with the shared secret of the key exchange. */
export class HandshakeSecret {
  readonly hash: HashName;
  readonly #secret: SecretBytes;

  /** For `EarlySecret.toHandshakeSecret`; takes ownership of `secret`. */
  constructor(hash: HashName, secret: SecretBytes) {
    this.hash = hash;
    this.#secret = secret;
  }

  /** `transcriptHash`: ClientHello … ServerHello. */
  clientHandshakeTrafficSecret(transcriptHash: Uint8Array): ClientHandshakeTrafficSecret {
    return deriveSecret(this.hash, this.#secret, 'c hs traffic', transcriptHash) as ClientHandshakeTrafficSecret;
  }

  /** `transcriptHash`: ClientHello … ServerHello. */
  serverHandshakeTrafficSecret(transcriptHash: Uint8Array): ServerHandshakeTrafficSecret {
    return deriveSecret(this.hash, this.#secret, 's hs traffic', transcriptHash) as ServerHandshakeTrafficSecret;
  }

  /** Goes on to the main secret, and wipes this stage. */
  toMainSecret(): MainSecret {
    const salt = deriveNextSalt(this.hash, this.#secret);
    const secret = hkdfExtract(this.hash, salt, new Uint8Array(hashLengthBytes[this.hash]));
    salt.wipe();
    this.wipe();
    return new MainSecret(this.hash, secret);
  }

  wipe(): void {
    this.#secret.wipe();
  }
}

/** Main Secret of one epoch: of the handshake, or of a completed rekey. */
export class MainSecret {
  readonly hash: HashName;
  readonly #secret: SecretBytes;

  /** For the stages before; takes ownership of `secret`. */
  constructor(hash: HashName, secret: SecretBytes) {
    this.hash = hash;
    this.#secret = secret;
  }

  /** `transcriptHash`: ClientHello … server Finished; after a rekey th_{N+1}. */
  clientApplicationTrafficSecret(transcriptHash: Uint8Array): ClientApplicationTrafficSecret {
    return deriveSecret(this.hash, this.#secret, 'c ap traffic', transcriptHash) as ClientApplicationTrafficSecret;
  }

  /** `transcriptHash`: ClientHello … server Finished; after a rekey th_{N+1}. */
  serverApplicationTrafficSecret(transcriptHash: Uint8Array): ServerApplicationTrafficSecret {
    return deriveSecret(this.hash, this.#secret, 's ap traffic', transcriptHash) as ServerApplicationTrafficSecret;
  }

  /** exporter_secret (exporter_master_secret of RFC 8446). `transcriptHash`: ClientHello … server Finished; after a rekey th_{N+1}. */
  exporterSecret(transcriptHash: Uint8Array): ExporterSecret {
    return deriveSecret(this.hash, this.#secret, 'exp master', transcriptHash) as ExporterSecret;
  }

  /** resumption_secret (resumption_master_secret of RFC 8446). `transcriptHash`: ClientHello … client Finished; after a rekey th_{N+1}. */
  resumptionSecret(transcriptHash: Uint8Array): ResumptionSecret {
    return deriveSecret(this.hash, this.#secret, 'res master', transcriptHash) as ResumptionSecret;
  }

  /** A secret of our own under this main secret: the rekey's confirmation keys. The receiver wipes it. */
  deriveNamed(label: string, transcriptHash: Uint8Array): SecretBytes {
    return deriveSecret(this.hash, this.#secret, label, transcriptHash);
  }

  /**
   * main_{N+1} of a rekey (draft-qstunnel-tls-qkd-psk; modelled on
   * draft-ietf-tls-extended-key-update, with a second extraction for the QKD
   * key): S = HKDF-Extract(Derive-Secret(main_N, "derived", ""), shared secret);
   * main_{N+1} = HKDF-Extract(Derive-Secret(S, "derived", ""), imported key or zeros).
   *
   * Wipes the shared secret and the imported key. This stage stays: a rekey is
   * confirmed by its MACs only, and `wipe` ends the old epoch after that.
   */
  nextEpoch(sharedSecret: SecretBytes, importedKey: SecretBytes | undefined): MainSecret {
    const saltOfShare = deriveNextSalt(this.hash, this.#secret);
    const intermediate = hkdfExtract(this.hash, saltOfShare, sharedSecret.expose());
    const saltOfKey = deriveNextSalt(this.hash, intermediate);
    const next = hkdfExtract(this.hash, saltOfKey, importedKey?.expose() ?? new Uint8Array(hashLengthBytes[this.hash]));
    for (const secret of [saltOfShare, intermediate, saltOfKey, sharedSecret, importedKey]) secret?.wipe();
    return new MainSecret(this.hash, next);
  }

  wipe(): void {
    this.#secret.wipe();
  }
}

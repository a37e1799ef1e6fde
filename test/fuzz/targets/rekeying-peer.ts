/** A scripted peer that rekeys: with the project's own steps of either role, whose messages can be changed on their way. */

import { type CipherSuiteInfo, cipherSuiteInfo } from '../../../tls-ext/crypto/index.ts';
import type { QkdPsk } from '../../../tls-ext/engine-types.ts';
import { Directions, type Epoch } from '../../../tls-ext/handshake/epoch.ts';
import { clientRekey, type RekeyContext, type RekeyEnd, serverRekey } from '../../../tls-ext/handshake/rekey.ts';
import type { Answer, Steps } from '../../../tls-ext/handshake/steps.ts';
import { rekeyKey } from '../../tls-ext/engine/rekey-pair.ts';
import type { ScriptedPeer } from '../../tls-ext/misbehaving/scripted-peer.ts';
import { cheapKeyAgreements } from './cheap-key-agreements.ts';

const GROUP = 29;
const suite = cipherSuiteInfo(0x1301) as CipherSuiteInfo;

/** From here on the two ends have different keys of one index … */
export const FIRST_DIFFERENT_KEY = 64;
/** … and from here on below it, the end that is asked has none, or not yet. */
export const FIRST_MISSING_KEY = 32;
export const FIRST_LATE_KEY = 48;

/** The peer's key of an index. */
function peerKey(index: number): QkdPsk {
  return rekeyKey(index, index < FIRST_DIFFERENT_KEY ? index : index ^ 1);
}

/** What the engine's owner answers when it is asked for the key of an index. */
export function ownersKey(index: number): QkdPsk | undefined | 'later' {
  if (index >= FIRST_DIFFERENT_KEY || index < FIRST_MISSING_KEY) return rekeyKey(index);
  return index < FIRST_LATE_KEY ? undefined : 'later';
}

export class RekeyingPeer {
  readonly #peer: ScriptedPeer;
  readonly #directions: Directions;
  readonly #context: RekeyContext;
  #steps: Steps<RekeyEnd> | undefined;
  /** What happens to the next message of a rekey. */
  change: ((message: Uint8Array) => Uint8Array) | undefined;
  /** Server: the index of the key that the request names. */
  #asked = 0;

  /** After a complete script: `number` is the epoch that it led to. */
  constructor(peer: ScriptedPeer, number: number) {
    this.#peer = peer;
    const { mainSecret, transcriptHash } = peer;
    if (mainSecret === undefined) throw new Error('no main secret');
    const none = new Uint8Array(32);
    const epoch: Epoch = {
      number,
      mainSecret,
      exporterSecret: mainSecret.exporterSecret(none),
      resumptionSecret: mainSecret.resumptionSecret(transcriptHash),
      transcriptHash,
    };
    this.#directions = new Directions(
      {
        protectSending: (keys) => peer.useKeys('sending', keys),
        protectReceiving: (keys) => peer.useKeys('receiving', keys),
      },
      peer.role,
      {
        suite,
        epoch,
        clientApplicationTrafficSecret: mainSecret.clientApplicationTrafficSecret(none),
        serverApplicationTrafficSecret: mainSecret.serverApplicationTrafficSecret(none),
        logSecret: () => {},
      } as never,
    );
    this.#context = {
      wire: {
        sendAtRecordEnd: (message) => {
          const change = this.change;
          this.change = undefined;
          peer.record(22, change?.(message) ?? message);
        },
        expectRecordBoundary: () => {},
        emit: (event) => {
          if (event.type === 'rekey-key-required' && event.reference.api === 'etsi004') {
            this.#asked = event.reference.index;
          }
        },
      },
      directions: this.#directions,
      suite,
      group: GROUP,
      keyAgreement: cheapKeyAgreements(GROUP) as RekeyContext['keyAgreement'],
      rekeyWithoutKey: 'accept',
    };
  }

  /** Client: asks, with the key of this index, or without one. */
  request(index: number | undefined): void {
    const key = index === undefined ? undefined : peerKey(index);
    if (this.#peer.role === 'client') this.#advance(clientRekey(this.#context, key), undefined);
  }

  /** Reads what the engine has said, and answers what is to be answered. */
  listen(): void {
    for (let bytes = this.#peer.nextMessage(); bytes !== undefined; bytes = this.#peer.nextMessage()) {
      const message = { type: bytes[0] as number, bytes };
      if (this.#steps !== undefined) this.#advance(this.#steps, { kind: 'message', message });
      else if (this.#peer.role === 'server') this.#advance(serverRekey(this.#context, message), undefined);
    }
  }

  #advance(steps: Steps<RekeyEnd>, answer: Answer | undefined): void {
    this.#steps = undefined;
    let step = answer === undefined ? steps.next() : steps.next(answer);
    if (!step.done && step.value.awaits === 'rekey-key') {
      step = steps.next({ kind: 'rekey-key', key: peerKey(this.#asked) });
    }
    if (!step.done) this.#steps = steps;
  }
}

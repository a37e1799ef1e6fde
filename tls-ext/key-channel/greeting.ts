/**
 * The beginning of one of the drawer's connections: hellos, and the answerer's
 * state, before it is known which process answers. That decides which
 * `KeyChannelDrawer` goes on with it, now or when its present connection ends:
 * several addresses may lead to one process.
 */
import { bytesEqual } from '../bytes/index.ts';
import { abortFor, ChannelConnection, unexpected } from './channel-connection.ts';
import { KeyChannelError, KeyChannelErrorCode } from './errors.ts';
import { encodeMessage } from './message-codec.ts';
import type { DrawerOptions, KeyChannelState, PeerHello } from './types.ts';

/** What the answerer did wrong: send `bytes`, if any, and close. */
export interface GreetingFailure {
  readonly error: KeyChannelError;
  readonly bytes?: Uint8Array;
}

export class DrawerGreeting {
  /** For the drawer that goes on with it. */
  readonly connection = new ChannelConnection();
  readonly #options: Pick<DrawerOptions, 'instance' | 'quota' | 'services'>;
  #peer: PeerHello | undefined;
  #state: KeyChannelState | undefined;

  constructor(options: Pick<DrawerOptions, 'instance' | 'quota' | 'services'>) {
    this.#options = options;
  }

  /** Present once the answerer has said hello. */
  get peer(): PeerHello | undefined {
    return this.#peer;
  }

  /** How the answerer's key delivery is doing, as it said last here. */
  get state(): KeyChannelState | undefined {
    return this.#state;
  }

  /** The first bytes to send. */
  hello(): Uint8Array {
    const { instance, quota, services } = this.#options;
    return encodeMessage({ type: 'hello', instance, quota, services });
  }

  /** Bytes of the answerer, until a drawer goes on with the connection. */
  receive(bytes: Uint8Array): GreetingFailure | undefined {
    const error = this.connection.receive(bytes, (message) => {
      switch (message.type) {
        case 'hello': {
          const { type: _, ...peer } = message;
          if (bytesEqual(peer.instance, this.#options.instance)) {
            throw new KeyChannelError(KeyChannelErrorCode.selfConnection, 'the key channel reached its own process');
          }
          this.#peer = peer;
          return;
        }
        case 'state': {
          const { type: _, ...state } = message;
          this.#state = state;
          return;
        }
        default:
          // Nothing was asked and nothing announced here.
          throw unexpected(message);
      }
    });
    if (error === undefined) return undefined;
    const abort = abortFor(error);
    return { error, ...(abort === undefined ? {} : { bytes: encodeMessage(abort) }) };
  }
}

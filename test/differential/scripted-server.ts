/**
 * A server that goes by a script: it has the keys of its connection, and so can say anything at any step under the
 * keys that a client expects there. It answers each client's own ClientHello: what two clients get is not the same
 * bytes but the same change of the same messages.
 */
import { ScriptedPeer } from '../tls-ext/misbehaving/scripted-peer.ts';
import { runStep, type Script, type Step } from '../tls-ext/misbehaving/scripts.ts';

export class ScriptedServer {
  readonly #peer = new ScriptedPeer('server');
  readonly #script: Script;
  #at = 0;

  constructor(script: Script) {
    this.#script = script;
  }

  /** Takes what the client wrote; answers with what goes to it now, nothing if the script waits or is at its end. */
  advance(bytes: Uint8Array): Uint8Array[] {
    this.#peer.deliver(bytes);
    try {
      while (this.#at < this.#script.length && this.#run(this.#script[this.#at] as Step)) this.#at++;
    } catch {
      // What a change has made impossible is not done, nor is anything behind it.
      this.#at = this.#script.length;
    }
    return this.#peer.outbox.splice(0);
  }

  /** The alert that the client sent, if it is one that these keys open. Nothing is read afterwards. */
  alert(): number | undefined {
    this.#peer.drain();
    return this.#peer.alert;
  }

  /** Whether the client said something that these keys don't open. */
  get unreadable(): boolean {
    return this.#peer.unreadable > 0;
  }

  /** A client that was asked for a certificate, in passing, sends it before its Finished. */
  #run(step: Step): boolean {
    if (step.kind !== 'expect') return runStep(step, this.#peer);
    for (let message = this.#peer.nextMessage(); message !== undefined; message = this.#peer.nextMessage()) {
      if (message[0] !== step.type) continue;
      step.take?.(message, this.#peer);
      return true;
    }
    return false;
  }
}

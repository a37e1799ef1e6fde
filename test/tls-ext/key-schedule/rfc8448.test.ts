import { expect } from 'chai';
import { concatBytes, SecretBytes } from '../../../tls-ext/bytes/index.ts';
import { encodeHkdfLabel, hkdfExpandLabel, hkdfExtract } from '../../../tls-ext/crypto/hkdf.ts';
import { cipherSuiteInfo, deterministicKeyAgreements, hash, TranscriptHash } from '../../../tls-ext/crypto/index.ts';
import {
  deriveTrafficKeys,
  EarlySecret,
  finishedVerifyData,
  pskBinder,
  resumptionPsk,
  type TrafficSecret,
  verifyFinished,
  verifyPskBinder,
} from '../../../tls-ext/key-schedule/index.ts';
import { stepsOf, type TraceStep, traceSections, traceSteps } from '../rfc8448-traces.ts';

const suite = cipherSuiteInfo(0x1301);
if (suite === undefined) throw new Error('no TLS_AES_128_GCM_SHA256');
const secret = (bytes: Uint8Array) => SecretBytes.copyOf(bytes);

describe('RFC 8448: each derivation by itself', () => {
  it('HKDF-Extract of every "extract secret"', () => {
    const steps = traceSteps.filter((step) => step.step.startsWith('extract secret') && step.has('secret'));
    expect(steps).to.have.length(15);
    for (const step of steps) {
      const salt = step.value('salt');
      const extracted = hkdfExtract('sha256', salt.length === 0 ? undefined : secret(salt), step.value('IKM'));
      expect(extracted.expose(), step.step).to.deep.equal(step.value('secret'));
    }
  });

  it('HKDF-Expand-Label of every labelled secret, with its HkdfLabel', () => {
    let checked = 0;
    for (const step of traceSteps) {
      const label = /"tls13 (.*)"/.exec(step.step)?.[1];
      if (label === undefined || !step.has('expanded')) continue;
      const context = step.value('hash');
      const expanded = step.value('expanded');
      expect(encodeHkdfLabel(label, context, expanded.length), label).to.deep.equal(step.value('info'));
      const derived = hkdfExpandLabel('sha256', secret(step.value('PRK')), label, context, expanded.length);
      expect(derived.expose(), label).to.deep.equal(expanded);
      checked++;
    }
    expect(checked).to.equal(58);
  });

  it('traffic keys of every "derive … traffic keys"', () => {
    const steps = traceSteps.filter((step) => step.has('key expanded'));
    expect(steps).to.have.length(21);
    for (const step of steps) {
      const keys = deriveTrafficKeys(suite, secret(step.value('PRK')) as TrafficSecret);
      expect(keys.key.expose()).to.deep.equal(step.value('key expanded'));
      expect(keys.iv.expose()).to.deep.equal(step.value('iv expanded'));
    }
  });
});

/** What a section says, found by name: the first step that carries the value. */
class Section {
  readonly #steps: readonly TraceStep[];

  constructor(name: string) {
    this.#steps = stepsOf(name);
  }

  value(stepPrefix: string, name: string, party?: 'client' | 'server'): Uint8Array {
    const step = this.#steps.find(
      (candidate) =>
        candidate.step.startsWith(stepPrefix) &&
        candidate.has(name) &&
        (party === undefined || candidate.party === party),
    );
    if (step === undefined) throw new Error(`no "${stepPrefix}" with "${name}"`);
    return step.value(name);
  }

  /** Handshake messages in the order of the transcript, from what was put into records before application data. */
  messages(): {
    clientHellos: Uint8Array[];
    serverHellos: Uint8Array[];
    serverFlight: Uint8Array[];
    clientFlight: Uint8Array[];
  } {
    const clientHellos: Uint8Array[] = [];
    const serverHellos: Uint8Array[] = [];
    const serverFlight: Uint8Array[] = [];
    const clientFlight: Uint8Array[] = [];
    for (const [i, step] of this.#steps.entries()) {
      const name = /^construct an? (\w+) handshake message/.exec(step.step)?.[1];
      if (name === undefined || name === 'NewSessionTicket') continue;
      // A ClientHello with binders is whole in its record only.
      const whole = name === 'ClientHello' ? this.#recordAfter(i) : step.value(name);
      if (name === 'ClientHello') clientHellos.push(whole);
      else if (name === 'ServerHello') serverHellos.push(whole);
      else if (step.party === 'server') serverFlight.push(whole);
      else clientFlight.push(whole);
    }
    return { clientHellos, serverHellos, serverFlight, clientFlight };
  }

  #recordAfter(index: number): Uint8Array {
    const step = this.#steps.slice(index).find((candidate) => candidate.step.startsWith('send handshake record'));
    if (step === undefined) throw new Error('ClientHello without a record');
    return step.value('payload');
  }
}

describe('RFC 8448: each handshake through the stages', () => {
  for (const name of traceSections) {
    it(name, () => {
      const section = new Section(name);
      const { clientHellos, serverHellos, serverFlight, clientFlight } = section.messages();
      const serverHello = serverHellos[serverHellos.length - 1] as Uint8Array;

      const transcript = new TranscriptHash('sha256');
      transcript.update(clientHellos[0] as Uint8Array);
      if (serverHellos.length === 2) {
        transcript.replaceByMessageHash();
        transcript.update(serverHellos[0] as Uint8Array);
        transcript.update(clientHellos[1] as Uint8Array);
      }
      transcript.update(serverHello);

      const resumed = name.startsWith('Resumed');
      const psk = resumed ? secret(section.value('extract secret "early"', 'IKM')) : undefined;
      const early = EarlySecret.of('sha256', psk);
      if (resumed) {
        const prefix = section.value('construct a ClientHello', 'ClientHello');
        const prefixHash = new TranscriptHash('sha256').snapshotWith(prefix);
        expect(prefixHash).to.deep.equal(section.value('calculate PSK binder', 'binder hash'));
        const binderKey = early.binderKey('resumption');
        expect(binderKey.expose()).to.deep.equal(section.value('calculate PSK binder', 'PRK'));
        const binder = section.value('calculate PSK binder', 'finished');
        expect(pskBinder('sha256', binderKey, prefixHash)).to.deep.equal(binder);
        expect(verifyPskBinder('sha256', binderKey, prefixHash, binder)).to.equal(true);
        expect(verifyPskBinder('sha256', early.binderKey('external'), prefixHash, binder)).to.equal(false);
      }

      const curve = name === 'HelloRetryRequest' ? 'P-256' : 'x25519';
      const clientPrivate = section.value(`create an ephemeral ${curve}`, 'private key', 'client');
      const serverPublic = section.value(`create an ephemeral ${curve}`, 'public key', 'server');
      const agreement = deterministicKeyAgreements(() => clientPrivate.slice())(curve === 'P-256' ? 0x0017 : 0x001d);
      const clientShare = agreement?.generateKeyShare();
      expect(clientShare?.share).to.deep.equal(section.value(`create an ephemeral ${curve}`, 'public key', 'client'));
      const shared = clientShare?.finish(serverPublic) as SecretBytes;
      expect(shared.expose()).to.deep.equal(section.value('extract secret "handshake"', 'IKM'));

      const handshake = early.toHandshakeSecret(shared);
      const afterHello = transcript.snapshot();
      const clientHandshake = handshake.clientHandshakeTrafficSecret(afterHello);
      const serverHandshake = handshake.serverHandshakeTrafficSecret(afterHello);
      expect(clientHandshake.expose()).to.deep.equal(section.value('derive secret "tls13 c hs traffic"', 'expanded'));
      expect(serverHandshake.expose()).to.deep.equal(section.value('derive secret "tls13 s hs traffic"', 'expanded'));

      const sendAll = (flight: readonly Uint8Array[], base: typeof clientHandshake | typeof serverHandshake) => {
        for (const message of flight) {
          if (message[0] === 20) {
            const verifyData = message.subarray(4);
            expect(finishedVerifyData('sha256', base, transcript.snapshot())).to.deep.equal(verifyData);
            expect(verifyFinished('sha256', base, transcript.snapshot(), verifyData)).to.equal(true);
            const wrong = Uint8Array.from(verifyData, (byte, i) => (i === 31 ? byte ^ 1 : byte));
            expect(verifyFinished('sha256', base, transcript.snapshot(), wrong)).to.equal(false);
          }
          transcript.update(message);
        }
      };
      sendAll(serverFlight, serverHandshake);
      const afterServer = transcript.snapshot();
      const main = handshake.toMainSecret();
      expect(main.clientApplicationTrafficSecret(afterServer).expose()).to.deep.equal(
        section.value('derive secret "tls13 c ap traffic"', 'expanded'),
      );
      expect(main.serverApplicationTrafficSecret(afterServer).expose()).to.deep.equal(
        section.value('derive secret "tls13 s ap traffic"', 'expanded'),
      );
      expect(main.exporterSecret(afterServer).expose()).to.deep.equal(
        section.value('derive secret "tls13 exp master"', 'expanded'),
      );
      sendAll(clientFlight, clientHandshake);
      const resumption = main.resumptionSecret(transcript.snapshot());
      expect(resumption.expose()).to.deep.equal(section.value('derive secret "tls13 res master"', 'expanded'));
      if (name.startsWith('Simple')) {
        expect(resumptionPsk('sha256', resumption, Uint8Array.of(0, 0)).expose()).to.deep.equal(
          section.value('generate resumption secret', 'expanded'),
        );
      }
    });
  }

  it('the message_hash of a HelloRetryRequest stands for ClientHello1', () => {
    const transcript = new TranscriptHash('sha256');
    const hello = Uint8Array.of(1, 0, 0, 1, 7);
    transcript.update(hello);
    transcript.replaceByMessageHash();
    const expected = hash('sha256', concatBytes(Uint8Array.of(254, 0, 0, 32), hash('sha256', hello)));
    expect(transcript.snapshot()).to.deep.equal(expected);
  });
});

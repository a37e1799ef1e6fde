/** Rekeys of a live connection: of each kind of handshake, with each answer, and where either end closes meanwhile. */
import { expect } from 'chai';
import { CipherSuite, NamedGroup } from '../../../tls-ext/index.ts';
import type { EnginePair, PairOptions } from '../engine/engine-pair.ts';
import { type ConnectionRecorder, DRAWER, fixedBytes, references, type Scenario } from './connection-recorder.ts';
import { close, exportValues, say, usedKey } from './connection-scenarios.ts';
import { expectEpoch, issueTicket, nextReference, Rekeys, request, withLimitOf } from './session.ts';

const ticketRequest = { newSessionCount: 1, resumptionCount: 1 };

/** Its own closure each time: a scenario's connection has the answers of its server in it. */
export function rekeyScenarios(): readonly Scenario[] {
  let rekeys: Rekeys;
  return [
    {
      name: 'rekey-exchanges',
      description:
        'Five requests on one connection. 1: used (GS QKD 004), with data of both ends while the server looks the key up, and a ticket of the new epoch afterwards. 2: asked for by rekey_wanted, without a key (without_key). 3: a key that the server does not have (refused). 4: another key at the server (server_qkd_key), so that the binder does not verify (refused). 5: used (SKIP).',
      cipherSuite: CipherSuite.aes256GcmSha384,
      certificates: 'used',
      options: (recorder) => {
        rekeys = new Rekeys(recorder);
        const { options } = usedKey(recorder, 'etsi004');
        return {
          ...options,
          client: { ...options.client, offerRekey: true, ticketRequest },
          server: { offerRekey: true },
          serverAnswers: { ...options.serverAnswers, rekeyKey: () => rekeys.serverKey },
        };
      },
      afterHandshake: (pair, recorder) => {
        const first = rekeys.key(nextReference(0));
        rekeys.serverKey = 'later';
        request(pair, first());
        say(pair, 'client', 'before');
        say(pair, 'server', 'before');
        pair.server.take(pair.server.engine.provideRekeyKey(first()));
        pair.deliver();
        expectEpoch(pair, 1);
        issueTicket(pair, 'rekey');
        say(pair, 'client', 'after');

        rekeys.next();
        pair.server.take(pair.server.engine.wantRekey());
        pair.deliver();
        request(pair);
        expectEpoch(pair, 2);

        rekeys.serverKey = undefined;
        request(pair, rekeys.key(nextReference(1))());
        rekeys.serverKey = undefined;
        const fourth = rekeys.key(nextReference(2));
        rekeys.serverKey = rekeys.otherKey(nextReference(2));
        request(pair, fourth());
        expectEpoch(pair, 2);
        say(pair, 'server', 'alive');

        const fifth = rekeys.key({ api: 'skip', drawer: DRAWER, keyId: fixedBytes('rekey skip', 16) });
        rekeys.serverKey = fifth();
        request(pair, fifth());
        expectEpoch(pair, 3);
        say(pair, 'client', 'ping');
        say(pair, 'server', 'pong');
        exportValues(pair, recorder);
        close(pair);
      },
    },
    {
      name: 'rekey-closed-key-update',
      description:
        'After a rekey (1: used, GS QKD 004) the client sends close_notify. The server goes on, near the limit of its AEAD, which is 4 records here: KeyUpdate, with update_not_requested.',
      cipherSuite: CipherSuite.aes256GcmSha384,
      certificates: 'used',
      options: (recorder) => {
        rekeys = new Rekeys(recorder);
        const { options } = usedKey(recorder, 'etsi014');
        return {
          ...options,
          client: { ...options.client, offerRekey: true },
          server: { offerRekey: true },
          serverAnswers: { ...options.serverAnswers, rekeyKey: () => rekeys.serverKey },
        };
      },
      afterHandshake: (pair) => {
        const key = rekeys.key(nextReference(5));
        rekeys.serverKey = key();
        request(pair, key());
        expectEpoch(pair, 1);
        pair.client.take(pair.client.engine.closeWrite());
        pair.deliver();
        withLimitOf(4, () => {
          for (const text of ['one', 'two', 'three', 'four']) say(pair, 'server', text);
        });
        close(pair);
      },
    },
    {
      name: 'rekey-raises',
      description:
        'A connection without a QKD key (channel_down), whose server wants no rekey without one: the first request, without a key, is refused; the second, with one of GS QKD 014, is used and raises the connection to qkd-and-pqc.',
      cipherSuite: CipherSuite.aes128GcmSha256,
      certificates: 'used',
      options: (recorder) => {
        rekeys = new Rekeys(recorder);
        return {
          client: { offerRekey: true, qkdOffer: { offer: 'none', reason: 'channel_down' } },
          server: { offerRekey: true, rekeyWithoutKey: 'refuse' },
          serverAnswers: {
            psk: () => ({ action: 'continue', result: 'unavailable' }),
            rekeyKey: () => rekeys.serverKey,
          },
        };
      },
      afterHandshake: (pair, recorder) => {
        rekeys.next();
        request(pair);
        expectEpoch(pair, 0);
        const key = rekeys.key(references.etsi014);
        rekeys.serverKey = key();
        request(pair, key());
        expectEpoch(pair, 1);
        say(pair, 'client', 'ping');
        say(pair, 'server', 'pong');
        exportValues(pair, recorder);
        close(pair);
      },
    },
    afterRetry(),
    pskOnly(),
    ...closings(),
  ];
}

interface Rekeyed extends Pick<Scenario, 'name' | 'description' | 'cipherSuite' | 'certificates'> {
  readonly api: keyof typeof references;
  readonly options?: PairOptions;
  readonly run: (pair: EnginePair, rekeys: Rekeys, recorder: ConnectionRecorder) => void;
}

/** A connection under a QKD key whose ends may rekey it. */
function rekeyed({ api, options, run, ...scenario }: Rekeyed): Scenario {
  let rekeys: Rekeys;
  return {
    ...scenario,
    options: (recorder) => {
      rekeys = new Rekeys(recorder);
      const used = usedKey(recorder, api).options;
      return {
        client: { ...used.client, offerRekey: true, ...options?.client },
        server: { offerRekey: true, ...options?.server },
        serverAnswers: { ...used.serverAnswers, rekeyKey: () => rekeys.serverKey },
      };
    },
    afterHandshake: (pair, recorder) => run(pair, rekeys, recorder),
  };
}

const afterRetry = () =>
  rekeyed({
    name: 'rekey-hello-retry-request',
    description:
      'A handshake with certificates in which the client sends a share of X25519 first and is asked for X25519MLKEM768, with suites of both hashes; then a rekey (1: used, GS QKD 004): th_0 begins with the message_hash, key and share are for what the handshake came to.',
    cipherSuite: CipherSuite.aes256GcmSha384,
    certificates: 'used',
    api: 'etsi004',
    options: {
      client: {
        groups: [NamedGroup.x25519, NamedGroup.x25519MlKem768],
        cipherSuites: [CipherSuite.aes128GcmSha256, CipherSuite.aes256GcmSha384],
      },
    },
    run: (pair, rekeys, recorder) => {
      expect(pair.client.summary).to.include({ helloRetryRequest: true, rekey: true });
      const key = rekeys.key(nextReference(6));
      rekeys.serverKey = key();
      request(pair, key());
      expectEpoch(pair, 1);
      say(pair, 'client', 'ping');
      say(pair, 'server', 'pong');
      exportValues(pair, recorder);
      close(pair);
    },
  });

const pskAlone: PairOptions = { client: { auth: 'psk' }, server: { auth: 'psk' } };

const pskOnly = () =>
  rekeyed({
    name: 'rekey-psk-only',
    description:
      'A QKD key over SKIP that alone authenticates, without certificates; then two rekeys (1: used, SKIP; 2: without_key), whose binder and confirmations are all that authenticates them.',
    cipherSuite: CipherSuite.chacha20Poly1305Sha256,
    certificates: 'none',
    api: 'skip',
    options: pskAlone,
    run: (pair, rekeys, recorder) => {
      expect(pair.client.summary).to.include({ peerCertificate: false, rekey: true });
      const key = rekeys.key({ api: 'skip', drawer: DRAWER, keyId: fixedBytes('rekey psk only', 16) });
      rekeys.serverKey = key();
      request(pair, key());
      expectEpoch(pair, 1);
      say(pair, 'client', 'ping');
      rekeys.next();
      request(pair);
      expectEpoch(pair, 2);
      say(pair, 'server', 'pong');
      exportValues(pair, recorder);
      close(pair);
    },
  });

/** An end closes while a request is outstanding: who waits, and what is void (section 7.4). */
function closings(): readonly Scenario[] {
  const closing = (
    name: string,
    description: string,
    slice: number,
    run: (pair: EnginePair, answer: () => void) => void,
  ) =>
    rekeyed({
      name: `rekey-closing-${name}`,
      description,
      cipherSuite: CipherSuite.aes128GcmSha256,
      certificates: 'none',
      api: 'etsi004',
      options: pskAlone,
      run: (pair, rekeys) => {
        const key = rekeys.key(nextReference(slice));
        rekeys.serverKey = 'later';
        pair.client.take(pair.client.engine.rekey(key()));
        run(pair, () => pair.server.take(pair.server.engine.provideRekeyKey(key())));
      },
    });
  return [
    closing(
      'client',
      'The client wants to close while its request (1) is outstanding, and says close_notify right behind the finish, under the new keys. The server still has something to say: a half-close.',
      7,
      (pair, answer) => {
        pair.deliver();
        pair.client.take(pair.client.engine.closeWrite());
        say(pair, 'server', 'while the key is looked up');
        answer();
        pair.deliver();
        expectEpoch(pair, 1);
        say(pair, 'server', 'after the finish');
        pair.server.take(pair.server.engine.closeWrite());
        pair.deliver();
      },
    ),
    closing(
      'server-answered',
      'The server closes right behind its response to the request (1: used), and still takes the finish. The client goes on under the new keys, and closes.',
      8,
      (pair, answer) => {
        pair.deliver();
        answer();
        pair.server.take(pair.server.engine.closeWrite());
        pair.deliver();
        expectEpoch(pair, 1);
        say(pair, 'client', 'under the new keys');
        close(pair);
      },
    ),
    closing(
      'server-unanswered',
      'The server closes while it looks for the key of the request (1), and does not answer it: both stay in epoch 0. The client goes on in it, and closes.',
      9,
      (pair) => {
        pair.deliver();
        pair.server.take(pair.server.engine.closeWrite());
        pair.deliver();
        expectEpoch(pair, 0);
        say(pair, 'client', 'under the old keys');
        close(pair);
      },
    ),
    closing(
      'crossed',
      'close_notify of the server is on the way when the client sends its request (1), which the server drops. Both stay in epoch 0. The client goes on in it, and closes.',
      10,
      (pair) => {
        pair.server.take(pair.server.engine.closeWrite());
        pair.deliver('server');
        expectEpoch(pair, 0);
        say(pair, 'client', 'under the old keys');
        close(pair);
      },
    ),
  ];
}

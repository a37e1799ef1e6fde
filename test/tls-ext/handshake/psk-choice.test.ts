/** Which of the offered identities a server asks about and uses (RFC 8446, 4.2.11; RFC 9973; draft, "Sizes"). */
import { expect } from 'chai';
import { MAX_CONSIDERED_IDENTITIES } from '../../../tls-ext/handshake/server-psk.ts';
import { Alert, type PskDecision, type ResumptionPsk, SecretBytes, TlsMisuseError } from '../../../tls-ext/index.ts';
import type { ClientHello } from '../../../tls-ext/messages/index.ts';
import {
  type EnginePair,
  enginePair,
  expectConnected,
  type PairOptions,
  type PskRequired,
  qkdPsk,
  qkdReference,
} from '../engine/engine-pair.ts';
import { changeClientHello } from '../misbehaving/middleman.ts';

type Extensions = ClientHello['extensions'];

const withoutKey: PskDecision = { action: 'continue', result: 'unavailable' };
const questionsOf = ({ server }: EnginePair) =>
  server.events.filter((event): event is PskRequired => event.type === 'psk-required');

const ticket = (): ResumptionPsk => ({
  kind: 'resumption',
  identity: new Uint8Array(16).fill(7),
  secret: new SecretBytes(new Uint8Array(48).fill(9)),
  cipherSuite: 0x1302,
});

/** A handshake whose client offers a key of ours, behind so many identities of which the server knows nothing. */
function behindStrangers(count: number): EnginePair {
  const strangers = Array.from({ length: count }, (_, i) => ({
    identity: Uint8Array.of(0x70, i),
    obfuscatedTicketAge: 0,
  }));
  const cut = changeClientHello((hello) => {
    const { identities, binders } = hello.extensions.preSharedKey ?? { identities: [], binders: [] };
    const preSharedKey = {
      identities: [...strangers, ...identities],
      binders: [...strangers.map(() => new Uint8Array(32)), ...binders],
    };
    return { ...hello, extensions: { ...hello.extensions, preSharedKey } };
  });
  return enginePair({
    client: { psk: qkdPsk(), qkdOffer: { offer: 'key' }, cipherSuites: [0x1302] },
    server: { qkd: true },
    serverAnswers: {
      psk: ({ offered }) => (offered.length > 0 ? { action: 'use', psk: qkdPsk() } : withoutKey),
    },
    cut,
  }).run();
}

describe('the choice of a PSK', () => {
  it('looks at the first four identities: the fourth is found, and its binder checked', () => {
    const pair = behindStrangers(MAX_CONSIDERED_IDENTITIES - 1);
    expect(questionsOf(pair).map(({ offered }) => offered.at(-1)?.reference)).to.deep.equal([qkdReference]);
    // The strangers in front of it have changed what the binder covers.
    expect(pair.server.error?.code).to.equal('ERR_TLS_BAD_BINDER');
  });

  it('never comes to the fifth, though its owner has the key', () => {
    const pair = behindStrangers(MAX_CONSIDERED_IDENTITIES);
    expect(questionsOf(pair).map(({ offered }) => offered.length)).to.deep.equal([4, 0]);
    expect(pair.server.error, 'no binder was looked at').not.to.have.property('code', 'ERR_TLS_BAD_BINDER');
    expect(pair.server.event('failed')?.qkdResult).to.equal('unavailable');
  });

  it('is asked for with nothing but what the client said', () => {
    const pair = enginePair({
      client: { psk: ticket(), serverName: undefined as never },
      server: { acceptTickets: true },
      serverAnswers: { psk: () => ({ action: 'use', psk: ticket() }) },
    }).run();
    expect(questionsOf(pair)).to.deep.equal([
      { type: 'psk-required', offered: [{ identity: ticket().identity }], certWithExternPsk: false, alpnProtocols: [] },
    ]);
    expectConnected(pair);
  });

  it('is not asked for where a client that would like tickets has none yet', () => {
    const ticketRequest = { newSessionCount: 1, resumptionCount: 1 };
    const pair = enginePair({ client: { ticketRequest }, server: { acceptTickets: true } }).run();
    expect(questionsOf(pair)).to.deep.equal([]);
    expectConnected(pair);
  });

  it('leaves a QKD key without extension 33 out where tickets are looked at and certificates asked for', () => {
    const pair = enginePair({
      client: { auth: 'psk', psk: qkdPsk(), qkdOffer: { offer: 'key' } },
      server: { qkd: true, acceptTickets: true },
      serverAnswers: { psk: () => withoutKey },
    }).run();
    expect(questionsOf(pair).map(({ offered }) => offered)).to.deep.equal([[]]);
    expect(pair.client.error?.alert).to.equal(Alert.handshakeFailure);
  });
});

describe('an offer that breaks the rules, of a PSK that nobody would use', () => {
  const changed = (client: PairOptions['client'], change: (extensions: Extensions) => Extensions) =>
    enginePair({
      client: client ?? {},
      server: { qkd: true, acceptTickets: true },
      serverAnswers: { psk: () => withoutKey },
      cut: changeClientHello((hello) => ({ ...hello, extensions: change(hello.extensions) })),
    }).run().server.error;

  it('without psk_key_exchange_modes is refused', () => {
    const modeless = ({ pskKeyExchangeModes: _, ...rest }: Extensions) => rest;
    expect(changed({ psk: ticket() }, modeless)?.alert).to.equal(Alert.missingExtension);
  });

  it('of a ticket beside extension 33 is refused', () => {
    const client = { psk: ticket(), qkdOffer: { offer: 'ticket' } } as const;
    const beside = (extensions: Extensions) => ({ ...extensions, certWithExternPsk: true }) as const;
    expect(changed(client, beside)?.alert).to.equal(Alert.illegalParameter);
  });
});

describe('misuse by the owner of the keys', () => {
  const misused = (options: PairOptions, psk: () => Extract<PskDecision, { action: 'use' }>['psk']) => {
    const given = psk();
    const pair = enginePair({ ...options, serverAnswers: { psk: () => ({ action: 'use', psk: given }) } });
    expect(() => pair.run()).to.throw(TlsMisuseError);
    expect(pair.server.summary).to.equal(undefined);
    expect(given.secret.wiped, 'the key').to.equal(true);
  };

  it('a key where none was offered', () => {
    misused({ server: { qkd: true } }, qkdPsk);
    misused({ server: { qkd: true, auth: 'psk' } }, qkdPsk);
  });

  it('a ticket that the client did offer, where tickets are not looked at', () => {
    const client = { auth: 'psk', psk: ticket() } as const;
    misused({ client, server: { auth: 'psk' } }, ticket);
  });

  it('a key that comes when the connection has ended, or before it began', () => {
    const ended = enginePair({ client: { psk: qkdPsk(), qkdOffer: { offer: 'key' } }, server: { qkd: true } }).run();
    expect(questionsOf(ended)).to.have.length(1);
    ended.server.engine.abort(Alert.userCanceled);
    const late = qkdPsk();
    expect(ended.server.engine.providePsk({ action: 'use', psk: late })).to.deep.equal([]);
    expect(late.secret.wiped, 'the key that came too late').to.equal(true);
    const early = qkdPsk();
    expect(() => enginePair().server.engine.providePsk({ action: 'use', psk: early })).to.throw(TlsMisuseError);
    expect(early.secret.wiped, 'the key that came too early').to.equal(true);
  });
});

/**
 * Every place in the engine that finds a peer at fault is met by a case of the misbehaving peer, which it tells by
 * the words of its error; or by another test, which stands here; or it has a reason.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { allCases } from './cases/index.ts';
import { runAgainst } from './handshakes.ts';
import { isNamedTest } from './named-tests.ts';

/** Words of an error, and the title of the test that meets it, with its placeholders in braces. */
const otherTests: Readonly<Record<string, string>> = {
  'too much data while the handshake waits for a decision': 'for a PSK keeps what arrives, up to a bound',
  'the connection ended without close_notify': 'without close_notify is a truncation',
  'ML-KEM decapsulation failed': 'of {what} is internal_error, and the peer learns no more',
  'internal error': 'of {what} is internal_error, and the peer learns no more',
  'malformed public key in certificate': 'keys of no scheme, malformed keys and off-curve keys are refused',
  'unusable public key in certificate': 'keys of no scheme, malformed keys and off-curve keys are refused',
  'RSA key of ${bits} bits, ${RSA_MIN_MODULUS_BITS} to ${RSA_MAX_MODULUS_BITS} allowed':
    'an RSA key under 2048 bits is refused, whatever it signs',
  'policy does not admit this handshake': 'is refused by the client before its own certificate and Finished',
  'policy wants a QKD key that this handshake does not have': 'is refused under encryption with {result}',
  'no PSK in common': 'unknown to the server, or known to it with another key, ends in the same alert',
  'KeyUpdate that asks a closed side for another':
    'KeyUpdate is not asked for by a peer that we have closed towards: {role}',
  'AEAD usage limit reached without new keys':
    'is never passed by a {from} whose peer does not answer: it ends the connection, and says so',

  'the peer does not speak TLS': 'plaintext HTTP',
  'protected record of another version':
    'under keys: another version in the header is not authentic, even if it was sealed so',
};

const ownKey = 'Of our own keys, and of a verdict about a certificate: no peer sends what is read there.';
const identity = 'Of an identity that does not decode, which is one that we do not have, and never an alert.';
const reasons: Readonly<Record<string, string>> = {
  'DER tag 0x${actual.toString(16)}, 0x${tag.toString(16)} wanted': ownKey,
  'DER length of an unsupported form': ownKey,
  'DER length not in its shortest form': ownKey,
  'public key with unused bits': ownKey,
  'ML-DSA seed of a wrong length': ownKey,
  'ML-DSA key of a wrong length': ownKey,
  'ML-DSA seed and expanded key disagree': ownKey,
  'ML-DSA private key of an unknown form': ownKey,
  'key delivery API ${api}': identity,
  'SAE ID is not UTF-8': identity,
  'context of another protocol': identity,
  'purpose ${purpose}': identity,
};

const makers = [
  ...['illegalParameter', 'unexpectedMessage', 'handshakeFailure', 'missingExtension', 'unsupportedExtension'],
  ...['insufficientSecurity', 'limitExceeded', 'unusablePsk', 'protocolVersion', 'decryptError', 'recordOverflow'],
  ...['badRecordMac', 'illegalShare', 'unsupportedKey', 'DecodeError'],
];
const literal = String.raw`(['"\`])((?:\\.|(?!\1).)*)\1`;
const sites = [
  new RegExp(String.raw`\b(?:${makers.join('|')})\(\s*${literal}`, 'g'),
  new RegExp(String.raw`TlsError\(\s*[\w.]+,\s*[\w.]+,\s*${literal}`, 'g'),
];

/** Words of all errors of the engine, as they stand in its source. */
function wordsInSource(): string[] {
  const root = new URL('../../../tls-ext/', import.meta.url);
  const texts = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.startsWith('key-channel'))
    .map((path) => readFileSync(new URL(path, root), 'utf8'));
  return texts.flatMap((text) => sites.flatMap((site) => [...text.matchAll(site)].map((match) => match[2] as string)));
}

/** What a template of the source may have become; a decoder's name may stand before it. */
function asPattern(words: string): RegExp {
  const parts = words.split(/\$\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}/);
  return new RegExp(`^(?:.*: )?${parts.map((part) => part.replace(/[.*+?^$()|[\]\\{}]/g, '\\$&')).join('.+')}$`);
}

describe('every alert path', () => {
  it('is met by a case, by another named test, or has a reason', function () {
    this.timeout(60_000);
    const met = new Set<string>();
    for (const { against, scenario, edit } of allCases) {
      const { error } = runAgainst(against, scenario, edit).side;
      if (error !== undefined) met.add(error.message.replace(/ \([a-z_]+\)$/, ''));
    }
    const words = wordsInSource();
    expect(words.length).to.be.greaterThan(140);
    const unmet = words.filter((one) => {
      const pattern = asPattern(one);
      return ![...met].some((message) => pattern.test(message));
    });
    expect([...new Set(unmet)].sort()).to.deep.equal([...Object.keys(otherTests), ...Object.keys(reasons)].sort());
    const titles = Object.values(otherTests).map((title) => title.replaceAll(/\{\w+\}/g, (name) => `$${name}`));
    expect(titles.filter((title) => !isNamedTest(title))).to.deep.equal([]);
  });
});

/** What a peer's key share and signature may hold, for each group and scheme: node:crypto and noble behind our checks. */

import { concatBytes } from '../../../tls-ext/bytes/index.ts';
import { defaultKeyAgreements, namedGroups, signatureSchemes, verifySignature } from '../../../tls-ext/crypto/index.ts';
import { TlsError } from '../../../tls-ext/tls-error.ts';
import { testIdentity } from '../../tls-ext/engine/engine-pair.ts';
import type { Target } from '../target.ts';
import { outcomeOf } from './codec.ts';

const agreementOf = (code: number) => {
  const { codePoint, name } = namedGroups[code % namedGroups.length] as (typeof namedGroups)[number];
  const agreement = defaultKeyAgreements(codePoint);
  if (agreement === undefined) throw new Error(`no ${name}`);
  return { agreement, name };
};
const isAlert = (error: unknown) => error instanceof TlsError && error.code === 'ERR_TLS_ILLEGAL_PARAMETER';

/** First byte: group; second: whether it is a client's share or a server's. */
const shares: Target = {
  name: 'key-shares',
  seeds: () =>
    namedGroups.flatMap((_, code) => {
      const { agreement } = agreementOf(code);
      const client = agreement.generateKeyShare();
      const { share } = agreement.respond(client.share);
      return [concatBytes(Uint8Array.of(code, 0), client.share), concatBytes(Uint8Array.of(code, 1), share)];
    }),
  run: (input) => {
    const { agreement, name } = agreementOf(input[0] ?? 0);
    const share = input.subarray(2);
    return outcomeOf(() => {
      if ((input[1] ?? 0) % 2 === 0) {
        const { secret } = agreement.respond(share);
        if (secret.length !== agreement.secretBytes) throw new Error(`${name}: a secret of ${secret.length} bytes`);
        secret.wipe();
      } else agreement.generateKeyShare().finish(share).wipe();
    }, isAlert);
  },
};

const identities = (['P-256', 'P-384', 'ed25519', 'rsa'] as const).map((type) => testIdentity(type));
const content = new Uint8Array(98).fill(32);
const signed = identities.map(({ sign, signatureSchemes: [scheme = 0], spki }) => {
  return { scheme, spki, signature: sign(scheme, content) };
});

/** First byte: scheme; second: whose key, or one made of the rest; the others: signature or key. */
const signatures: Target = {
  name: 'signatures',
  covers: ['verifySignature'],
  seeds: () =>
    signed
      .map(({ scheme, signature }, i) => {
        const code = signatureSchemes.findIndex(({ codePoint }) => codePoint === scheme);
        return concatBytes(Uint8Array.of(code, i), signature);
      })
      .concat(signed.map(({ spki }, i) => concatBytes(Uint8Array.of(i, 128 + i), spki))),
  run: (input) => {
    const [code = 0, whose = 0] = input;
    const rest = input.slice(2);
    const { codePoint } = signatureSchemes[code % signatureSchemes.length] as (typeof signatureSchemes)[number];
    const own = signed[whose % signed.length] as (typeof signed)[number];
    let good = false;
    const outcome = outcomeOf(
      () => {
        good =
          whose < 128
            ? verifySignature(codePoint, own.spki, content, rest)
            : verifySignature(codePoint, rest, content, own.signature);
      },
      (error) => error instanceof TlsError && error.code !== 'ERR_TLS_INTERNAL',
    );
    return good ? 'good' : outcome;
  },
};

export const keyShareTargets: readonly Target[] = [shares, signatures];

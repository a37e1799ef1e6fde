/** Key agreements that cost nothing and are the same in every run: a handshake up to a change is then always the same bytes. */
import { SecretBytes } from '../../../tls-ext/bytes/index.ts';
import { defaultKeyAgreements, type KeyAgreementProvider } from '../../../tls-ext/crypto/index.ts';
import { expectShareLength } from '../../../tls-ext/crypto/share-errors.ts';

/** What is agreed on does not depend on the shares: what they may hold is a target of its own. */
export const cheapKeyAgreements: KeyAgreementProvider = (group) => {
  const real = defaultKeyAgreements(group);
  if (real === undefined) return undefined;
  const { clientShareBytes, serverShareBytes, secretBytes } = real;
  const secret = () => new SecretBytes(new Uint8Array(secretBytes).fill(group));
  return {
    clientShareBytes,
    serverShareBytes,
    secretBytes,
    generateKeyShare: () => ({
      share: new Uint8Array(clientShareBytes).fill(0xc1),
      finish: (share) => {
        expectShareLength('server', share, serverShareBytes);
        return secret();
      },
      wipe: () => {},
    }),
    respond: (share) => {
      expectShareLength('client', share, clientShareBytes);
      return { share: new Uint8Array(serverShareBytes).fill(0x5e), secret: secret() };
    },
  };
};

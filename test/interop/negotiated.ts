/** What a handshake has to end in for a choice of values. */
import { cipherSuites, type HandshakeSummary, namedGroups } from '../../tls-ext/index.ts';
import { type Choice, codePointOf, NO_SIGNATURE } from './axes.ts';
import { isImported } from './our-end.ts';
import type { Role } from './peer.ts';

export const isRetried = ({ feature }: Choice) => feature === 'hrr' || feature === 'hrr-cookie';

/** Throws where our end, in this role, has negotiated something else. `resumed`: by a ticket. */
export function expectNegotiated(choice: Choice, role: Role, summary: HandshakeSummary, resumed: boolean): void {
  const external = isImported(choice.feature) ? 'qkd' : choice.feature.startsWith('psk') ? 'plain' : 'none';
  const certificate = role === 'client' ? choice.signature !== NO_SIGNATURE : choice.feature === 'client-certificate';
  const wanted = {
    group: codePointOf(namedGroups, choice.group),
    cipherSuite: codePointOf(cipherSuites, choice.suite),
    helloRetryRequest: isRetried(choice),
    psk: resumed ? 'resumption' : external,
    peerCertificate: certificate && !resumed,
  };
  for (const [name, value] of Object.entries(wanted)) {
    const got = summary[name as keyof HandshakeSummary];
    if (got !== value) throw new Error(`${name} is ${String(got)}, ${String(value)} wanted`);
  }
}

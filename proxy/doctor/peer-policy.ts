/** What a service of ours would make of a peer, by each value of its `require`. */
import { type AdmittedMode, admits, needsPqc, needsQkd, REQUIREMENTS, type Requirement } from '../policy.ts';
import { KEY_WAIT_TEXT } from './peer-report.ts';

/** What was found out about the peer, as far as policy looks at it. */
export interface PeerAbilities {
  /** A group that withstands a quantum computer. */
  readonly postQuantum: boolean;
  /** Any group at all. */
  readonly reachable: boolean;
  readonly qkdPsk: boolean;
  /** The peer refused a handshake without a key, by its own `require`. */
  readonly demandsKey: boolean;
}

export interface RequirementVerdict {
  readonly require: Requirement;
  /** `with-key`: only once both ends have keys that they agreed on. */
  readonly admitted: 'yes' | 'with-key' | 'no';
  /** The mode of a connection now, without a key; null: there would be none. */
  readonly mode: AdmittedMode | null;
  readonly why: string;
}

export function judgeByRequirement(abilities: PeerAbilities): RequirementVerdict[] {
  return REQUIREMENTS.map((require) => judge(require, abilities));
}

function judge(
  require: Requirement,
  { postQuantum, reachable, qkdPsk, demandsKey }: PeerAbilities,
): RequirementVerdict {
  const verdict = (admitted: RequirementVerdict['admitted'], mode: AdmittedMode | null, why: string) => ({
    require,
    admitted,
    mode,
    why,
  });
  if (!reachable) return verdict('no', null, 'there is no TLS 1.3 connection to it');
  const settings = { require, unsafeAllowClassical: false, keyWaitMs: 0 };
  const without: AdmittedMode = postQuantum ? 'pqc' : 'classical';
  const withKey: AdmittedMode = postQuantum ? 'qkd-and-pqc' : 'qkd';
  if (!demandsKey && admits(settings, without)) {
    return verdict(
      'yes',
      without,
      qkdPsk ? `as ${without} without a key, as ${withKey} with one` : `as ${without}; it does not speak qkd_psk`,
    );
  }
  if (qkdPsk && admits(settings, withKey)) {
    const reason = demandsKey ? 'it requires a key itself' : `without one it would be ${without}`;
    return verdict(
      'with-key',
      null,
      `as ${withKey} with a key that both ends agreed on; ${reason}, and ${KEY_WAIT_TEXT}`,
    );
  }
  const lacks = [
    ...(needsQkd(require) && !qkdPsk ? ['the other side does not speak the QKD extension'] : []),
    ...(needsPqc(require) && !postQuantum ? ['it has no post-quantum group'] : []),
    ...(!needsQkd(require) && !needsPqc(require) ? ['it would be classical'] : []),
  ];
  return verdict('no', null, lacks.join(', and '));
}

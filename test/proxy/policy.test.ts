import { expect } from 'chai';
import {
  type AdmittedMode,
  clientPlan,
  type FallbackReason,
  type HandshakeFacts,
  judgeHandshake,
  type PolicySettings,
  REQUIREMENTS,
  type Requirement,
  refuseWithoutKey,
  serverWithoutKey,
  stricterRequirement,
} from '../../proxy/policy.ts';

const settings = (require: Requirement, unsafeAllowClassical = false): PolicySettings => ({
  require,
  unsafeAllowClassical,
  keyWaitMs: 5_000,
});

const FACTS: Readonly<Record<AdmittedMode, HandshakeFacts>> = {
  'qkd-and-pqc': { psk: 'qkd', qkdOffer: { offer: 'key' }, qkdResult: 'used', groupIsPostQuantum: true },
  qkd: { psk: 'qkd', qkdOffer: { offer: 'key' }, qkdResult: 'used', groupIsPostQuantum: false },
  pqc: {
    psk: 'none',
    qkdOffer: { offer: 'none', reason: 'pool_empty' },
    qkdResult: 'not_offered',
    groupIsPostQuantum: true,
  },
  classical: {
    psk: 'none',
    qkdOffer: { offer: 'none', reason: 'pool_empty' },
    qkdResult: 'not_offered',
    groupIsPostQuantum: false,
  },
};

describe('policy', () => {
  describe('admits exactly what is required', () => {
    const admitted: Readonly<Record<Requirement, readonly AdmittedMode[]>> = {
      'qkd-and-pqc': ['qkd-and-pqc'],
      qkd: ['qkd-and-pqc', 'qkd'],
      pqc: ['qkd-and-pqc', 'pqc'],
      'qkd-or-pqc': ['qkd-and-pqc', 'qkd', 'pqc'],
    };
    for (const require of REQUIREMENTS) {
      for (const [mode, facts] of Object.entries(FACTS) as [AdmittedMode, HandshakeFacts][]) {
        const expected = admitted[require].includes(mode) ? mode : 'refused';
        it(`require ${require}, handshake ${mode}: ${expected}`, () => {
          expect(judgeHandshake(settings(require), facts).mode).to.equal(expected);
        });
      }
    }
  });

  it('admits classical only where unsafe-allow-classical is written and nothing stricter is required', () => {
    for (const require of REQUIREMENTS) {
      const { mode } = judgeHandshake(settings(require, true), FACTS.classical);
      expect(mode).to.equal(require === 'qkd-or-pqc' ? 'classical' : 'refused');
    }
  });

  describe('knows why there is no key', () => {
    const rows: readonly [string, Partial<HandshakeFacts>, FallbackReason][] = [
      [
        'the client said so',
        { qkdOffer: { offer: 'none', reason: 'key_mismatch' }, qkdResult: 'not_offered' },
        'key_mismatch',
      ],
      [
        'the server does not have the key',
        { qkdOffer: { offer: 'key' }, qkdResult: 'unavailable' },
        'reference_unavailable',
      ],
      ['the server does not want the key', { qkdOffer: { offer: 'key' }, qkdResult: 'policy' }, 'policy'],
      ['the server refused the ticket', { qkdOffer: { offer: 'ticket' }, qkdResult: 'unavailable' }, 'ticket_refused'],
      ['the peer has no such extension', {}, 'peer_without_qkd'],
      ['the server did not answer the extension', { qkdOffer: { offer: 'key' } }, 'peer_without_qkd'],
    ];
    for (const [name, facts, reason] of rows) {
      it(`${name}: ${reason}`, () => {
        const verdict = judgeHandshake(settings('qkd-or-pqc'), { psk: 'none', groupIsPostQuantum: true, ...facts });
        expect(verdict).to.deep.equal({ mode: 'pqc', reason });
      });
    }
  });

  it('explains a refusal to a human', () => {
    const verdict = judgeHandshake(settings('qkd'), FACTS.pqc);
    expect(verdict).to.deep.include({ mode: 'refused', offered: 'pqc', reason: 'pool_empty' });
    expect(verdict)
      .to.have.property('explanation')
      .that.matches(/requires qkd.*pqc.*no agreed key is left/);
    expect(refuseWithoutKey(settings('qkd'), 'channel_down'))
      .to.have.property('explanation')
      .that.matches(/key channel.*is down; waited 5000 ms for a key/);
  });

  it('lets a client wait exactly where a key is required', () => {
    const none = { offer: 'none', reason: 'pool_empty' } as const;
    expect(REQUIREMENTS.map((require) => clientPlan(settings(require), none))).to.deep.equal([
      'wait',
      'wait',
      'dial',
      'dial',
    ]);
    expect(clientPlan(settings('qkd'), { offer: 'key' })).to.equal('dial');
  });

  it('has a server refuse without a key exactly where one is required, and say what was wrong with it', () => {
    expect(serverWithoutKey(settings('qkd'), 'unavailable')).to.deep.equal({ action: 'refuse', result: 'unavailable' });
    expect(serverWithoutKey(settings('qkd-and-pqc'), 'not-offered')).to.deep.equal({
      action: 'refuse',
      result: 'policy',
    });
    expect(serverWithoutKey(settings('pqc'), 'policy')).to.deep.equal({ action: 'continue', result: 'policy' });
    expect(serverWithoutKey(settings('qkd-or-pqc'), 'unavailable')).to.deep.equal({
      action: 'continue',
      result: 'unavailable',
    });
  });

  it('joins the requirements of both ends to one that meets both, whatever the order', () => {
    expect(stricterRequirement('qkd', 'pqc')).to.equal('qkd-and-pqc');
    for (const a of REQUIREMENTS) {
      for (const b of REQUIREMENTS) {
        const joined = stricterRequirement(a, b);
        expect(joined).to.equal(stricterRequirement(b, a));
        for (const facts of Object.values(FACTS)) {
          const both = [a, b].every((one) => judgeHandshake(settings(one), facts).mode !== 'refused');
          expect(judgeHandshake(settings(joined), facts).mode !== 'refused').to.equal(both);
        }
      }
    }
  });
});

/** A case: who is tested, what the peer does wrong, and how that must end. docs/tls-requirements.md names each. */
import { expect } from 'chai';
import { type Alert, Alert as AlertDescription, TlsErrorCode } from '../../../tls-ext/index.ts';
import { exchangeData, type Outcome, runAgainst, type Scenario } from './handshakes.ts';
import type { Role } from './scripted-peer.ts';
import type { Edit } from './scripts.ts';

export type Failure = readonly [TlsErrorCode, Alert];

export interface Case {
  readonly name: string;
  /** The engine under test; the peer plays the other role. */
  readonly against: Role;
  readonly scenario: Scenario;
  readonly edit: Edit;
  /** How the engine fails, and with which alert; or that it goes on. */
  readonly ends: Failure | 'connected';
  readonly check?: (outcome: Outcome) => void;
}

export type Cases = Readonly<
  Record<string, readonly [Edit, Failure | 'connected', Scenario?, ((outcome: Outcome) => void)?]>
>;

/** A table of cases as a list; names begin with the role under test. */
export function casesAgainst(against: Role, table: Cases): Case[] {
  return Object.entries(table).map(([name, [edit, ends, scenario = {}, check]]) => ({
    name: `${against}: ${name}`,
    against,
    scenario,
    edit,
    ends,
    ...(check === undefined ? {} : { check }),
  }));
}

/** The same faults against both roles. */
export const casesAgainstBoth = (table: Cases): Case[] => [
  ...casesAgainst('client', table),
  ...casesAgainst('server', table),
];

export function runCase({ against, scenario, edit, ends, check }: Case): void {
  const outcome = runAgainst(against, scenario, edit);
  const { side, peer } = outcome;
  if (ends === 'connected') {
    expect(side.error, side.error?.message).to.equal(undefined);
    expect(outcome.complete, 'the script came to its end').to.equal(true);
    expect(side.summary, 'the engine finished').not.to.equal(undefined);
    if (check === undefined) expect(exchangeData(outcome)).to.deep.equal({ toPeer: [1, 2, 3], toEngine: [4, 5, 6] });
  } else {
    const [code, alert] = ends;
    expect(side.error?.code, side.error?.message ?? 'the engine did not fail').to.equal(code);
    expect(side.error?.alert).to.equal(alert);
    // The alert is on the wire, under keys that the peer has; none answers the peer's own.
    const told = code === TlsErrorCode.peerAlert ? undefined : alert;
    expect(peer.alert, 'the alert that the peer read').to.equal(told);
    expect(side.received, 'application data passed on').to.deep.equal([]);
  }
  check?.(outcome);
}

const failure = (code: TlsErrorCode, alert: Alert): Failure => [code, alert];

export const illegalParameter = failure(TlsErrorCode.illegalParameter, AlertDescription.illegalParameter);
export const unexpectedMessage = failure(TlsErrorCode.unexpectedMessage, AlertDescription.unexpectedMessage);
export const unsupportedExtension = failure(TlsErrorCode.unsupportedExtension, AlertDescription.unsupportedExtension);
export const missingExtension = failure(TlsErrorCode.missingExtension, AlertDescription.missingExtension);
export const decodeError = failure(TlsErrorCode.decode, AlertDescription.decodeError);
export const decryptError = failure(TlsErrorCode.decrypt, AlertDescription.decryptError);
export const protocolVersion = failure(TlsErrorCode.protocolVersion, AlertDescription.protocolVersion);
export const handshakeFailure = failure(TlsErrorCode.handshakeFailure, AlertDescription.handshakeFailure);
export const badRecordMac = failure(TlsErrorCode.badRecordMac, AlertDescription.badRecordMac);
export const recordOverflow = failure(TlsErrorCode.recordOverflow, AlertDescription.recordOverflow);
export const limit = failure(TlsErrorCode.limit, AlertDescription.unexpectedMessage);
export const oversized = failure(TlsErrorCode.limit, AlertDescription.decodeError);
export const certificateRequired = failure(TlsErrorCode.certificateRequired, AlertDescription.certificateRequired);
export const noApplicationProtocol = failure(
  TlsErrorCode.noApplicationProtocol,
  AlertDescription.noApplicationProtocol,
);
export const badBinderBesideCertificates = failure(TlsErrorCode.badBinder, AlertDescription.illegalParameter);
export const badBinderAlone = failure(TlsErrorCode.badBinder, AlertDescription.decryptError);
export const peerAlert = (alert: Alert): Failure => failure(TlsErrorCode.peerAlert, alert);

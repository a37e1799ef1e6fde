/** What `qstunnel doctor peer` shows. */
import type { CertificateReport, UnreadableCertificate } from '../doctor/certificate-report.ts';
import type { RequirementVerdict } from '../doctor/peer-policy.ts';
import type { OfferAnswer, PeerReport } from '../doctor/peer-report.ts';
import type { Requirement } from '../policy.ts';
import { type Colour, terminalOn, wrapped } from './terminal.ts';

const LABEL_COLUMNS = 20;

export interface PeerDoctorView {
  waiting(what: string): void;
  report(report: PeerReport, require: Requirement): void;
  end(): void;
}

const MARKS: Readonly<Record<RequirementVerdict['admitted'], readonly [Colour, string]>> = {
  yes: ['green', '✓'],
  'with-key': ['yellow', '!'],
  no: ['red', '✗'],
};

export function peerDoctorView(stdout: NodeJS.WriteStream, json: boolean): PeerDoctorView {
  const terminal = terminalOn(stdout);
  const indent = ' '.repeat(LABEL_COLUMNS + 2);
  const row = (label: string, text: string, colour: Colour = 'bold') => {
    const [first = '', ...rest] = wrapped(text, terminal.columns - indent.length);
    terminal.print(`  ${terminal.paint(colour, label.padEnd(LABEL_COLUMNS))}${first}`);
    for (const line of rest) terminal.print(indent + line);
  };
  return {
    waiting(what) {
      if (!json) terminal.wait(`asking about ${what}`);
    },
    report(report, require) {
      if (json) {
        stdout.write(`${JSON.stringify(report)}\n`);
        return;
      }
      terminal.print(`${terminal.paint('bold', report.address)}: ${report.summary}`);
      if (Object.keys(report.versions).length > 0) {
        terminal.print('');
        for (const [label, text] of rowsOf(report)) row(label, text);
      }
      if (report.policy.length > 0 && Object.keys(report.versions).length > 0) {
        terminal.print('');
        terminal.print('What a client service here would make of it, by its "require":');
        terminal.print('');
        for (const verdict of report.policy) {
          const [colour, mark] = MARKS[verdict.admitted];
          const label = verdict.require === require ? `${verdict.require} *` : verdict.require;
          row(`${mark} ${label}`, verdict.admitted === 'no' ? `no: ${verdict.why}` : verdict.why, colour);
        }
      }
      terminal.print('');
      if (report.ok) {
        terminal.print(`${terminal.paint('green', 'Good:')} require: ${require} would admit it (*).`);
        return;
      }
      for (const problem of report.problems) terminal.print(`${terminal.paint('red', 'Not good:')} ${problem}`);
    },
    end: () => terminal.end(),
  };
}

function rowsOf(report: PeerReport): [string, string][] {
  const { versions, groups, cipherSuites, chosenGroup, chosenCipherSuite, psk, qkdPsk, alpn, trust } = report;
  const offers = Object.entries(versions).map(([name, accepted]): OfferAnswer => ({ name, accepted }));
  const rows: [string, string][] = [['versions', offersText(offers, undefined)]];
  if (groups.length > 0) {
    rows.push(['groups', offersText(groups, chosenGroup)]);
    rows.push(['cipher suites', offersText(cipherSuites, chosenCipherSuite)]);
    rows.push(['qkd_psk', qkdPskText(qkdPsk)]);
    rows.push([
      'unknown PSK',
      `alone: ${psk.unknownIdentity}; beside a certificate (RFC 9973): ${psk.besideCertificate}`,
    ]);
    rows.push(['tickets', ticketsText(psk)]);
    rows.push(['client certificate', clientCertificateText(report.clientCertificate)]);
    rows.push(['ALPN', alpn.map(({ name, answer }) => `${name} ${answer}`).join(', ')]);
  }
  report.certificates.forEach((certificate, i) => {
    rows.push([i === 0 ? 'certificate' : '', certificateText(certificate)]);
  });
  if (trust !== null) rows.push(['trust', `${trust.trusted ? 'trusted' : 'not trusted'}: ${trust.why}`]);
  return rows;
}

function offersText(offers: readonly OfferAnswer[], chosen: string | null | undefined): string {
  const named = (wanted: boolean | null) =>
    offers.filter(({ accepted }) => accepted === wanted).map(({ name }) => name);
  const yes = named(true).map((name) => (name === chosen && offers.length > 1 ? `${name} (its choice)` : name));
  const parts = [
    yes.length === 0 ? '' : yes.join(', '),
    named(false).length === 0 ? '' : `not ${named(false).join(', ')}`,
    named(null).length === 0 ? '' : `unknown: ${named(null).join(', ')}`,
  ];
  return parts.filter((part) => part !== '').join('; ');
}

function qkdPskText({ spoken, demandsKey, rekey }: PeerReport['qkdPsk']): string {
  if (!spoken) return 'not spoken';
  const rekeying = rekey === null ? '' : `; rekeying of live connections ${rekey ? 'too' : 'not'}`;
  return `spoken${demandsKey ? ', and a key is demanded' : ''}${rekeying}`;
}

function ticketsText({ tickets, ticketLifetimeSeconds, resumption }: PeerReport['psk']): string {
  if (tickets === 0) return 'none came';
  const works = resumption === true ? 'one was taken with psk_dhe_ke' : 'one was not taken';
  return `${tickets}, good for ${ticketLifetimeSeconds} s; ${works}`;
}

function clientCertificateText(answer: PeerReport['clientCertificate']): string {
  switch (answer) {
    case 'none':
      return 'not demanded';
    case 'required':
      return 'demanded (--cert and --key show ours)';
    case 'accepted':
      return 'no objection to ours';
    case 'unknown':
      return 'unknown';
    default:
      return `ours is ${answer}`;
  }
}

function certificateText(certificate: CertificateReport | UnreadableCertificate): string {
  if ('unreadable' in certificate) return `can't be read: ${certificate.unreadable}`;
  const { subject, saeIds, dnsNames, ipAddresses, daysLeft, keyAlgorithm, signatureAlgorithm } = certificate;
  const hosts = [...dnsNames, ...ipAddresses];
  const names = [
    saeIds.length === 0 ? '' : `SAE ${saeIds.join(', ')}`,
    hosts.length === 0 ? '' : `hosts ${hosts.join(', ')}`,
  ].filter((one) => one !== '');
  const left = daysLeft < 0 ? `EXPIRED ${-daysLeft} days ago` : `${daysLeft} days left`;
  return [subject || '(no subject)', ...names, `${keyAlgorithm} key, signed by ${signatureAlgorithm}`, left].join('; ');
}

/** What `qstunnel sim up` shows. */
import { type BlockReport, type Simulator, type SimulatorEvent, STORE_KEY_BYTES } from '../../qkd-sim/index.ts';
import { ownCommand } from '../own-command.ts';
import type { SimFiles } from './sim-folder.ts';

/** On a terminal, how often the line of progress is drawn anew. */
const REDRAW_MS = 100;
const BAR_CELLS = 24;

export interface SimView {
  /** Says that keys are there, and what can be done with them. */
  ready(saes: readonly [SimFiles, SimFiles]): void;
  /** Leaves the terminal as it was. */
  end(): void;
}

/** What `--json` prints: everything that a tool needs to fetch keys at both ends. */
export function readyLine(simulator: Simulator, saes: readonly SimFiles[]): string {
  const kmes = simulator.kmes.map(({ etsi004, etsi014, skip }, i) => {
    const { saeId, cert, key, ca } = saes[i] as SimFiles;
    return { sae: saeId, etsi004, etsi014, skip, cert, key, ca };
  });
  return JSON.stringify({ kmes });
}

/** Follows a simulator: on a terminal with a progress bar, else in plain lines; with `json` warnings only, on stderr. */
export function simView(simulator: Simulator, options: { readonly json: boolean; readonly preset: string }): SimView {
  const { stdout, stderr } = process;
  const live = !options.json && stdout.isTTY;
  let lastDrawMs = 0;
  let hasBar = false;

  const eraseBar = () => {
    if (hasBar) stdout.write('\r\x1b[K');
    hasBar = false;
  };
  const say = (line: string) => {
    if (options.json) return;
    eraseBar();
    stdout.write(`${line}\n`);
  };
  const drawBar = (fraction: number, text: string) => {
    const now = performance.now();
    if (now - lastDrawMs < REDRAW_MS) return;
    lastDrawMs = now;
    const full = Math.round(BAR_CELLS * Math.min(1, fraction));
    const line = `${'█'.repeat(full)}${'░'.repeat(BAR_CELLS - full)} ${text}`;
    stdout.write(`\r${line.slice(0, Math.max(20, stdout.columns - 1))}\x1b[K`);
    hasBar = true;
  };
  const onEvent = (event: SimulatorEvent) => {
    switch (event.type) {
      case 'progress': {
        const { stage, fraction, qber, linkSeconds, block } = event.progress;
        const errors = qber === undefined ? '' : `, QBER ${percent(qber)}`;
        if (live) drawBar(fraction, `block ${block}: ${stage}, ${linkSeconds.toFixed(0)} s of link time${errors}`);
        return;
      }
      case 'block':
        say(blockText(event.report, event.droppedBytes, simulator));
        if (options.json && event.report.aborted !== undefined) {
          stderr.write(`qstunnel: no key from block ${event.report.block}: ${event.report.aborted}\n`);
        }
        return;
      case 'link':
        if (event.state === 'paused') say('Stores are full: the link pauses until keys are drawn.');
        else if (event.state === 'running') say('The link runs.');
        return;
      case 'client-rejected':
        stderr.write(`qstunnel: ${event.kmeId} rejected ${event.remote}: ${event.reason}\n`);
        return;
      case 'warning':
        eraseBar();
        stderr.write(`qstunnel: ${event.message}\n`);
        return;
      case 'key-delivered':
      case 'stores':
        return;
      default:
        event satisfies never;
    }
  };
  const unsubscribe = simulator.subscribe(onEvent);
  const { lengthKm } = simulator.status();
  const { qber, skrBitsPerSecond, blockLinkSeconds } = simulator.forecast;
  say(
    `A simulated ${options.preset} link of ${lengthKm} km; expected: QBER ${percent(qber)}, ` +
      `${kbps(skrBitsPerSecond)}, a block in ${blockLinkSeconds.toFixed(0)} s of link time. Waiting for its first keys.`,
  );
  if (skrBitsPerSecond === 0) {
    stderr.write('qstunnel: no key is to be expected of this link: it is too long, or too much of it is intercepted\n');
  }
  return {
    ready: (saes) => say(readyText(simulator, saes)),
    end() {
      unsubscribe();
      eraseBar();
    },
  };
}

function blockText(report: BlockReport, droppedBytes: number, simulator: Simulator): string {
  const { block, qber, aborted, endLinkSeconds, skrBitsPerSecond, deliveredBits } = report;
  const head = `block ${block}, ${endLinkSeconds.toFixed(0)} s: QBER ${percent(qber)}`;
  if (aborted !== undefined) return `${head}, no key (${aborted})`;
  const { aToB, bToA } = simulator.status().stores;
  const keys = (bytes: number) => Math.floor(bytes / STORE_KEY_BYTES);
  const dropped = droppedBytes === 0 ? '' : `, ${keys(droppedBytes)} dropped`;
  return (
    `${head}, ${kbps(skrBitsPerSecond)}, ${keys(deliveredBits / 8)} keys${dropped}; ` +
    `stores ${keys(aToB.availableBytes)} →, ${keys(bToA.availableBytes)} ← of ${keys(aToB.capacityBytes)}`
  );
}

function readyText(simulator: Simulator, saes: readonly [SimFiles, SimFiles]): string {
  const [a, b] = simulator.kmes;
  const [saeA, saeB] = saes;
  const us = ownCommand();
  const curlTls = ({ cert, key, ca }: SimFiles) => `--cert ${shell(cert)} --key ${shell(key)} --cacert ${shell(ca)}`;
  const tls = ({ cert, key, ca }: SimFiles) => `--cert ${shell(cert)} --key ${shell(key)} --ca ${shell(ca)}`;
  return `
Keys are there, of a simulator: they protect nothing.

  ${saeA.saeId}  ${a.etsi004}  ${a.etsi014}  ${a.skip}
  ${saeB.saeId}  ${b.etsi004}  ${b.etsi014}  ${b.skip}

Draw a key at one end, and fetch the same one at the other by its key_ID:

  curl ${curlTls(saeA)} ${a.etsi014.replace('etsi014', 'https')}/api/v1/keys/${encodeURIComponent(saeB.saeId)}/enc_keys
  curl ${curlTls(saeB)} '${b.etsi014.replace('etsi014', 'https')}/api/v1/keys/${encodeURIComponent(saeA.saeId)}/dec_keys?key_ID=…'

Have both key managers examined:

  ${us} doctor kme ${a.etsi014} --sae ${shell(saeA.saeId)} --peer-sae ${shell(saeB.saeId)} ${tls(saeA)} \\
    --peer ${b.etsi014} --peer-cert ${shell(saeB.cert)} --peer-key ${shell(saeB.key)}

Join two sites, each in a terminal of its own, with any server behind 127.0.0.1:8080:

  ${us} server --accept 127.0.0.1:8443 --connect 127.0.0.1:8080 ${tls(saeB)} \\
    --sae ${shell(saeB.saeId)} --peer-sae ${shell(saeA.saeId)} --kme ${b.etsi004}
  ${us} client --accept 127.0.0.1:8081 --connect 127.0.0.1:8443 ${tls(saeA)} \\
    --sae ${shell(saeA.saeId)} --peer-sae ${shell(saeB.saeId)} --kme ${a.etsi004}
  curl http://127.0.0.1:8081/

Ctrl-C ends it.
`;
}

function kbps(bitsPerSecond: number): string {
  return `${(bitsPerSecond / 1000).toFixed(2)} kbit/s`;
}

function percent(fraction: number): string {
  return `${(100 * fraction).toFixed(2)} %`;
}

/** Quoted for a POSIX shell, where that is needed. */
function shell(word: string): string {
  return /^[A-Za-z0-9_./:@%+,=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

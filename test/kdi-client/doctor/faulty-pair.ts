/** Two of the simulator's key managers whose replies a test may spoil, and the verdict on them with the tone of each check. */
import { Agent, request } from 'node:https';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import type { Credential } from '../../../certs/index.ts';
import {
  type CheckTone,
  type Clock,
  type Etsi004Request,
  type Etsi004Response,
  systemClock,
} from '../../../kdi-client/index.ts';
import { testPki } from '../../qkd-sim/kme/kme-fixture.ts';
import { type HttpsAnswer, type HttpsKme, type HttpsRequest, httpsKme } from '../support/https-kme.ts';
import { testPki as clientPki } from '../support/test-pki.ts';
import { type ApiUnderTest, examinePair, failedOf, type PairExamination, type ToldVerdict } from './doctor-fixture.ts';

/** A request that has been answered, and of which the key manager's client is not told yet. */
export interface Asked {
  readonly end: 'own' | 'peer';
  /** `open-connect`, `get-key`, `close`; the last word of the path, which is `{keyId}` for a key by its ID in SKIP. */
  readonly what: string;
  /** Among those of this kind at this end, from 1. */
  readonly nth: number;
  /** Among all at this end, from 1. */
  readonly at: number;
  /** Equal for equal requests. */
  readonly text: string;
}

/** The reply to give instead; none: the connection breaks; a promise that is not kept: it hangs. */
export type Spoil004 = (
  asked: Asked & { readonly request: Etsi004Request },
  reply: Etsi004Response,
) => Spoilt<Etsi004Response>;
export type SpoilHttp = (asked: Asked, reply: HttpsAnswer) => Spoilt<HttpsAnswer>;
type Spoilt<R> = R | undefined | Promise<never>;

/** Time goes by ten times as fast: for what is waited for in vain. */
export const fastClock: Clock = {
  now: () => 10 * systemClock.now(),
  schedule: (callback, delayMs) => systemClock.schedule(callback, delayMs / 10),
};

export type SpoiltExamination = Omit<PairExamination, 'through'> & { readonly clock?: Clock };

/** As `examinePair`. `spoil` is of the API's kind. */
export async function examineSpoilt(
  api: ApiUnderTest,
  spoil: Spoil004 | SpoilHttp,
  { clock, ...options }: SpoiltExamination = {},
): Promise<ToldVerdict> {
  const pki = await testPki();
  const fronts: HttpsKme[] = [];
  const agent = new Agent({ keepAlive: true });
  const count = counter();
  try {
    return await examinePair(api, {
      ...options,
      pair: {
        etsi004Layer: (saeId, handle) => async (asked, dialect, signal) => {
          const reply = await handle(asked, dialect, signal);
          const end = saeId === 'siteA' ? 'own' : 'peer';
          const spoilt = await (spoil as Spoil004)({ ...count(end, asked.service, ''), request: asked }, reply);
          if (spoilt === undefined) throw new Error('the connection breaks');
          return spoilt;
        },
        ...options.pair,
      },
      ...(api.startsWith('etsi004')
        ? {}
        : {
            through: async (end, port) => {
              const sae = end === 'own' ? pki.siteA : pki.siteB;
              const front = await frontOf(pki.kmeA, pki.ca, async (asked) => {
                const reply = await forwarded(port, sae, pki.ca, agent, asked);
                return (spoil as SpoilHttp)(count(end, lastWord(asked.url), JSON.stringify(asked)), reply);
              });
              fronts.push(front);
              return front.port;
            },
          }),
      change: (examination) => {
        const timed = clock === undefined ? examination : { ...examination, clock };
        return options.change?.(timed) ?? timed;
      },
    });
  } finally {
    agent.destroy();
    for (const front of fronts) await front.close();
  }
}

/** What the KME does, how, the tone and ID of the check that shows it, its clause and words; the line that copes; other settings. */
export type FaultRow<Spoil = SpoilHttp> = readonly [
  does: string,
  spoil: Spoil,
  check: `${CheckTone} ${string}`,
  clause: string | null,
  detail: RegExp,
  hint?: string | RegExp | null,
  more?: SpoiltExamination & {
    /** Failed checks beside this one. */
    readonly also?: readonly string[];
  },
];

/** Checks that 014 and SKIP make only with the key manager of the other end. */
const OF_BOTH_ENDS = /^(?:peer-.*|lookup|delay|keys-equal|single-delivery|batches)$/;

/** A test for each: there is that one check with that tone, no other has failed, and the verdict says as much. */
export function declareFaults(api: ApiUnderTest, rows: readonly (FaultRow | FaultRow<Spoil004>)[]): void {
  describe(`doctor, ${api}: each check by a fault of its own`, () => {
    for (const [does, spoil, check, clause, detail, hint = null, { also = [], ...more } = {}] of rows) {
      it(`it ${does}: ${check}`, async () => {
        const [tone = '', id = ''] = check.split(' ');
        // What the drawer's end shows by itself is found sooner without the other.
        const alone = api !== 'etsi004' && !OF_BOTH_ENDS.test(id) && !(api === 'skip' && id === 'unknown-key');
        const { told, ...verdict } = await examineSpoilt(api, spoil, { alone, ...more });
        const found = told.filter((one) => one.tone === tone && one.id === id);
        const all = told.map((one) => `${one.tone} ${one.id}: ${one.detail}`).join('\n');
        expect(found.length, all).to.equal(1);
        expect(found[0]?.detail).to.match(detail);
        expect(found[0]?.clause).to.equal(clause);
        if (hint instanceof RegExp) expect(found[0]?.configHint).to.match(hint);
        else expect(found[0]?.configHint).to.equal(hint);
        const failed = tone === 'bad' ? [id, ...also] : also;
        expect(failedOf(verdict), all).to.have.members(failed);
        expect(verdict.ok).to.equal(failed.length === 0);
      });
    }
  });
}

/** Spoils the replies of one kind at one end: the `nth` of them, or all. */
export function spoiling<R>(end: Asked['end'], what: string, nth: number | 'all', change: (reply: R) => R | undefined) {
  return (asked: Asked, reply: R): R | undefined =>
    asked.end === end && asked.what === what && (nth === 'all' || asked.nth === nth) ? change(reply) : reply;
}

function counter() {
  const counts = new Map<string, number>();
  const next = (key: string) => {
    const count = (counts.get(key) ?? 0) + 1;
    counts.set(key, count);
    return count;
  };
  return (end: 'own' | 'peer', what: string, asked: string): Asked => ({
    end,
    what,
    nth: next(`${end} ${what}`),
    at: next(end),
    text: asked,
  });
}

async function frontOf(
  credential: Credential,
  ca: Credential,
  answer: (request: HttpsRequest) => Promise<HttpsAnswer | undefined>,
): Promise<HttpsKme> {
  return httpsKme(
    await clientPki(),
    (asked, response) => {
      answer(asked).then(
        (reply) => {
          if (reply === undefined) response.destroy();
          else {
            response.writeHead(reply.status ?? 200, { 'content-type': 'application/json', ...reply.headers });
            response.end(reply.text ?? (reply.json === undefined ? '' : JSON.stringify(reply.json)));
          }
        },
        () => response.destroy(),
      );
      return undefined;
    },
    { cert: credential.certPem, key: credential.keyPem, ca: ca.certPem },
  );
}

function forwarded(
  port: number,
  { certPem: cert, keyPem: key }: Credential,
  ca: Credential,
  agent: Agent,
  { method, url: path, body }: HttpsRequest,
): Promise<HttpsAnswer> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const tls = { cert, key, ca: ca.certPem, agent };
    const outgoing = request({ ...tls, host: '127.0.0.1', port, method, path, headers });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      text(incoming).then(
        (read) => resolve({ status: incoming.statusCode ?? 0, json: read === '' ? undefined : JSON.parse(read) }),
        reject,
      );
    });
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function lastWord(url: string): string {
  const words = new URL(url, 'https://kme').pathname.split('/');
  return words[1] === 'key' && words.length === 3 ? '{keyId}' : (words.at(-1) ?? '');
}

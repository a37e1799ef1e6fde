/** Whatever a key manager does with keys, none is in what the doctor says, nor a part of one. */
import { expect } from 'chai';
import type { Etsi004Response } from '../../../kdi-client/index.ts';
import type { HttpsAnswer } from '../support/https-kme.ts';
import { type Asked, examineSpoilt, type Spoil004, type SpoilHttp } from './faulty-pair.ts';

/** Long enough to be no chance, short enough to find a part that is quoted. */
const PART_CHARS = 12;

function expectUntold(verdict: unknown, keys: readonly Uint8Array[]): void {
  const text = JSON.stringify(verdict);
  expect(keys.length).to.be.greaterThan(0);
  for (const key of keys) {
    for (const form of ['hex', 'base64', 'base64url', 'latin1'] as const) {
      const part = Buffer.from(key).toString(form).slice(0, PART_CHARS);
      expect(text).to.not.include(part).and.not.include(JSON.stringify(part).slice(1, -1));
    }
  }
}

/** Where the key stands in a body of 014 or SKIP, with both quotes. */
const KEY_FIELD = /"key":"([A-Za-z0-9+/=]+)"/g;

describe('doctor: no key in what it says', () => {
  it('004: as it should be, with metadata that are the key, and with bytes too many', async () => {
    const changes: readonly ((delivery: Delivery) => Partial<Delivery>)[] = [
      () => ({}),
      ({ key }) => ({ metadata: Uint8Array.from(key) }),
      ({ key }) => ({ metadata: Uint8Array.from(Buffer.from(`{"age":"${Buffer.from(key).toString('hex')}"`)) }),
      ({ key }) => ({ key: Uint8Array.from([...key, ...key]) }),
    ];
    for (const change of changes) {
      const keys: Uint8Array[] = [];
      const spoil: Spoil004 = (_asked, reply) => {
        if (reply.service !== 'get-key' || reply.delivery === undefined) return reply;
        keys.push(Uint8Array.from(reply.delivery.key));
        return { ...reply, delivery: { ...reply.delivery, ...change(reply.delivery) } };
      };
      expectUntold(await examineSpoilt('etsi004', spoil), keys);
    }
  });

  for (const api of ['etsi014', 'skip'] as const) {
    it(`${api}: as it should be, under other names, cut off, and as no JSON`, async () => {
      const changes: readonly ((body: string, asked: Asked) => string)[] = [
        (body) => body,
        (body) => body.replaceAll('"key":', '"kez":'),
        (body) => body.replaceAll(KEY_FIELD, '"key":"$1!"'),
        (body) => body.replaceAll(KEY_FIELD, '"key":"$1","$1":1'),
        (body) => body.replaceAll(KEY_FIELD, '"key":["$1"]'),
        (body) => body.replaceAll(KEY_FIELD, '"key":"$1","key":"$1"'),
        (body) =>
          body.replaceAll(/"(?:key_ID|keyId)":"[^"]*",?/g, '').replaceAll(KEY_FIELD, '"key":"$1","key_ID":"$1"'),
        (body) => body.slice(0, -3),
        (body) => body.replaceAll(/[{}"]/g, ''),
        (body) => body.replaceAll(KEY_FIELD, '"message":"$1","key":"$1"'),
      ];
      for (const change of changes) {
        const keys: Uint8Array[] = [];
        const spoil: SpoilHttp = (asked, { json, ...reply }): HttpsAnswer => {
          const body = json === undefined ? '' : JSON.stringify(json);
          for (const [, key = ''] of body.matchAll(KEY_FIELD)) {
            keys.push(Buffer.from(key, api === 'skip' ? 'hex' : 'base64'));
          }
          return { ...reply, text: keys.length > 0 ? change(body, asked) : body };
        };
        expectUntold(await examineSpoilt(api, spoil), keys);
      }
    });
  }
});

type Delivery = NonNullable<Extract<Etsi004Response, { service: 'get-key' }>['delivery']>;

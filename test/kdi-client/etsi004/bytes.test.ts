/** What goes over the wire in both dialects, written down by hand from the layouts: nothing here is made with our codec. */
import { expect } from 'chai';
import { type KdiErrorCode as Code, KdiErrorCode as E, type KdiError } from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { bytes, eachRequest, etsi004Bench } from './source-bench.ts';

const KSID = '8f14e45fceea467a9f3c2e1d0b5a6978';
const NULL_KSID = '00000000000000000000000000000000';
/** "qkd://siteA\0" and "qkd://siteB\0". */
const ENDS = '716b643a2f2f7369746541 00  716b643a2f2f7369746542 00';
/** Chunk of 32 bytes, 100,000 bps at most, 0 at least, jitter 0, priority 0, 2,000 ms, 3,600 s. */
const QOS = '00000020 000186a0 00000000 00000000 00000000 000007d0 00000e10';
/** "application/json\0"; in `qubip` the field has 256 bytes. */
const MIMETYPE = '6170706c69636174696f6e2f6a736f6e 00';
const MIMETYPE_FIELD = MIMETYPE + '00'.repeat(239);
const KEY = 'c1'.repeat(32);
/** {"age":1,"hops":0} */
const METADATA = '7b22616765223a312c22686f7073223a307d';
const ZEROS = (count: number): string => '00'.repeat(count);
const text = (hex: string): string => hex.replace(/\s+/g, '');

interface Layout {
  readonly query: string;
  /** Everything that a client says, in order. */
  readonly asks: readonly string[];
  readonly answers: readonly string[];
}

const LAYOUTS: Readonly<Record<'etsi' | 'qubip', Layout>> = {
  etsi: {
    query: '',
    asks: [
      // 12 + 12 + 28 + 17 + 16 = 85 bytes
      `020101 02 00000055 ${ENDS} ${QOS} ${MIMETYPE} ${NULL_KSID}`,
      // 16 + 4 + 4 + 256 = 280 bytes: the metadata buffer goes along
      `020101 04 00000118 ${KSID} 00000000 00000100 ${ZEROS(256)}`,
      `020101 04 00000118 ${KSID} 00000001 00000100 ${ZEROS(256)}`,
      `020101 08 00000010 ${KSID}`,
    ],
    answers: [
      `020101 03 00000041 00000000 ${QOS} ${MIMETYPE} ${KSID}`,
      `020101 05 00000042 00000000 00000000 00000020 ${KEY} 00000012 ${METADATA}`,
      `020101 05 00000030 00000000 00000001 00000020 ${KEY} 00000000`,
      '020101 09 00000004 00000000',
    ],
  },
  qubip: {
    query: '?dialect=qubip',
    asks: [
      // 12 + 12 + 28 + 256 + 16 = 324 bytes
      `010001 02 00000144 ${ENDS} ${QOS} ${MIMETYPE_FIELD} ${NULL_KSID}`,
      `010001 04 00000018 ${KSID} 00000000 00000100`,
      `010001 04 00000018 ${KSID} 00000001 00000100`,
      `010001 08 00000010 ${KSID}`,
    ],
    answers: [
      `010001 03 00000130 00000000 ${QOS} ${MIMETYPE_FIELD} ${KSID}`,
      `010001 05 00000042 00000000 00000000 00000020 ${KEY} 00000012 ${METADATA}`,
      `010001 05 00000030 00000000 00000001 00000020 ${KEY} 00000000`,
      '010001 09 00000004 00000000',
    ],
  },
};

describe('kdi-client/etsi004: bytes of both dialects', () => {
  const { serve, sourceOf } = etsi004Bench();

  for (const dialect of ['etsi', 'qubip'] as const) {
    const { query, asks, answers } = LAYOUTS[dialect];
    const [opened, , , closed] = answers as [string, string, string, string];
    const version = dialect === 'etsi' ? '020101' : '010001';

    it(`${dialect}: a whole conversation`, async () => {
      const asked: string[] = [];
      const kme = await serve(eachRequest((request) => bytes(answers[asked.push(hexOf(request)) - 1] as string)));
      const source = sourceOf(kme, {}, query);
      const stream = await source.openDraw('siteB');
      const [first] = await stream.draw(1);
      const [second] = await stream.draw(1);
      await stream.close();
      expect(asked).to.deep.equal(asks.map(text));
      expect(hexOf(first!.secret.expose())).to.equal(KEY);
      expect(first!.metadata).to.include({ ageMs: 1, hops: 0 });
      expect(second!.metadata).to.not.have.any.keys('ageMs', 'hops');
    });

    /** What a reply to the first request of a kind leads to. */
    async function outcomeOf(call: 'open' | 'get-key', reply: string): Promise<KdiError | undefined> {
      let answered = false;
      const kme = await serve(
        eachRequest((request) => {
          if (request[3] === 8) return bytes(closed);
          if ((request[3] === 2) === (call === 'open') && !answered) {
            answered = true;
            return bytes(reply);
          }
          return request[3] === 2 ? bytes(opened) : undefined;
        }),
      );
      const source = sourceOf(kme, {}, query);
      const outcome = call === 'open' ? source.openDraw('siteB') : source.openDraw('siteB').then((s) => s.draw(1));
      return outcome.then(
        () => undefined,
        (error: KdiError) => error,
      );
    }

    // Open errors, each in the short form and in the full one with zeroed QoS and KSID: 4 + 28 + 1 + 16 or 4 + 28 + 256 + 16 bytes.
    const zeroed = dialect === 'etsi' ? `00000031 STATUS ${ZEROS(45)}` : `00000130 STATUS ${ZEROS(300)}`;
    const openErrors: readonly (readonly [status: string, code: Code, retryable: boolean])[] = [
      ['00000004', E.noQkdConnection, true],
      ['00000005', E.ksidInUse, false],
      ['00000006', E.kmeTimeout, true],
      ['00000009', E.unknownStatus, false],
      ['ffffffff', E.unknownStatus, false],
    ];
    for (const [status, code, retryable] of openErrors) {
      for (const [form, reply] of [
        ['short', `${version} 03 00000004 ${status}`],
        ['full', `${version} 03 ${zeroed.replace('STATUS', status)}`],
      ] as const) {
        it(`${dialect}: OPEN_CONNECT status ${status}, ${form}, is ${code}`, async () => {
          expect(await outcomeOf('open', reply)).to.include({ code, retryable });
        });
      }
    }

    it(`${dialect}: OPEN_CONNECT status 7 without a counter-proposal is ${E.qosNotMet}`, async () => {
      expect(await outcomeOf('open', `${version} 03 00000004 00000007`)).to.include({ code: E.qosNotMet });
    });

    it(`${dialect}: OPEN_CONNECT status 1 is a stream`, async () => {
      expect(await outcomeOf('open', opened.replace('00000000', '00000001'))).to.equal(undefined);
    });

    // Key errors: status alone, full without key (index, two lengths), and with a metadata size that no bytes follow.
    const keyErrors: readonly (readonly [status: string, code: Code, retryable: boolean])[] = [
      ['00000001', E.peerNotConnected, true],
      ['00000002', E.insufficientKey, true],
      ['00000003', E.peerNotConnected, true],
      ['00000004', E.noQkdConnection, true],
      ['00000005', E.ksidInUse, false],
      ['00000006', E.kmeTimeout, true],
      ['00000007', E.qosNotMet, false],
      ['00000009', E.unknownStatus, false],
    ];
    for (const [status, code, retryable] of keyErrors) {
      for (const [form, reply] of [
        ['short', `${version} 05 00000004 ${status}`],
        ['full', `${version} 05 00000010 ${status} 00000007 00000000 00000000`],
        ['full with a size', `${version} 05 00000010 ${status} 00000007 00000000 00000100`],
        ['full with its buffer', `${version} 05 00000014 ${status} 00000007 00000000 00000004 00000000`],
      ] as const) {
        it(`${dialect}: GET_KEY status ${status}, ${form}, is ${code}`, async () => {
          expect(await outcomeOf('get-key', reply)).to.include({ code, retryable });
        });
      }
    }

    // 0x190 = 400 bytes of metadata: 398 spaces and {}.
    for (const [form, tooSmall] of [
      ['short', `${version} 05 00000008 00000008 00000190`],
      ['full', `${version} 05 00000010 00000008 00000000 00000000 00000190`],
      ['full with its buffer', `${version} 05 000001a0 00000008 00000000 00000000 00000190 ${ZEROS(400)}`],
    ] as const) {
      it(`${dialect}: GET_KEY status 8, ${form}: the same index again with the room that is wanted`, async () => {
        const asked: string[] = [];
        const kme = await serve(
          eachRequest((request) => {
            if (request[3] === 2) return bytes(opened);
            if (request[3] === 8) return bytes(closed);
            return asked.push(hexOf(request)) === 1
              ? bytes(tooSmall)
              : bytes(`${version} 05 000001c0 00000000 00000000 00000020 ${KEY} 00000190 ${'20'.repeat(398)} 7b7d`);
          }),
        );
        const stream = await sourceOf(kme, {}, query).openDraw('siteB');
        const [drawn] = await stream.draw(1);
        expect(hexOf(drawn!.secret.expose())).to.equal(KEY);
        expect(drawn!.reference).to.include({ index: 0 });
        expect(asked).to.deep.equal([
          text(asks[1] as string),
          text(
            dialect === 'etsi'
              ? `020101 04 000001a8 ${KSID} 00000000 00000190 ${ZEROS(400)}`
              : `010001 04 00000018 ${KSID} 00000000 00000190`,
          ),
        ]);
      });
    }

    it(`${dialect}: GET_KEY status 8 without a size, or beyond what is allowed, is ${E.metadataTooLarge}`, async () => {
      expect(await outcomeOf('get-key', `${version} 05 00000004 00000008`)).to.include({ code: E.metadataTooLarge });
      expect(await outcomeOf('get-key', `${version} 05 00000008 00000008 00010001`)).to.include({
        code: E.metadataTooLarge,
      });
    });

    it(`${dialect}: CLOSE with any status, or none, ends the stream here`, async () => {
      for (const reply of [`${version} 09 00000004 00000004`, `${version} 09 00000004 0000004d`, 'ff', '']) {
        const kme = await serve(
          eachRequest((request, socket) => {
            if (request[3] === 2) return bytes(opened);
            socket.end(bytes(reply));
            return undefined;
          }),
        );
        const stream = await sourceOf(kme, {}, query).openDraw('siteB');
        await stream.close();
        expect(stream.ended).to.equal(true);
      }
    });
  }
});

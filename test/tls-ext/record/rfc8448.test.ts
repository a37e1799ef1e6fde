import { expect } from 'chai';
import { SecretBytes } from '../../../tls-ext/bytes/index.ts';
import { cipherSuiteInfo } from '../../../tls-ext/crypto/index.ts';
import type { TrafficKeys } from '../../../tls-ext/key-schedule/index.ts';
import { ContentType, RecordReader, RecordWriter } from '../../../tls-ext/record/index.ts';
import { stepsOf, type TraceStep, traceSections } from '../rfc8448-traces.ts';

const suite = cipherSuiteInfo(0x1301);
if (suite === undefined) throw new Error('no TLS_AES_128_GCM_SHA256');

const typeOfStep: Readonly<Record<string, ContentType>> = {
  handshake: ContentType.handshake,
  application_data: ContentType.applicationData,
  alert: ContentType.alert,
  change_cipher_spec: ContentType.changeCipherSpec,
};

/** Keys of a step; those that are "same as" the peer's are looked up there. */
function keysOf(step: TraceStep, steps: readonly TraceStep[]): TrafficKeys {
  const what = /traffic keys for ([\w ]+?) data/.exec(step.step)?.[1];
  const source = step.has('key expanded')
    ? step
    : steps.find(
        (other) =>
          other.party !== step.party &&
          other.has('key expanded') &&
          other.step === `derive read traffic keys for ${what} data:`,
      );
  if (source === undefined) throw new Error(`no keys for ${step.step}`);
  return {
    suite: suite as NonNullable<typeof suite>,
    key: new SecretBytes(source.value('key expanded')),
    iv: new SecretBytes(source.value('iv expanded')),
  };
}

describe('RFC 8448: every record, sealed and opened byte for byte', () => {
  for (const section of traceSections) {
    it(section, () => {
      const steps = stepsOf(section);
      const writers = { client: new RecordWriter(), server: new RecordWriter() };
      const readers = { client: new RecordReader(), server: new RecordReader() };
      let records = 0;
      for (const step of steps) {
        const writer = writers[step.party];
        // The reader that opens what this party writes.
        const reader = readers[step.party];
        if (step.step.startsWith('derive write traffic keys')) {
          writer.setKeys(keysOf(step, steps));
          reader.setKeys(keysOf(step, steps));
        }
        const kind = /^send (\w+) record/.exec(step.step)?.[1];
        const type = kind === undefined ? undefined : typeOfStep[kind];
        if (type === undefined) continue;
        const payload = step.value('payload');
        const complete = step.value('complete record');
        const version = ((complete[1] as number) << 8) | (complete[2] as number);
        const sealed =
          type === ContentType.applicationData
            ? (writer.writeApplicationData(payload)[0]?.bytes as Uint8Array)
            : writer.write(type, payload, version);
        expect(sealed, step.step).to.deep.equal(complete);
        reader.receive(complete);
        const opened = reader.next();
        expect(opened?.type).to.equal(type);
        expect(opened?.bytes).to.deep.equal(payload);
        expect(reader.next()).to.equal(undefined);
        records++;
      }
      expect(records).to.be.greaterThanOrEqual(6);
    });
  }
});

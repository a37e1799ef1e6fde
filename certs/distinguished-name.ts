/** Distinguished names as text for logs and messages (in the manner of RFC 4514); never used to compare. */
import { DerReader, DerTag, derOid, latin1 } from './der.ts';

const MAX_TEXT_LENGTH = 256;

const LABELS: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
};

/**
 * `CN=site A, O=Example` of a DER Name, in the order of the encoding. What is
 * not printable ASCII is replaced, since the text goes to terminals and logs.
 *
 * @throws DerError if the bytes are not a Name.
 */
export function distinguishedNameText(name: Uint8Array): string {
  const outer = new DerReader(name);
  const sequence = outer.enter(DerTag.sequence);
  outer.end();
  const parts: string[] = [];
  while (!sequence.done) {
    const attributes = sequence.enter(DerTag.set);
    while (!attributes.done) {
      const attribute = attributes.enter(DerTag.sequence);
      const oid = derOid(attribute.read(DerTag.oid).content);
      const value = attribute.read();
      attribute.end();
      parts.push(`${LABELS[oid] ?? oid}=${attributeText(value.tag, value.content)}`);
    }
  }
  return parts.join(', ').slice(0, MAX_TEXT_LENGTH);
}

function attributeText(tag: number, content: Uint8Array): string {
  const bytes = content.subarray(0, MAX_TEXT_LENGTH);
  const text = tag === DerTag.utf8String ? new TextDecoder('utf-8').decode(bytes) : latin1(bytes);
  return text.replace(/[^\x20-\x7e]/g, '?').replace(/([,+"\\<>;=])/g, '\\$1');
}

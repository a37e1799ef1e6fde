export { bytesEqual, constantTimeEqual } from './compare.ts';
export { ByteReader, DecodeError, decodeWhole } from './reader.ts';
export { SecretBytes } from './secret-bytes.ts';
export { concatBytes, fromHex, fromUtf8, hexOf, utf8 } from './text.ts';
export { ByteWriter, encode } from './writer.ts';

/** What an end's answer comes to. */
import { Alert, alertName } from '../../tls-ext/alert.ts';
import { hexOf } from '../../tls-ext/bytes/index.ts';
import { decodeServerHello, HandshakeType } from '../../tls-ext/messages/index.ts';
import { ContentType } from '../../tls-ext/record/index.ts';

/** A server's, to a ClientHello: `hello SUITE GROUP`, `retry SUITE GROUP`, an alert's name, or `nothing`. */
export function outcomeOf(answer: Uint8Array): string {
  const type = answer[0];
  if (type === undefined) return 'nothing';
  const content = answer.subarray(5, 5 + (((answer[3] ?? 0) << 8) | (answer[4] ?? 0)));
  if (type === ContentType.alert) return alertName(content[1] ?? Alert.internalError);
  if (type !== ContentType.handshake || content[0] !== HandshakeType.serverHello) return `a record of type ${type}`;
  const length = ((content[1] ?? 0) << 16) | ((content[2] ?? 0) << 8) | (content[3] ?? 0);
  const hello = decodeServerHello(content.subarray(4, 4 + length));
  const suite = hello.cipherSuite.toString(16);
  if (hello.kind === 'hello-retry-request') return `retry ${suite} ${hello.extensions.keyShare?.toString(16)}`;
  return `hello ${suite} ${hello.extensions.keyShare?.group.toString(16)}`;
}

/** An alert's name, `data` if the client got the data behind the handshake, or `nothing`: it waited for more. */
export function clientOutcome(alert: number | undefined, received: readonly number[], data: Uint8Array): string {
  if (alert !== undefined && alert !== Alert.closeNotify) return alertName(alert);
  return hexOf(Uint8Array.from(received)) === hexOf(data) ? 'data' : 'nothing';
}

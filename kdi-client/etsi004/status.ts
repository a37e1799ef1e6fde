import { KdiError, KdiErrorCode } from '../errors.ts';
import { type Etsi004Request, Etsi004Status } from '../wire/index.ts';

const CALLS: Readonly<Record<Etsi004Request['service'], string>> = {
  'open-connect': 'OPEN_CONNECT',
  'get-key': 'GET_KEY',
  close: 'CLOSE',
};

/** Whether a reply with this status did what was asked (status 1: the peer is not there yet, the stream is). */
export function isSuccess(service: Etsi004Request['service'], status: number): boolean {
  return status === Etsi004Status.success || (service === 'open-connect' && status === Etsi004Status.peerNotConnected);
}

/** The typed error of a 004 status (GS QKD 004, clause 6.1) other than success. */
export function statusError(service: Etsi004Request['service'], status: number, kme: string): KdiError {
  const [code, meaning] = describe(service, status);
  return new KdiError(code, `KME ${kme} answered ${CALLS[service]} with status ${status}: ${meaning}`);
}

function describe(service: Etsi004Request['service'], status: number): [KdiErrorCode, string] {
  switch (status) {
    case Etsi004Status.peerNotConnected:
    case Etsi004Status.getKeyPeerNotConnected:
      return [KdiErrorCode.peerNotConnected, 'the peer application has not yet opened the stream'];
    case Etsi004Status.insufficientKey:
      return [KdiErrorCode.insufficientKey, 'not enough key'];
    case Etsi004Status.noQkdConnection:
      return [
        KdiErrorCode.noQkdConnection,
        'no QKD connection between these two; see whether the QKD link is up, and check both SAE IDs (some KMEs want URIs with scheme and host: sae-uri)',
      ];
    case Etsi004Status.ksidInUse:
      return [KdiErrorCode.ksidInUse, 'the Key_stream_ID is already in use, maybe under other URIs (see open-as)'];
    case Etsi004Status.timeout:
      return [
        KdiErrorCode.kmeTimeout,
        service === 'open-connect'
          ? 'time-out at the KME; if it waits for the peer to open as well, set ksid: chosen'
          : 'time-out at the KME',
      ];
    case Etsi004Status.qosNotMet:
      return [KdiErrorCode.qosNotMet, 'the QoS can not be met'];
    case Etsi004Status.metadataTooSmall:
      return [KdiErrorCode.metadataTooLarge, 'the metadata is larger than allowed here'];
    default:
      return [KdiErrorCode.unknownStatus, 'a status that GS QKD 004 does not define'];
  }
}

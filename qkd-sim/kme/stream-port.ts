import type { Etsi004Qos } from '../../kdi-client/wire/index.ts';

/** A key stream as one key manager tells another of it when an application has opened it. */
export interface StreamAnnouncement {
  /** Hex. */
  readonly ksid: string;
  readonly fromKmeId: string;
  /** Whose application opened, and with whom it wants to share key. */
  readonly openedBySaeId: string;
  readonly peerSaeId: string;
  /** Who assigns key to indices, as far as the sender knows. */
  readonly ownerKmeId: string;
  readonly qos: Etsi004Qos;
}

export type StreamAnnouncementReply =
  /** The stream is known here now. The owner and its QoS hold for both. */
  | { readonly outcome: 'registered'; readonly ownerKmeId: string; readonly qos: Etsi004Qos }
  /** The KSID stands for something else here, or for a stream that one side has lost. */
  | { readonly outcome: 'in-use' }
  /** No such SAE here, or no room for another stream. */
  | { readonly outcome: 'refused' };

/** The other key manager of a link, as far as key streams go. A rejection means that it can't be reached. */
export interface StreamPort {
  announceOpen(announcement: StreamAnnouncement): Promise<StreamAnnouncementReply>;
  announceClose(ksid: string): void;
  /** Asks the owner of a stream to assign key to an index. `assigned`: it is on its way or already there. */
  requestChunk(ksid: string, index: number): Promise<'assigned' | 'insufficient' | 'refused'>;
  /** The sender lost all its streams. */
  announceRestart(kmeId: string): void;
}

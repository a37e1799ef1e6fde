/** The secrets of the key schedule (RFC 9846, "Key Schedule"; RFC 8446, 7.1), each with a type of its own. */
import type { SecretBytes } from '../bytes/index.ts';

declare const secretName: unique symbol;

/** A `SecretBytes` that can't be given where another secret is wanted. */
type Named<Name extends string> = SecretBytes & { readonly [secretName]: Name };

export type ClientHandshakeTrafficSecret = Named<'client_handshake_traffic_secret'>;
export type ServerHandshakeTrafficSecret = Named<'server_handshake_traffic_secret'>;
export type ClientApplicationTrafficSecret = Named<'client_application_traffic_secret'>;
export type ServerApplicationTrafficSecret = Named<'server_application_traffic_secret'>;
export type BinderKey = Named<'binder_key'>;
export type ExporterSecret = Named<'exporter_secret'>;
export type ResumptionSecret = Named<'resumption_secret'>;

export type HandshakeTrafficSecret = ClientHandshakeTrafficSecret | ServerHandshakeTrafficSecret;
export type ApplicationTrafficSecret = ClientApplicationTrafficSecret | ServerApplicationTrafficSecret;
export type TrafficSecret = HandshakeTrafficSecret | ApplicationTrafficSecret;

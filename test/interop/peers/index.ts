import type { Peer } from '../peer.ts';
import { botan } from './botan.ts';
import { curl } from './curl.ts';
import { gnutls } from './gnutls.ts';
import { mbedtls } from './mbedtls.ts';
import { node } from './node.ts';
import { nss } from './nss.ts';
import { openssl } from './openssl.ts';
import { ownEnds } from './own-ends.ts';
import { stunnel } from './stunnel.ts';
import { wolfssl } from './wolfssl.ts';

export const peers: readonly Peer[] = [openssl, node, gnutls, nss, stunnel, curl, botan, wolfssl, mbedtls, ownEnds];

"""Extension blocks, and what the reader needs of a ClientHello."""

from qkd_psk import NONE, QKD_PSK, read_client_hello_extension
from tls13 import Reader, expect, items

CERT_WITH_EXTERN_PSK = 33
PRE_SHARED_KEY = 41
SUPPORTED_VERSIONS = 43
COOKIE = 44
PSK_KEY_EXCHANGE_MODES = 45
KEY_SHARE = 51


def read_extensions(reader):
    def one(r):
        return r.uint(2), r.vector(2, 0, 65535)

    listed = items(reader.vector(2, 0, 65535), one)
    expect(len(dict(listed)) == len(listed), "an extension twice")
    return listed


class ClientHello:
    def __init__(self, body):
        reader = Reader(body)
        expect(reader.uint(2) == 0x0303, "legacy_version")
        self.random = reader.bytes(32)
        self.session_id = reader.vector(1, 0, 32)
        self.suites = items(reader.vector(2, 2, 65534), lambda r: r.uint(2))
        expect(reader.vector(1, 1, 255) == b"\0", "legacy_compression_methods")
        listed = read_extensions(reader)
        reader.end()
        self.extensions = dict(listed)
        self.identities = []
        self.binders = []
        if PRE_SHARED_KEY in self.extensions:
            expect(listed[-1][0] == PRE_SHARED_KEY, "pre_shared_key is not the last extension")
            expect(self.extensions.get(PSK_KEY_EXCHANGE_MODES) == b"\x01\x01", "psk_dhe_ke alone")
            offered = Reader(self.extensions[PRE_SHARED_KEY])
            identities = offered.vector(2, 7, 65535)
            self.identities = items(identities, lambda r: (r.vector(2, 1, 65535), r.uint(4)))
            binders = offered.vector(2, 33, 65535)
            self.binders = items(binders, lambda r: r.vector(1, 32, 255))
            offered.end()
            expect(len(self.binders) == len(self.identities), "binders and identities")
            self.binders_length = 2 + len(binders)
        shares = Reader(self.extensions[KEY_SHARE])
        self.shares = items(shares.vector(2, 0, 65535), lambda r: (r.uint(2), r.vector(2, 1, 65535)))
        shares.end()
        self.extern = CERT_WITH_EXTERN_PSK in self.extensions
        if self.extern:
            expect(self.extensions[CERT_WITH_EXTERN_PSK] == b"" and self.identities, "extension 33")
        self.features, self.offer, self.reason = 0, NONE, None
        self.has_qkd_psk = QKD_PSK in self.extensions
        if self.has_qkd_psk:
            self.features, self.offer, self.reason = read_client_hello_extension(self.extensions[QKD_PSK])

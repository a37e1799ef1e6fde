"""Follows one connection of the vectors from its records and inputs, and derives every secret of it."""

from certificates import check_certificate_verify, read_certificate
from hello import (
    CERT_WITH_EXTERN_PSK,
    COOKIE,
    KEY_SHARE,
    PRE_SHARED_KEY,
    SUPPORTED_VERSIONS,
    ClientHello,
    read_extensions,
)
from qkd_psk import (
    KEY,
    NONE,
    NOT_OFFERED,
    POLICY,
    QKD_PSK,
    REKEY,
    RESUMED,
    TICKET,
    UNAVAILABLE,
    USED,
    check_reference,
    context,
    imported_identity,
    read_encrypted_extensions_extension,
)
from rekey import Rekeying
from tls13 import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    SHA256,
    SUITES,
    X25519MLKEM768,
    ClientShare,
    Protection,
    Reader,
    answer_share,
    expect,
)

HELLO_RETRY_REQUEST = SHA256.digest(b"HelloRetryRequest")

MESSAGES = {
    1: "client_hello",
    2: "server_hello",
    4: "new_session_ticket",
    8: "encrypted_extensions",
    11: "certificate",
    13: "certificate_request",
    15: "certificate_verify",
    20: "finished",
    24: "key_update",
    0xE0: "rekey_request",
    0xE1: "rekey_response",
    0xE2: "rekey_finish",
    0xE3: "rekey_wanted",
}

CLOSE_NOTIFY = 0
ILLEGAL_PARAMETER = 47
DECRYPT_ERROR = 51
INSUFFICIENT_SECURITY = 71


class Connection:
    def __init__(self, vector):
        self.vector = vector
        self.given = vector.inputs()
        self.expected = vector.derived()
        self.derived = {}
        self.transcript = b""
        self.protections = {"client": None, "server": None}
        self.half_messages = {"client": b"", "server": b""}
        self.closed = {"client": False, "server": False}
        self.hello = None
        self.retried = False
        self.suite = None
        self.result = None
        self.binder_is_wrong = False
        self.certificate_keys = {}
        self.certificate_requested = False
        self.finished = set()
        self.rekeying = None
        self.tickets = 0

    # Values

    def input(self, name):
        expect(name in self.given, f"no input {name}")
        return self.given[name]

    def derive(self, name, value):
        """Notes a derived value, which must be that of the vector if the vector has it."""
        if name in self.expected:
            expect(self.expected[name] == value, name)
        self.derived[name] = value
        return value

    def check(self):
        number = 0
        contents = []
        for value in self.vector.sent():
            if value.kind == "record":
                expect(not contents, "contents of a record that the vector does not show")
                number += 1
                order, party = value.name.split(" ")
                expect(int(order) == number, "records out of order")
                contents = self.open(party, value.data)
                continue
            expect(contents, f"{value.kind} {value.name} that no record holds")
            kind, party, data = contents.pop(0)
            name = f"{party} {MESSAGES.get(data[0])}" if kind == "message" else party
            expect((kind, name) == (value.kind, value.name), f"{value.kind} {value.name}: it is {kind} {name}")
            expect(data == value.data, f"{value.kind} {value.name} differs from the record's content")
            if kind == "message":
                self.on_message(party, data)
            elif kind == "alert":
                self.on_alert(party, data)
            elif kind == "data":
                expect("client" in self.finished and not self.closed[party], "data out of place")
                contents = self.on_data(party, data) + contents
            else:
                self.on_channel(name, data)
        expect(not contents, "contents of a record that the vector does not show")
        self.export()
        missing = set(self.expected) - set(self.derived)
        expect(not missing, f"not derived: {', '.join(sorted(missing))}")

    # Records

    def open(self, party, record):
        header, fragment = record[:5], record[5:]
        content_type = header[0]
        first = party == "client" and self.hello is None
        expect(header[1:3] == (b"\x03\x01" if first else b"\x03\x03"), "legacy_record_version")
        expect(int.from_bytes(header[3:], "big") == len(fragment), "length of a record")
        if content_type == CHANGE_CIPHER_SPEC:
            expect(fragment == b"\x01", "change_cipher_spec")
            return []
        if content_type == APPLICATION_DATA:
            expect(self.protections[party] is not None, "a protected record before there are keys")
            content_type, fragment = self.protections[party].open(header, fragment)
        else:
            expect(self.protections[party] is None, "a record in clear")
        if content_type == ALERT:
            return [("alert", party, fragment)]
        if content_type == APPLICATION_DATA:
            return [("data", party, fragment)]
        expect(content_type == HANDSHAKE, "content type")
        contents = []
        buffered = self.half_messages[party] + fragment
        while len(buffered) >= 4 and len(buffered) >= 4 + int.from_bytes(buffered[1:4], "big"):
            length = 4 + int.from_bytes(buffered[1:4], "big")
            contents.append(("message", party, buffered[:length]))
            buffered = buffered[length:]
        self.half_messages[party] = buffered
        return contents

    def on_data(self, party, data):
        """What a protocol on top of the connection finds in its data."""
        return []

    def protect(self, party, secret_name, key_name, iv_name):
        secret = self.derived[secret_name]
        hash_ = self.suite.hash
        key = self.derive(key_name, hash_.expand_label(secret, b"key", b"", self.suite.key_length))
        iv = self.derive(iv_name, hash_.expand_label(secret, b"iv", b"", 12))
        self.protections[party] = Protection(self.suite, key, iv)

    def protect_epoch(self, party, epoch):
        expect(self.half_messages[party] == b"", "a change of keys within a record")
        stem = f"{party}_application_"
        self.protect(party, f"{stem}traffic_secret_{epoch}", f"{stem}key_{epoch}", f"{stem}iv_{epoch}")

    # Messages

    def on_message(self, party, message):
        name = MESSAGES[message[0]]
        body = message[4:]
        if name == "client_hello":
            self.on_client_hello(message)
        elif name == "server_hello":
            self.on_server_hello(message)
        elif name == "encrypted_extensions":
            self.on_encrypted_extensions(body)
            self.transcript += message
        elif name == "certificate_request":
            self.certificate_requested = True
            self.transcript += message
        elif name == "certificate":
            sae_id = self.input("drawer" if party == "client" else "answerer")
            self.certificate_keys[party] = read_certificate(body, self.input("ca_certificate"), sae_id)
            self.transcript += message
        elif name == "certificate_verify":
            key, private = self.certificate_keys[party], self.input(f"{party}_certificate_key")
            check_certificate_verify(party, body, key, self.transcript_hash(), private)
            self.transcript += message
        elif name == "finished":
            self.on_finished(party, message)
        elif name == "new_session_ticket":
            expect(self.rekeying is None or not self.rekeying.awaiting_finish, "a ticket before the finish")
            self.on_ticket(body)
        elif name == "key_update":
            self.on_key_update(party, body)
        else:
            expect(self.rekeying is not None, "a rekey message before the handshake is complete")
            self.rekeying.on_message(name, party, message)

    def transcript_hash(self):
        return self.suite.hash.digest(self.transcript)

    # ClientHello (draft, 4.2 and 5.1)

    def on_client_hello(self, message):
        hello = ClientHello(message[4:])
        offered = {KEY: "imported", TICKET: "ticket", NONE: None}[hello.offer]
        expect((offered is not None) == bool(hello.identities), "offer and pre_shared_key")
        expect(offered != "ticket" or not hello.extern, "extension 33 beside a ticket")
        again = ""
        if self.retried:
            again = "_again"
            first = self.hello
            expect(hello.random == first.random and hello.session_id == first.session_id, "the second ClientHello")
            expect(hello.extensions.get(QKD_PSK) == first.extensions.get(QKD_PSK), "qkd_psk of the second ClientHello")
            expect(hello.extern == first.extern, "extension 33 of the second ClientHello")
            expect(hello.extensions.get(COOKIE) == self.cookie, "cookie")
        self.hello = hello
        self.make_share(hello, again)
        hashes = self.offered_hashes(hello)
        expect(offered != "imported" or len(hello.identities) == len(hashes), "one identity for each hash")
        for (identity, age), hash_, binder in zip(hello.identities, hashes, hello.binders):
            if offered == "imported":
                expect(age == 0, "obfuscated_ticket_age of an external PSK")
                expect(identity == self.expected_identity("handshake", "", hash_), "ImportedIdentity")
                self.import_key("", hash_)
            else:
                expect(identity == self.input("ticket"), "ticket")
                expect(age == int.from_bytes(self.input("obfuscated_ticket_age"), "big"), "obfuscated_ticket_age")
                self.derive_early(hash_, self.input("resumption_psk"), b"res binder")
            truncated = self.transcript + message[: -hello.binders_length]
            self.check_binder("", hash_, truncated, binder, again)
            if "server_qkd_key" in self.given:
                self.import_key("server_", hash_)
                self.binder_is_wrong = self.binder("server_", hash_, truncated, "") != binder
        self.transcript += message

    def make_share(self, hello, again):
        expect(len(hello.shares) == 1, "one share")
        group, share = hello.shares[0]
        if self.retried:
            expect(group == self.retry_group, "the group that HelloRetryRequest asked for")
        d = self.input("client_ml_kem_d") if group == X25519MLKEM768 else None
        self.share = ClientShare(group, self.input(f"client_x25519_private{again}"), d)
        expect(self.share.share == share, "the client's key share")

    def offered_hashes(self, hello):
        hashes = []
        for suite in hello.suites:
            if suite in SUITES and SUITES[suite].hash not in hashes:
                hashes.append(SUITES[suite].hash)
        if self.suite is not None:
            hashes = [hash_ for hash_ in hashes if hash_ is self.suite.hash]
        return hashes

    def expected_identity(self, purpose, prefix, hash_):
        drawer, answerer = self.input("drawer"), self.input("answerer")
        reference = self.input(f"{prefix}qkd_reference")
        check_reference(reference, drawer)
        return imported_identity(reference, context(purpose, drawer, answerer), hash_)

    def import_key(self, prefix, hash_, purpose="handshake"):
        """RFC 9258 with SHA-256, and the early secret of the imported key."""
        epskx = self.derive(f"{prefix}epskx", SHA256.extract(b"", self.input(f"{prefix}qkd_key")))
        identity = self.expected_identity(purpose, prefix.replace("server_", ""), hash_)
        ipskx = SHA256.expand_label(epskx, b"derived psk", SHA256.digest(identity), hash_.length)
        self.derive(f"{prefix}ipskx_{hash_.name}", ipskx)
        self.derive_early(hash_, ipskx, b"imp binder", prefix)
        return ipskx

    def derive_early(self, hash_, psk, label, prefix=""):
        early = self.derive(f"{prefix}early_secret_{hash_.name}", hash_.extract(b"", psk))
        key = hash_.derive_secret(early, label, hash_.digest(b""))
        self.derive(f"{prefix}binder_key_{hash_.name}", key)
        finished_key = hash_.expand_label(key, b"finished", b"", hash_.length)
        self.derive(f"{prefix}binder_finished_key_{hash_.name}", finished_key)

    def binder(self, prefix, hash_, messages, again):
        digest = self.derive(f"{prefix}binder_hash_{hash_.name}{again}", hash_.digest(messages))
        return hash_.hmac(self.derived[f"{prefix}binder_finished_key_{hash_.name}"], digest)

    def check_binder(self, prefix, hash_, messages, binder, again=""):
        expect(self.binder(prefix, hash_, messages, again) == binder, f"{prefix}binder for {hash_.name}")

    # ServerHello and HelloRetryRequest

    def on_server_hello(self, message):
        reader = Reader(message[4:])
        expect(reader.uint(2) == 0x0303, "legacy_version")
        random = reader.bytes(32)
        expect(reader.vector(1, 0, 32) == self.hello.session_id, "legacy_session_id_echo")
        code_point = reader.uint(2)
        expect(code_point in self.hello.suites, "a suite that was not offered")
        expect(reader.uint(1) == 0, "legacy_compression_method")
        extensions = dict(read_extensions(reader))
        reader.end()
        expect(extensions[SUPPORTED_VERSIONS] == b"\x03\x04", "TLS 1.3")
        expect(QKD_PSK not in extensions, "qkd_psk in the wrong message")
        suite = SUITES[code_point]
        expect(self.suite in (None, suite), "another suite than in HelloRetryRequest")
        self.suite = suite
        if random == HELLO_RETRY_REQUEST:
            self.on_retry(message, extensions)
            return
        self.transcript += message
        self.psk = None
        if PRE_SHARED_KEY in extensions:
            self.psk = int.from_bytes(extensions[PRE_SHARED_KEY], "big")
            expect(self.psk < len(self.hello.identities), "selected_identity")
            expect(self.offered_hashes(self.hello)[self.psk] is suite.hash, "a PSK of another hash than the suite's")
            expect((CERT_WITH_EXTERN_PSK in extensions) == self.hello.extern, "extension 33 of ServerHello")
        else:
            expect(CERT_WITH_EXTERN_PSK not in extensions, "extension 33 without a PSK")
        share = Reader(extensions[KEY_SHARE])
        expect(share.uint(2) == self.share.group, "group")
        server_share = share.vector(2, 1, 65535)
        share.end()
        self.enter_handshake_keys(server_share)

    def on_retry(self, message, extensions):
        expect(not self.retried and CERT_WITH_EXTERN_PSK not in extensions, "HelloRetryRequest")
        self.retried = True
        self.retry_group = int.from_bytes(extensions[KEY_SHARE], "big")
        self.cookie = extensions.get(COOKIE)
        digest = self.suite.hash.digest(self.transcript)
        self.transcript = bytes([254, 0, 0, len(digest)]) + digest + message

    def shared_secret(self, prefix, share, server_share):
        """Made by either side, from its private inputs and the other's share."""
        m = self.input(f"{prefix}server_ml_kem_m") if share.group == X25519MLKEM768 else None
        made, secret = answer_share(share.share, self.input(f"{prefix}server_x25519_private"), m)
        expect(made == server_share, "the server's key share")
        expect(share.secret(server_share) == secret, "two sides of one key exchange")
        return secret

    def enter_handshake_keys(self, server_share):
        hash_ = self.suite.hash
        secret = self.shared_secret("", self.share, server_share)
        if self.psk is None:
            stem = f"no_psk_early_secret_{hash_.name}"
            early = self.derive(stem, hash_.extract(b"", bytes(hash_.length)))
        else:
            stem = f"early_secret_{hash_.name}"
            early = self.derived[stem]
        salt = self.derive(f"{stem}_derived", hash_.derived(early))
        self.derive("shared_secret", secret)
        handshake = self.derive("handshake_secret", hash_.extract(salt, secret))
        digest = self.derive("transcript_hash_server_hello", self.transcript_hash())
        for party, label in (("client", b"c hs traffic"), ("server", b"s hs traffic")):
            stem = f"{party}_handshake_"
            traffic = self.derive(f"{stem}traffic_secret", hash_.derive_secret(handshake, label, digest))
            self.protect(party, f"{stem}traffic_secret", f"{stem}key", f"{stem}iv")
            finished_key = hash_.expand_label(traffic, b"finished", b"", hash_.length)
            self.derive(f"{party}_finished_key", finished_key)
        salt = self.derive("handshake_secret_derived", hash_.derived(handshake))
        self.derive("main_secret_0", hash_.extract(salt, bytes(hash_.length)))

    # EncryptedExtensions (draft, 5.2)

    def on_encrypted_extensions(self, body):
        reader = Reader(body)
        extensions = dict(read_extensions(reader))
        reader.end()
        expect(CERT_WITH_EXTERN_PSK not in extensions, "extension 33 in EncryptedExtensions")
        self.rekey_is_on = False
        expect((QKD_PSK in extensions) == self.hello.has_qkd_psk, "qkd_psk of one side alone")
        if not self.hello.has_qkd_psk:
            return
        features, self.result = read_encrypted_extensions_extension(extensions[QKD_PSK])
        expect(features & ~self.hello.features == 0, "features that were not offered")
        self.rekey_is_on = bool(features & REKEY)
        used = self.psk is not None
        expect((self.result == USED) == (used and self.hello.offer == KEY), "used")
        expect((self.result == RESUMED) == (used and self.hello.offer == TICKET), "resumed")
        expect((self.result == NOT_OFFERED) == (self.hello.offer == NONE), "not_offered")

    # Finished and what follows it

    def on_finished(self, party, message):
        hash_ = self.suite.hash
        external_psk_alone = self.psk is not None and not self.hello.extern
        if party == "server":
            expect(("server" in self.certificate_keys) != external_psk_alone, "certificates of the server")
        else:
            expect(("client" in self.certificate_keys) == self.certificate_requested, "certificates of the client")
        digest = self.derive(f"{party}_finished_hash", self.transcript_hash())
        expect(message[4:] == hash_.hmac(self.derived[f"{party}_finished_key"], digest), f"the {party}'s Finished")
        self.finished.add(party)
        self.transcript += message
        main = self.derived["main_secret_0"]
        if party == "server":
            digest = self.derive("transcript_hash_server_finished", self.transcript_hash())
            self.derive_epoch(0, main, digest)
            self.protect_epoch("server", 0)
            return
        digest = self.derive("transcript_hash_0", self.transcript_hash())
        self.derive("resumption_secret_0", hash_.derive_secret(main, b"res master", digest))
        self.protect_epoch("client", 0)
        if self.rekey_is_on:
            self.rekeying = Rekeying(self)

    def derive_epoch(self, epoch, main, digest):
        hash_ = self.suite.hash
        self.derive(f"client_application_traffic_secret_{epoch}", hash_.derive_secret(main, b"c ap traffic", digest))
        self.derive(f"server_application_traffic_secret_{epoch}", hash_.derive_secret(main, b"s ap traffic", digest))
        self.derive(f"exporter_secret_{epoch}", hash_.derive_secret(main, b"exp master", digest))

    def on_ticket(self, body):
        reader = Reader(body)
        reader.uint(4)
        reader.uint(4)
        nonce = reader.vector(1, 0, 255)
        ticket = reader.vector(2, 1, 65535)
        read_extensions(reader)
        reader.end()
        expect(len(ticket) >= 16, "a handle of at least 16 bytes")
        epoch = self.rekeying.server_sending_epoch if self.rekeying else 0
        hash_ = self.suite.hash
        self.tickets += 1
        name = "ticket_psk" if self.tickets == 1 else "ticket_psk_again"
        resumption = self.derived[f"resumption_secret_{epoch}"]
        self.derive(name, hash_.expand_label(resumption, b"resumption", nonce, hash_.length))

    def on_key_update(self, party, body):
        """The one use that rekeying leaves for it (draft, 7.4)."""
        other = "server" if party == "client" else "client"
        expect(self.rekeying is not None and self.closed[other] and not self.closed[party], "KeyUpdate")
        expect(body == b"\0", "update_not_requested")
        expect(self.half_messages[party] == b"", "a KeyUpdate that does not end its record")
        hash_ = self.suite.hash
        stem, epoch = f"{party}_application_", f"{self.rekeying.epoch}"
        old = self.derived[f"{stem}traffic_secret_{epoch}"]
        new = hash_.expand_label(old, b"traffic upd", b"", hash_.length)
        self.derive(f"{stem}traffic_secret_{epoch}_updated", new)
        self.protect(
            party, f"{stem}traffic_secret_{epoch}_updated", f"{stem}key_{epoch}_updated", f"{stem}iv_{epoch}_updated"
        )

    def on_alert(self, party, alert):
        expect(len(alert) == 2, "length of an alert")
        level, description = alert
        if description == CLOSE_NOTIFY:
            expect(level == 1 and "client" in self.finished and not self.closed[party], "close_notify")
            self.closed[party] = True
            if self.rekeying is not None:
                self.rekeying.on_close(party)
            return
        expect(level == 2 and party == "server" and not self.finished, "a fatal alert")
        if self.binder_is_wrong:
            wanted = ILLEGAL_PARAMETER if self.hello.extern else DECRYPT_ERROR
        else:
            expect(self.result in (UNAVAILABLE, POLICY), "a refusal without its reason")
            wanted = INSUFFICIENT_SECURITY
        expect(description == wanted, f"alert {description}")

    def export(self):
        if "exporter_label" not in self.given:
            return
        hash_ = self.suite.hash
        label, value = self.input("exporter_label"), self.input("exporter_context")
        for epoch in range(self.rekeying.epoch + 1 if self.rekeying else 1):
            secret = self.derived[f"exporter_secret_{epoch}"]
            derived = self.derive(f"exporter_derived_{epoch}", hash_.derive_secret(secret, label, hash_.digest(b"")))
            exported = hash_.expand_label(derived, b"exporter", hash_.digest(value), 32)
            self.derive(f"exporter_value_{epoch}", exported)

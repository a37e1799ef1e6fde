"""Rekeying of a live connection (draft, section 7)."""

from tls13 import X25519MLKEM768, ClientShare, Reader, expect

REFUSED, USED, WITHOUT_KEY = 0, 1, 2


class Rekeying:
    def __init__(self, connection):
        self.connection = connection
        self.epoch = 0
        self.server_sending_epoch = 0
        self.attempts = 0
        self.request = None
        self.wanted = False
        self.awaiting_finish = False
        self.unanswered = False

    def on_message(self, name, party, message):
        connection = self.connection
        expect(connection.half_messages[party] == b"", "a rekey message that does not end its record")
        expect(party == ("client" if name in ("rekey_request", "rekey_finish") else "server"), "roles")
        getattr(self, f"on_{name}")(message)

    def on_rekey_wanted(self, message):
        expect(message[4:] == b"" and not self.wanted and not self.awaiting_finish, "rekey_wanted")
        expect(not any(self.connection.closed.values()), "rekey_wanted after close_notify")
        self.wanted = True

    def on_rekey_request(self, message):
        connection, hash_ = self.connection, self.connection.suite.hash
        expect(self.request is None and not connection.closed["client"], "a request out of place")
        expect(not self.unanswered, "a request after close_notify of the server, which one may have crossed")
        self.attempts += 1
        prefix = self.prefix = f"rekey_{self.attempts}_"
        reader = Reader(message[4:])
        expect(reader.uint(4) == self.epoch + 1, "epoch")
        group = connection.share.group
        expect(reader.uint(2) == group, "group")
        share = reader.vector(2, 1, 65535)
        d = connection.input(f"{prefix}client_ml_kem_d") if group == X25519MLKEM768 else None
        self.share = ClientShare(group, connection.input(f"{prefix}client_x25519_private"), d)
        expect(self.share.share == share, "the client's key share")
        identity = reader.vector(2, 0, 65535)
        self.ipskx = None
        self.binder_is_wrong = False
        if identity:
            end = 4 + reader.at
            binder = reader.vector(1, 32, 255)
            expect(identity == connection.expected_identity("rekey", prefix, hash_), "ImportedIdentity")
            self.ipskx = connection.import_key(prefix, hash_, "rekey")
            messages = connection.derived[f"transcript_hash_{self.epoch}"] + message[:end]
            connection.check_binder(prefix, hash_, messages, binder)
            self.server_has_key = f"{prefix}server_x25519_private" in connection.given
            if f"{prefix}server_qkd_key" in connection.given:
                connection.import_key(f"{prefix}server_", hash_, "rekey")
                self.binder_is_wrong = connection.binder(f"{prefix}server_", hash_, messages, "") != binder
        reader.end()
        self.request = message
        if connection.closed["server"]:
            self.void()

    def on_close(self, party):
        """close_notify of one end (draft, 7.4)."""
        if party == "client":
            expect(self.request is None, "close_notify of the client with a request outstanding")
        elif self.request is not None and not self.awaiting_finish:
            self.void()

    def void(self):
        """The server has closed and does not answer: both stay in their epoch."""
        self.request = None
        self.unanswered = True

    def on_rekey_response(self, message):
        connection, hash_ = self.connection, self.connection.suite.hash
        expect(self.request is not None and not self.awaiting_finish, "a response without a request")
        reader = Reader(message[4:])
        expect(reader.uint(4) == self.epoch + 1, "epoch")
        status = reader.uint(1)
        if status == REFUSED:
            reader.end()
            expect(self.ipskx is None or self.binder_is_wrong or not self.server_has_key, "refused")
            self.request = None
            return
        expect(status in (USED, WITHOUT_KEY), "status")
        expect(status == (WITHOUT_KEY if self.ipskx is None else USED) and not self.binder_is_wrong, "status")
        expect(reader.uint(2) == self.share.group, "group")
        server_share = reader.vector(2, 1, 65535)
        end = 4 + reader.at
        confirmation = reader.bytes(hash_.length)
        reader.end()
        secret = connection.shared_secret(self.prefix, self.share, server_share)

        old, new = self.epoch, self.epoch + 1
        salt = connection.derive(f"main_secret_{old}_derived", hash_.derived(connection.derived[f"main_secret_{old}"]))
        connection.derive(f"shared_secret_{new}", secret)
        middle = connection.derive(f"rekey_secret_{new}", hash_.extract(salt, secret))
        salt = connection.derive(f"rekey_secret_{new}_derived", hash_.derived(middle))
        main = connection.derive(f"main_secret_{new}", hash_.extract(salt, self.ipskx or bytes(hash_.length)))
        before = connection.derived[f"transcript_hash_{old}"] + self.request
        self.check_confirmation("server", b"rekey s confirm", hash_.digest(before + message[:end]), confirmation)
        digest = connection.derive(f"transcript_hash_{new}", hash_.digest(before + message))
        connection.derive_epoch(new, main, digest)
        connection.derive(f"resumption_secret_{new}", hash_.derive_secret(main, b"res master", digest))
        connection.protect_epoch("server", new)
        self.server_sending_epoch = new
        self.awaiting_finish = True

    def on_rekey_finish(self, message):
        new = self.epoch + 1
        expect(self.awaiting_finish, "a finish without a response")
        reader = Reader(message[4:])
        expect(reader.uint(4) == new, "epoch")
        confirmation = reader.bytes(self.connection.suite.hash.length)
        reader.end()
        digest = self.connection.derived[f"transcript_hash_{new}"]
        self.check_confirmation("client", b"rekey c confirm", digest, confirmation)
        self.connection.protect_epoch("client", new)
        self.epoch = new
        self.request = None
        self.wanted = self.awaiting_finish = False

    def check_confirmation(self, party, label, digest, confirmation):
        connection, hash_, new = self.connection, self.connection.suite.hash, self.epoch + 1
        connection.derive(f"{party}_confirm_hash_{new}", digest)
        key = hash_.expand_label(connection.derived[f"main_secret_{new}"], label, digest, hash_.length)
        connection.derive(f"{party}_confirm_key_{new}", key)
        expect(hash_.hmac(key, digest) == confirmation, f"the {party}'s confirmation")

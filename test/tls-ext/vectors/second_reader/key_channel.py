"""A session of the key channel (draft, section 8) over the connection that carries it."""

from connection import Connection
from qkd_psk import ETSI004, check_values, read_reference
from tls13 import Reader, expect, items

MAX_BODY = 81_920
BOTH = {1: "hello", 2: "state", 3: "abort"}
BY_ROLE = {
    "drawer": BOTH | {16: "stream", 17: "keys", 18: "dropped", 19: "close_stream"},
    "answerer": BOTH | {32: "opened", 33: "failed", 34: "results"},
}
ROLES = {"client": "drawer", "server": "answerer"}

UNKNOWN_MESSAGE = 3
ACKED, PENDING, MISMATCH, UNAVAILABLE, OVER_QUOTA = range(1, 6)


class Key:
    def __init__(self, number, reference):
        self.number = number
        self.reference = reference
        self.heard = None
        self.ended = False


class KeyChannel(Connection):
    """`before`: the channel's connection before this one, of the same two instances, which was lost."""

    def __init__(self, vector, before=None):
        super().__init__(vector)
        self.before = before
        self.buffers = {"client": b"", "server": b""}
        self.hellos = {}
        self.aborted = None
        self.broken = False
        self.streams = {}
        self.opened = set(before.opened) if before else set()
        self.last = {}
        self.batches = []
        self.numbers = {}
        number = 1
        while f"key_{number}_reference" in self.given:
            self.numbers[self.given[f"key_{number}_reference"]] = number
            number += 1

    def on_data(self, party, data):
        """The messages that end in some application data."""
        buffered = self.buffers[party] + data
        found = []
        while len(buffered) >= 4 and len(buffered) >= 4 + int.from_bytes(buffered[1:4], "big"):
            length = 4 + int.from_bytes(buffered[1:4], "big")
            expect(length <= 4 + MAX_BODY, "a body that is too long")
            role = ROLES[party]
            name = BY_ROLE[role].get(buffered[0], "unknown")
            found.append(("channel", f"{role} {name}", buffered[:length]))
            buffered = buffered[length:]
        self.buffers[party] = buffered
        return found

    def on_channel(self, name, message):
        role, kind = name.split(" ")
        expect(self.aborted != role, "a message after abort")
        if kind == "unknown":
            self.broken = True
            return
        expect((kind == "hello") == (role not in self.hellos), "hello comes first, and once")
        reader = Reader(message[4:])
        getattr(self, f"on_{kind}")(role, reader)
        reader.end()

    def on_hello(self, role, reader):
        expect(reader.uint(2) == 1, "version")
        instance = reader.bytes(16)
        quota = reader.uint(4)
        expect(1 <= quota <= 16_384, "quota")
        services = items(reader.vector(2, 0, 65535), lambda r: (r.vector(1, 1, 255).decode(), r.uint(1)))
        expect(len(services) <= 64 and all(1 <= require <= 4 for _, require in services), "services")
        expect(all(instance != other for other, _ in self.hellos.values()), "one instance at both ends")
        expect(self.before is None or self.before.hellos[role][0] == instance, "another instance than before")
        self.hellos[role] = (instance, quota)

    def on_state(self, role, reader):
        expect(reader.uint(1) in (0, 1), "kme_reachable")
        reader.vector(1, 0, 255).decode()
        reader.uint(4)
        reader.vector(1, 0, 16)

    def on_abort(self, role, reader):
        expect(self.broken and reader.uint(1) == UNKNOWN_MESSAGE, "reason of abort")
        self.aborted = role

    def on_stream(self, role, reader):
        ksid = reader.bytes(16)
        expect(reader.uint(4) >= 32, "a chunk that holds no key")
        for _ in range(6):
            reader.uint(4)
        expect(all(0x20 <= byte < 0x7F for byte in reader.vector(1, 0, 255)), "metadata_mimetype")
        self.streams.setdefault(ksid, "asked")

    def on_opened(self, role, reader):
        ksid = reader.bytes(16)
        expect(reader.uint(4) >= 32, "a chunk that holds no key")
        expect(ksid in self.streams, "a stream that nobody asked for")
        self.opened.add(ksid)

    def on_failed(self, role, reader):
        ksid = reader.bytes(16)
        expect(ksid in self.streams and 1 <= reader.uint(1), "failed")
        expect(reader.uint(1) in (0, 1), "retrying")

    def on_keys(self, role, reader):
        expect(reader.uint(4) == len(self.batches), "number of the batch")
        expect(1 <= reader.uint(4) <= 86_400, "ttl")
        announced = items(reader.vector(3, 1, 2**24 - 1), lambda r: (r.vector(2, 1, 65535), r.bytes(16)))
        expect(len(announced) <= 128, "too many keys")
        batch = []
        for reference, check in announced:
            inner = Reader(reference)
            drawer, key = read_reference(inner)
            inner.end()
            expect(drawer == self.input("drawer"), "a key of another drawer")
            if key[0] == ETSI004:
                _, ksid, index, slice_ = key
                expect(ksid in self.opened and ksid in self.streams, "a key of a stream that is not open")
                expect(self.last.get(ksid, (-1, 0)) < (index, slice_), "an index that goes back")
                self.last[ksid] = (index, slice_)
            expect(reference in self.numbers, "a key that is not an input")
            batch.append(self.on_key(self.numbers[reference], reference, check))
        self.batches.append(batch)

    def on_key(self, number, reference, check):
        prefix = f"key_{number}_"
        prk, check_d, check_a = check_values(self.input(f"{prefix}channel_key"), reference)
        self.derive(f"{prefix}prk", prk)
        expect(self.derive(f"{prefix}check_d", check_d) == check, f'check "d" of key {number}')
        self.derive(f"{prefix}check_a", check_a)
        if f"{prefix}answerer_channel_key" in self.given:
            prk, check_d, check_a = check_values(self.input(f"{prefix}answerer_channel_key"), reference)
            self.derive(f"{prefix}answerer_prk", prk)
            self.derive(f"{prefix}answerer_check_d", check_d)
            self.derive(f"{prefix}answerer_check_a", check_a)
        return Key(number, reference)

    def on_results(self, role, reader):
        batch = self.batches[reader.uint(4)]

        def result(r):
            position, status = r.uint(1), r.uint(1)
            return position, status, r.bytes(16) if status == ACKED else None

        results = items(reader.vector(3, 1, 2**24 - 1), result)
        expect(len(results) <= 128, "too many results")
        for position, status, check in results:
            key = batch[position]
            expect(ACKED <= status <= OVER_QUOTA and not key.ended, "status")
            expect(key.heard is None or (key.heard == PENDING and status != PENDING), "a second result")
            key.heard = status
            differs = f"key_{key.number}_answerer_channel_key" in self.given
            expect((status == MISMATCH) == differs, f"mismatch of key {key.number}")
            if status == ACKED:
                expect(check == self.derived[f"key_{key.number}_check_a"], f'check "a" of key {key.number}')
            elif status == MISMATCH:
                for other in batch:
                    other.ended = True

    def on_dropped(self, role, reader):
        reason = reader.uint(1)
        expect(reason in (1, 2), "reason")
        references = items(reader.vector(3, 1, 2**24 - 1), lambda r: r.vector(2, 1, 65535))
        known = [key.reference for batch in self.batches for key in batch]
        expect(len(references) <= 128 and all(reference in known for reference in references), "dropped")
        if reason == 2:
            batch = next(batch for batch in self.batches if batch[0].reference in references)
            expect(any(key.heard == MISMATCH for key in batch), "a batch without a mismatch")
            expect(references == [key.reference for key in batch], "the whole batch")

    def on_close_stream(self, role, reader):
        ksid = reader.bytes(16)
        expect(reader.uint(1) in (1, 2), "reason")
        expect(self.streams.pop(ksid, None) is not None, "a stream that nobody asked for")

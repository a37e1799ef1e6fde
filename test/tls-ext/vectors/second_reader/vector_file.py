"""Reads the vectors' text (draft, appendix A)."""

import re

from tls13 import Wrong, expect

HEADING = re.compile(r"^## (\S+)$")
VALUE = re.compile(r"^(input|record|message|alert|data|channel|hash|secret) (\S+(?: \S+)?) \((\d+) octets\):$")
HEX = re.compile(r"^[0-9a-f]{2,64}$")


class Value:
    def __init__(self, kind, name, data):
        self.kind = kind
        self.name = name
        self.data = data


class Vector:
    """One vector: what is given, what was sent, and what is to be derived."""

    def __init__(self, name):
        self.name = name
        self.values = []

    def inputs(self):
        return self._named(("input",))

    def derived(self):
        return self._named(("hash", "secret"))

    def sent(self):
        return [value for value in self.values if value.kind in ("record", "message", "alert", "data", "channel")]

    def _named(self, kinds):
        found = {}
        for value in self.values:
            if value.kind in kinds:
                expect(value.name not in found, f"{value.name} twice")
                found[value.name] = value.data
        return found


def read_vectors(text):
    vectors = []
    lines = iter(text.splitlines())
    for line in lines:
        heading = HEADING.match(line)
        if heading:
            vectors.append(Vector(heading.group(1)))
            continue
        match = VALUE.match(line)
        if not match:
            if HEX.match(line):
                raise Wrong(f"digits that belong to no value: {line}")
            continue
        expect(vectors, "a value before the first heading")
        kind, name, length = match.group(1), match.group(2), int(match.group(3))
        digits = ""
        while len(digits) < 2 * length:
            line = next(lines, "")
            if not HEX.match(line):
                raise Wrong(f"{name}: {2 * length} digits announced, {len(digits)} found")
            digits += line
        expect(len(digits) == 2 * length, f"{name}: more digits than announced")
        vectors[-1].values.append(Value(kind, name, bytes.fromhex(digits)))
    return vectors

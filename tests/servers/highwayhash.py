"""HighwayHash-64, with which nats-server signs what it stores: for tests that alter that."""

import struct

_MASK, _LOW = 2**64 - 1, 2**32 - 1
_MUL0 = (0xDBE6D5D5FE4CCE2F, 0xA4093822299F31D0, 0x13198A2E03707344, 0x243F6A8885A308D3)
_MUL1 = (0x3BD39E10CB0EF593, 0xC0ACF169B5F18A8C, 0xBE5466CF34E90C6C, 0x452821E638D01377)
_PACKET = 32
#: Which byte of two lanes goes where when they are mixed: those of the first are 0 to 7, of the second 8 to 15.
_FIRST, _SECOND = (3, 12, 2, 5, 14, 1, 15, 0), (11, 4, 10, 13, 9, 6, 8, 7)


def highwayhash(key: bytes, data: bytes) -> bytes:
    """The checksum of data with a key of 32 bytes."""
    lanes = struct.unpack("<4Q", key)
    state = _State(lanes)
    whole = len(data) - len(data) % _PACKET
    for start in range(0, whole, _PACKET):
        state.update(struct.unpack_from("<4Q", data, start))
    if rest := data[whole:]:
        state.remainder(rest)
    return state.digest()


class _State:
    def __init__(self, key: tuple[int, ...]) -> None:
        self.mul0, self.mul1 = list(_MUL0), list(_MUL1)
        self.v0 = [mul ^ lane for mul, lane in zip(_MUL0, key, strict=True)]
        self.v1 = [mul ^ _swapped(lane) for mul, lane in zip(_MUL1, key, strict=True)]

    def update(self, lanes: tuple[int, ...]) -> None:
        for i in range(4):
            self.v1[i] = (self.v1[i] + self.mul0[i] + lanes[i]) & _MASK
            self.mul0[i] ^= (self.v1[i] & _LOW) * (self.v0[i] >> 32)
            self.v0[i] = (self.v0[i] + self.mul1[i]) & _MASK
            self.mul1[i] ^= (self.v0[i] & _LOW) * (self.v1[i] >> 32)
        for source, target in ((self.v1, self.v0), (self.v0, self.v1)):
            for i in (0, 2):
                both = struct.pack("<2Q", source[i], source[i + 1])
                for lane, order in ((i, _FIRST), (i + 1, _SECOND)):
                    mixed = int.from_bytes(bytes(both[byte] for byte in order), "little")
                    target[lane] = (target[lane] + mixed) & _MASK

    def remainder(self, rest: bytes) -> None:
        size, odd = len(rest), len(rest) % 4
        self.v0 = [(lane + (size << 32) + size) & _MASK for lane in self.v0]
        self.v1 = [_rotated(lane >> 32, size) << 32 | _rotated(lane & _LOW, size) for lane in self.v1]
        packet = bytearray(_PACKET)
        packet[: size - odd] = rest[: size - odd]
        if size & 16:
            packet[28:] = rest[-4:]
        elif odd:
            last = rest[size - odd :]
            packet[16:19] = last[0], last[odd >> 1], last[odd - 1]
        self.update(struct.unpack("<4Q", packet))

    def digest(self) -> bytes:
        for _ in range(4):
            self.update(tuple(_swapped(self.v0[i]) for i in (2, 3, 0, 1)))
        return struct.pack("<Q", (self.v0[0] + self.v1[0] + self.mul0[0] + self.mul1[0]) & _MASK)


def _swapped(lane: int) -> int:
    return (lane >> 32) | (lane << 32) & _MASK


def _rotated(half: int, count: int) -> int:
    return (half << count | half >> (32 - count)) & _LOW

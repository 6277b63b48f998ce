// Numbers in network byte order at any offset of a packet.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

namespace riposte::stamp {

inline uint8_t read_8(std::span<const std::byte> bytes, size_t offset) {
    assert(offset < bytes.size());
    return static_cast<uint8_t>(bytes[offset]);
}

inline uint16_t read_16(std::span<const std::byte> bytes, size_t offset) {
    return static_cast<uint16_t>(read_8(bytes, offset) << 8 | read_8(bytes, offset + 1));
}

inline uint32_t read_32(std::span<const std::byte> bytes, size_t offset) {
    return uint32_t{read_16(bytes, offset)} << 16 | read_16(bytes, offset + 2);
}

inline uint64_t read_64(std::span<const std::byte> bytes, size_t offset) {
    return uint64_t{read_32(bytes, offset)} << 32 | read_32(bytes, offset + 4);
}

inline void write_8(std::span<std::byte> bytes, size_t offset, uint8_t value) {
    assert(offset < bytes.size());
    bytes[offset] = std::byte{value};
}

inline void write_16(std::span<std::byte> bytes, size_t offset, uint16_t value) {
    write_8(bytes, offset, static_cast<uint8_t>(value >> 8));
    write_8(bytes, offset + 1, static_cast<uint8_t>(value & 0xff));
}

inline void write_32(std::span<std::byte> bytes, size_t offset, uint32_t value) {
    write_16(bytes, offset, static_cast<uint16_t>(value >> 16));
    write_16(bytes, offset + 2, static_cast<uint16_t>(value & 0xffff));
}

inline void write_64(std::span<std::byte> bytes, size_t offset, uint64_t value) {
    write_32(bytes, offset, static_cast<uint32_t>(value >> 32));
    write_32(bytes, offset + 4, static_cast<uint32_t>(value & 0xffff'ffff));
}

} // namespace riposte::stamp

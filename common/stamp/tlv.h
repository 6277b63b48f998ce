// The TLVs that follow a base packet (RFC 8972, section 4): where they lie, and their flags.
//
// A TLV is a flags octet, a type, a length of two octets, and as many octets of value. A sender
// sets U in each; the reflector clears it in those that it understands. What ends the list early:
//
//   malformed   a TLV whose length reaches beyond the packet: it gets M, and what follows is copied
//   padding     fewer bytes than a header, or type 0: not a TLV, but the padding of a TWAMP sender,
//               which is copied as well
#pragma once

#include "common/stamp/bytes.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace riposte::stamp {

inline constexpr size_t tlv_header_bytes = 4;

enum class TlvType : uint8_t {
    padding_of_zeros = 0, ///< reserved: not a TLV
    extra_padding = 1,
    location = 2,
    timestamp_information = 3,
    class_of_service = 4,
    direct_measurement = 5,
    access_report = 6,
    follow_up = 7,
    hmac = 8,
    destination_node = 9,      ///< RFC 9503
    return_path = 10,          ///< RFC 9503
    micro_session = 11,        ///< RFC 9534
    reflected_test_packet = 12 ///< RFC 10052
};

/// Bits of the flags octet.
inline constexpr uint8_t tlv_unrecognized = 0x80;
inline constexpr uint8_t tlv_malformed = 0x40;
inline constexpr uint8_t tlv_integrity_failed = 0x20;

/// A view of one TLV in a packet.
template<class Byte>
struct BasicTlv {
    std::span<Byte> bytes; ///< header and value

    uint8_t flags() const { return read_8(bytes, 0); }
    TlvType type() const { return static_cast<TlvType>(read_8(bytes, 1)); }
    std::span<Byte> value() const { return bytes.subspan(tlv_header_bytes); }
};

using Tlv = BasicTlv<const std::byte>;
using MutableTlv = BasicTlv<std::byte>;

inline void set_flags(MutableTlv tlv, uint8_t flags) {
    write_8(tlv.bytes, 0, flags);
}

/// Goes through the TLVs of a packet, or through the sub-TLVs of a value, which look alike.
template<class Byte>
class BasicTlvReader {
public:
    explicit BasicTlvReader(std::span<Byte> tlvs) : rest_(tlvs) {}

    /// The next one; nothing at the end, before padding, and before one that is malformed.
    std::optional<BasicTlv<Byte>> next() {
        if (rest_.size() < tlv_header_bytes || read_8(rest_, 1) == 0)
            return std::nullopt;
        const size_t size = tlv_header_bytes + read_16(rest_, 2);
        if (size > rest_.size())
            return std::nullopt;
        const BasicTlv<Byte> tlv{rest_.first(size)};
        rest_ = rest_.subspan(size);
        return tlv;
    }

    /// What next() has not returned yet.
    std::span<Byte> rest() const { return rest_; }

    /// Does the rest begin with a TLV that is longer than the packet?
    bool is_malformed() const {
        return rest_.size() >= tlv_header_bytes && read_8(rest_, 1) != 0 &&
               tlv_header_bytes + read_16(rest_, 2) > rest_.size();
    }

private:
    std::span<Byte> rest_;
};

using TlvReader = BasicTlvReader<const std::byte>;
using MutableTlvReader = BasicTlvReader<std::byte>;

} // namespace riposte::stamp

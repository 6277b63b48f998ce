#include "daemon/services/stamp_tlvs.h"

#include "common/stamp/timestamp.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include <netinet/in.h>

namespace riposte {

namespace {

using namespace stamp;

/// What became of one TLV.
enum class Verdict : uint8_t { understood, unrecognized, malformed };

constexpr size_t location_ports_bytes = 4;
constexpr size_t timestamp_information_bytes_min = 4;
constexpr size_t class_of_service_bytes = 4;
constexpr size_t direct_measurement_bytes = 12;
constexpr size_t follow_up_bytes = 16;
constexpr uint32_t control_no_reply = 0;

/// Sub-TLVs of Location (RFC 8972, section 4.2.2), as asked for and as answered.
enum class LocationType : uint8_t {
    source_mac = 1,
    source_eui48 = 2,
    source_eui64 = 3,
    destination = 4,
    destination_ipv4 = 5,
    destination_ipv6 = 6,
    source = 7,
    source_ipv4 = 8,
    source_ipv6 = 9
};
constexpr size_t location_mac_bytes = 8;
constexpr size_t location_address_bytes = 16;

/// Values of Timestamp Information (RFC 8972, section 4.3).
constexpr uint8_t sync_ntp = 1;
constexpr uint8_t sync_free_running = 5;
constexpr uint8_t method_software_local = 2;

constexpr uint8_t type_return_path_control = 1;

void zero(std::span<std::byte> bytes) {
    std::ranges::fill(bytes, std::byte{0});
}

/// Writes the address to the front of 16 zeros. Returns whether it is one of IPv4, also if it is
/// mapped into IPv6.
bool write_address(std::span<std::byte> value, const SocketAddress& address) {
    zero(value);
    if (address.family() == AF_INET) {
        sockaddr_in ipv4{};
        std::memcpy(&ipv4, &address.storage, sizeof(ipv4));
        std::memcpy(value.data(), &ipv4.sin_addr, sizeof(ipv4.sin_addr));
        return true;
    }
    sockaddr_in6 ipv6{};
    std::memcpy(&ipv6, &address.storage, sizeof(ipv6));
    if (IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) {
        std::memcpy(value.data(), &ipv6.sin6_addr.s6_addr[12], 4);
        return true;
    }
    std::memcpy(value.data(), &ipv6.sin6_addr, sizeof(ipv6.sin6_addr));
    return false;
}

Verdict answer_location_part(
    const StampTlvPolicy& policy, const DatagramArrival& arrival, MutableTlv part) {
    const auto type = static_cast<LocationType>(part.type());
    const auto answer = [&](size_t bytes, LocationType answered) {
        write_8(part.bytes, 1, static_cast<uint8_t>(answered));
        return part.value().size() == bytes ? Verdict::understood : Verdict::malformed;
    };
    if (type == LocationType::source_mac && part.value().size() == location_mac_bytes) {
        zero(part.value()); // no socket knows it
        return answer(location_mac_bytes, LocationType::source_eui64);
    }
    const bool is_source = type == LocationType::source;
    if (!is_source && type != LocationType::destination)
        return type == LocationType::source_mac ? Verdict::malformed : Verdict::unrecognized;
    if (part.value().size() != location_address_bytes)
        return Verdict::malformed;
    if (!is_source && policy.location != StampLocation::all) {
        zero(part.value());
        return Verdict::understood;
    }
    const bool ipv4 = write_address(part.value(), is_source ? arrival.peer : arrival.local);
    const LocationType answered =
        is_source ? (ipv4 ? LocationType::source_ipv4 : LocationType::source_ipv6)
                  : (ipv4 ? LocationType::destination_ipv4 : LocationType::destination_ipv6);
    return answer(location_address_bytes, answered);
}

Verdict answer_location(const StampTlvRequest& request, std::span<std::byte> value) {
    if (value.size() < location_ports_bytes)
        return Verdict::malformed;
    if (request.policy.location == StampLocation::none)
        return Verdict::unrecognized;
    const bool all = request.policy.location == StampLocation::all;
    write_16(value, 0, all ? request.arrival.local.port() : uint16_t{0});
    write_16(value, 2, request.arrival.peer.port());
    MutableTlvReader parts(value.subspan(location_ports_bytes));
    while (const auto part = parts.next()) {
        const Verdict verdict = answer_location_part(request.policy, request.arrival, *part);
        if (verdict == Verdict::malformed) {
            set_flags(*part, tlv_malformed);
            return Verdict::understood;
        }
        set_flags(*part, verdict == Verdict::understood ? 0 : tlv_unrecognized);
    }
    if (parts.is_malformed())
        write_8(parts.rest(), 0, tlv_malformed);
    return Verdict::understood;
}

Verdict answer_timestamp_information(const StampTlvRequest& request, std::span<std::byte> value) {
    if (value.size() < timestamp_information_bytes_min)
        return Verdict::malformed;
    const uint8_t source = request.synchronized ? sync_ntp : sync_free_running;
    write_8(value, 0, source); // of T2, which the kernel read
    write_8(value, 1, method_software_local);
    write_8(value, 2, source); // of T3
    write_8(value, 3, method_software_local);
    return Verdict::understood;
}

/// DSCP1 (6 bits) is what the answer shall carry; DSCP2 (6) and ECN (2) are what arrived; RP (2) is
/// 1 if the policy does not permit DSCP1, and the answer carries the DSCP that arrived.
Verdict answer_class_of_service(
    const StampTlvRequest& request, std::span<std::byte> value, StampTlvReply& reply) {
    if (value.size() != class_of_service_bytes)
        return Verdict::malformed;
    const auto wanted = static_cast<uint8_t>(read_8(value, 0) >> 2);
    const uint8_t arrived = request.arrival.traffic_class;
    const bool permitted = (request.policy.dscps >> wanted & 1) != 0;
    reply.dscp = permitted ? wanted : static_cast<uint8_t>(arrived >> 2);
    write_8(value, 0, static_cast<uint8_t>(wanted << 2 | arrived >> 6));
    write_8(value, 1, static_cast<uint8_t>((arrived & 0x3f) << 2 | (permitted ? 0 : 1)));
    write_16(value, 2, 0);
    return Verdict::understood;
}

Verdict answer_direct_measurement(const StampTlvRequest& request, std::span<std::byte> value) {
    if (value.size() != direct_measurement_bytes)
        return Verdict::malformed;
    if (request.counts == nullptr)
        return Verdict::unrecognized;
    write_32(value, 4, request.counts->received);
    write_32(value, 8, request.counts->sent);
    return Verdict::understood;
}

/// Without a session, and with a wrong length, all zeros (erratum 8339). So it is if the kernel
/// gave no time, because this one is the first of its kind or the kernel has none: the time that
/// the last answer itself stated would tell nothing new.
Verdict answer_follow_up(
    const StampTlvRequest& request, std::span<std::byte> value, StampTlvReply& reply) {
    zero(value);
    if (value.size() != follow_up_bytes)
        return Verdict::malformed;
    if (request.counts == nullptr)
        return Verdict::understood;
    reply.follows_up = true;
    if (request.counts->last_sent == 0)
        return Verdict::understood;
    write_32(value, 0, request.counts->last_sequence);
    write_64(value, 4, request.counts->last_sent);
    write_8(value, 12, method_software_local);
    return Verdict::understood;
}

/// Only "no reply", which asks for less than an answer.
Verdict answer_return_path(std::span<std::byte> value, StampTlvReply& reply) {
    MutableTlvReader parts(value);
    while (const auto part = parts.next())
        if (static_cast<uint8_t>(part->type()) == type_return_path_control &&
            part->value().size() == 4 && read_32(part->value(), 0) == control_no_reply) {
            reply.suppress = true;
            return Verdict::understood;
        }
    return parts.is_malformed() ? Verdict::malformed : Verdict::unrecognized;
}

Verdict answer_tlv(const StampTlvRequest& request, MutableTlv tlv, StampTlvReply& reply) {
    switch (tlv.type()) {
    case TlvType::extra_padding:
        return Verdict::understood;
    case TlvType::location:
        return answer_location(request, tlv.value());
    case TlvType::timestamp_information:
        return answer_timestamp_information(request, tlv.value());
    case TlvType::class_of_service:
        return answer_class_of_service(request, tlv.value(), reply);
    case TlvType::direct_measurement:
        return answer_direct_measurement(request, tlv.value());
    case TlvType::follow_up:
        return answer_follow_up(request, tlv.value(), reply);
    case TlvType::return_path:
        return answer_return_path(tlv.value(), reply);
    case TlvType::hmac: // verified before; without a key it cannot be
        return request.key != nullptr ? Verdict::understood : Verdict::unrecognized;
    case TlvType::padding_of_zeros:
    case TlvType::access_report:
    case TlvType::destination_node:
    case TlvType::micro_session:
    case TlvType::reflected_test_packet:
        break;
    }
    return Verdict::unrecognized; // also types that have no name here
}

/// Where the HMAC TLV stands, and what it signs.
struct Signature {
    std::span<std::byte> value{}; ///< empty: there is none
    std::span<std::byte> text{};  ///< the TLVs before it
    bool misplaced = false;       ///< something but Extra Padding follows, or its length is wrong
    bool needed = false;          ///< there are TLVs besides Extra Padding
};

Signature find_signature(std::span<std::byte> tlvs) {
    Signature found;
    MutableTlvReader reader(tlvs);
    while (const auto tlv = reader.next()) {
        if (tlv->type() == TlvType::extra_padding)
            continue;
        found.needed = true;
        if (!found.value.empty() || found.misplaced) {
            found.misplaced = true;
        } else if (tlv->type() == TlvType::hmac) {
            found.text = tlvs.first(tlvs.size() - reader.rest().size() - tlv->bytes.size());
            found.value = tlv->value();
            found.misplaced = tlv->value().size() != hmac_bytes;
        }
    }
    return found;
}

bool is_intact(const StampTlvRequest& request, const Signature& signature) {
    if (request.key == nullptr)
        return true;
    if (signature.misplaced)
        return false;
    if (signature.value.empty())
        return request.mode == Mode::open || !signature.needed;
    std::array<std::byte, 4> sequence{};
    write_32(sequence, 0, request.sequence);
    return request.key->verify(signature.value, sequence, signature.text);
}

} // namespace

StampTlvReply answer_tlvs(const StampTlvRequest& request, std::span<std::byte> tlvs) {
    StampTlvReply reply;
    const Signature signature = find_signature(tlvs);
    const bool intact = is_intact(request, signature);
    MutableTlvReader reader(tlvs);
    while (const auto tlv = reader.next()) {
        if (!intact) {
            set_flags(*tlv, tlv->flags() | tlv_integrity_failed);
            continue;
        }
        const Verdict verdict = answer_tlv(request, *tlv, reply);
        set_flags(
            *tlv, verdict == Verdict::understood     ? uint8_t{0}
                  : verdict == Verdict::unrecognized ? tlv_unrecognized
                                                     : tlv_malformed);
        if (verdict == Verdict::malformed)
            return reply; // what follows is copied, the HMAC too
    }
    if (intact && reader.is_malformed())
        write_8(reader.rest(), 0, tlv_malformed);
    if (intact && request.key != nullptr && !signature.value.empty()) {
        reply.hmac = signature.value;
        reply.hmac_text = signature.text;
    }
    return reply;
}

} // namespace riposte

#include "packet.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include <netinet/in.h>

namespace riposte::link {
namespace {

constexpr size_t ipv4_header = 20;
constexpr size_t ipv6_header = 40;
constexpr size_t udp_header = 8;
constexpr uint8_t ipv6_fragment = 44;
constexpr uint8_t filling = 0xee;

uint16_t word_at(std::span<const uint8_t> bytes, size_t offset) {
    return static_cast<uint16_t>(bytes[offset] << 8 | bytes[offset + 1]);
}

uint32_t long_at(std::span<const uint8_t> bytes, size_t offset) {
    return uint32_t{word_at(bytes, offset)} << 16 | word_at(bytes, offset + 2);
}

void set_word(Bytes& bytes, size_t offset, size_t value) {
    bytes[offset] = static_cast<uint8_t>(value >> 8);
    bytes[offset + 1] = static_cast<uint8_t>(value);
}

uint32_t sum_of(std::span<const uint8_t> bytes, uint32_t sum = 0) {
    for (size_t i = 0; i + 1 < bytes.size(); i += 2)
        sum += word_at(bytes, i);
    if (bytes.size() % 2 == 1)
        sum += uint32_t{bytes.back()} << 8;
    return sum;
}

uint16_t folded(uint32_t sum) {
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(sum);
}

uint16_t checksum(uint32_t sum) {
    return static_cast<uint16_t>(~folded(sum));
}

bool is_ipv4(const Bytes& packet) {
    return packet[0] >> 4 == 4;
}

uint8_t icmp_of(uint8_t family) {
    return family == 4 ? uint8_t{IPPROTO_ICMP} : uint8_t{IPPROTO_ICMPV6};
}

void mend_ipv4_header(Bytes& packet) {
    const size_t header = size_t{packet[0]} % 16 * 4;
    set_word(packet, 10, 0);
    set_word(packet, 10, checksum(sum_of(std::span(packet).first(header))));
}

/// Of the pseudo header (RFC 768, RFC 8200).
uint32_t pseudo_sum(const Bytes& packet, size_t transport_bytes, uint8_t protocol) {
    const std::span addresses =
        is_ipv4(packet) ? std::span(packet).subspan(12, 8) : std::span(packet).subspan(8, 32);
    return sum_of(addresses, static_cast<uint32_t>(transport_bytes) + protocol);
}

/// Offset of the transport's checksum in its header.
std::optional<size_t> checksum_offset(uint8_t protocol) {
    switch (protocol) {
    case IPPROTO_UDP:
        return 6;
    case IPPROTO_TCP:
        return 16;
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
        return 2;
    default:
        return std::nullopt;
    }
}

bool look_ipv4(Bytes& packet, Record& record, Layout& layout) {
    const size_t header = size_t{packet[0]} % 16 * 4;
    const size_t total = packet.size() < ipv4_header ? 0 : word_at(packet, 2);
    if (header < ipv4_header || total < header || total > packet.size() || packet[16] >= 224)
        return false;
    packet.resize(total);
    record.family = 4;
    record.protocol = packet[9];
    record.fragment_offset = static_cast<uint16_t>((word_at(packet, 6) & 0x1fff) * 8);
    layout.whole = (word_at(packet, 6) & 0x3fff) == 0;
    layout.transport = header;
    return true;
}

bool look_ipv6(Bytes& packet, Record& record, Layout& layout) {
    if (packet.size() < ipv6_header)
        return false;
    const size_t total = ipv6_header + word_at(packet, 4);
    const bool link_local = packet[24] == 0xff ||
                            (packet[24] == 0xfe && (packet[25] & 0xc0) == 0x80) ||
                            (packet[8] == 0xfe && (packet[9] & 0xc0) == 0x80);
    if (total > packet.size() || link_local)
        return false;
    packet.resize(total);
    record.family = 6;
    record.protocol = packet[6];
    layout.transport = ipv6_header;
    if (record.protocol == ipv6_fragment && total >= ipv6_header + 8) {
        record.protocol = packet[ipv6_header];
        record.fragment_offset = word_at(packet, ipv6_header + 2) & 0xfff8;
        layout.whole = false;
        layout.transport += 8;
    }
    return true;
}

/// The transport's header; only the first fragment has one.
void look_transport(const Bytes& packet, Record& record, Layout& layout) {
    const std::span bytes = std::span(packet).subspan(layout.transport);
    const bool icmp = record.protocol == icmp_of(record.family);
    size_t header = 0;
    if (record.protocol == IPPROTO_TCP && bytes.size() >= 20) {
        header = std::min(size_t{bytes[12]} / 16 * 4, bytes.size());
        record.tcp_seq = long_at(bytes, 4);
        record.tcp_ack = long_at(bytes, 8);
        record.tcp_flags = bytes[13];
    } else if ((record.protocol == IPPROTO_UDP || icmp) && bytes.size() >= udp_header) {
        header = udp_header;
    } else {
        return;
    }
    if (icmp) {
        record.icmp_type = bytes[0];
        record.icmp_code = bytes[1];
        record.tcp_seq = long_at(bytes, 4);
    } else {
        record.source_port = word_at(bytes, 0);
        record.destination_port = word_at(bytes, 2);
    }
    layout.payload = layout.transport + header;
}

bool is_echo(const Record& record) {
    if (record.family == 4)
        return record.icmp_type == 0 || record.icmp_type == 8;
    return record.icmp_type == 128 || record.icmp_type == 129;
}

/// A header of an IP packet from the router to the source of `packet`.
Bytes answer_header(const Bytes& packet, const Router& router, size_t payload_bytes) {
    Bytes answer;
    if (is_ipv4(packet)) {
        answer.resize(ipv4_header);
        answer[0] = 0x45;
        answer[1] = 0xc0; // internetwork control
        set_word(answer, 2, ipv4_header + payload_bytes);
        answer[8] = 64;
        answer[9] = IPPROTO_ICMP;
        std::ranges::copy(router.ipv4, answer.begin() + 12);
        std::copy_n(packet.begin() + 12, 4, answer.begin() + 16);
        mend_ipv4_header(answer);
    } else {
        answer.resize(ipv6_header);
        answer[0] = 0x60;
        set_word(answer, 4, payload_bytes);
        answer[6] = IPPROTO_ICMPV6;
        answer[7] = 64;
        std::ranges::copy(router.ipv6, answer.begin() + 8);
        std::copy_n(packet.begin() + 8, 16, answer.begin() + 24);
    }
    return answer;
}

} // namespace

std::optional<Layout> look(Bytes& packet, Record& record) {
    Layout layout;
    if (packet.empty())
        return std::nullopt;
    const bool ipv4 = is_ipv4(packet);
    if (ipv4 ? !look_ipv4(packet, record, layout) : !look_ipv6(packet, record, layout))
        return std::nullopt;
    record.length = static_cast<uint16_t>(packet.size());
    layout.payload = packet.size();
    const bool first = record.fragment_offset == 0;
    if (first)
        look_transport(packet, record, layout);
    else
        layout.payload = std::min(layout.transport, packet.size());
    layout.subject = record.protocol == IPPROTO_UDP || record.protocol == IPPROTO_TCP ||
                     (first && record.protocol == icmp_of(record.family) && is_echo(record));
    record.payload_length = static_cast<uint16_t>(packet.size() - layout.payload);
    std::memcpy(
        record.payload, packet.data() + layout.payload,
        std::min<size_t>(sizeof record.payload, record.payload_length));
    return layout;
}

bool flip_bit(Bytes& packet, const Layout& layout, const Record& record, uint64_t bit, bool mend) {
    const std::optional<size_t> in_header = checksum_offset(record.protocol);
    const size_t at = layout.payload + bit / 8;
    if (!layout.whole || at >= packet.size() || !in_header)
        return false;
    const auto mask = static_cast<uint8_t>(0x80U >> bit % 8);
    packet[at] ^= mask;
    const size_t place = layout.transport + *in_header;
    const uint16_t before = word_at(packet, place);
    if (!mend || (before == 0 && record.protocol == IPPROTO_UDP))
        return true;
    // RFC 1624: HC' = ~(~HC + ~m + m'). The transport's header begins at an even offset.
    const bool high = (at - layout.transport) % 2 == 0;
    const auto now = static_cast<uint16_t>(high ? packet[at] << 8 : packet[at]);
    const auto was = static_cast<uint16_t>(now ^ (high ? mask << 8 : mask));
    const uint32_t sum =
        uint32_t{static_cast<uint16_t>(~before)} + static_cast<uint16_t>(~was) + now;
    const uint16_t mended = checksum(sum);
    set_word(packet, place, mended == 0 && record.protocol == IPPROTO_UDP ? 0xffff : mended);
    return true;
}

bool resize_payload(Bytes& packet, const Layout& layout, const Record& record, size_t bytes) {
    if (!layout.whole || record.protocol != IPPROTO_UDP || record.payload_length == bytes)
        return false;
    packet.resize(layout.payload + bytes, filling);
    const size_t transport_bytes = udp_header + bytes;
    if (is_ipv4(packet)) {
        set_word(packet, 2, packet.size());
        mend_ipv4_header(packet);
    } else {
        set_word(packet, 4, packet.size() - ipv6_header);
    }
    set_word(packet, layout.transport + 4, transport_bytes);
    set_word(packet, layout.transport + 6, 0);
    const uint16_t mended = checksum(sum_of(
        std::span(packet).subspan(layout.transport),
        pseudo_sum(packet, transport_bytes, IPPROTO_UDP)));
    set_word(packet, layout.transport + 6, mended == 0 ? 0xffff : mended);
    return true;
}

std::vector<Bytes> fragments_of(const Bytes& packet, size_t mtu) {
    const bool dont_fragment = !is_ipv4(packet) || (packet[6] & 0x40);
    if (dont_fragment)
        return {};
    const size_t header = size_t{packet[0]} % 16 * 4;
    const size_t step = (mtu - header) / 8 * 8;
    const uint16_t place = word_at(packet, 6);
    std::vector<Bytes> fragments;
    for (size_t from = header; from < packet.size(); from += step) {
        const size_t size = std::min(step, packet.size() - from);
        Bytes& fragment =
            fragments.emplace_back(packet.begin(), packet.begin() + static_cast<long>(header));
        fragment.insert(
            fragment.end(), packet.begin() + static_cast<long>(from),
            packet.begin() + static_cast<long>(from + size));
        const bool more = (place & 0x2000) || from + size < packet.size();
        set_word(fragment, 2, fragment.size());
        set_word(fragment, 6, ((place & 0x1fffU) + (from - header) / 8) | (more ? 0x2000U : 0U));
        mend_ipv4_header(fragment);
    }
    return fragments;
}

Bytes too_big_answer(const Bytes& packet, const Router& router, size_t mtu) {
    const bool ipv4 = is_ipv4(packet);
    const size_t header = ipv4 ? ipv4_header : ipv6_header;
    const size_t quoted = std::min(packet.size(), (ipv4 ? 576 : 1280) - header - 8);
    Bytes answer = answer_header(packet, router, 8 + quoted);
    answer.resize(header + 8);
    answer[header] = ipv4 ? 3 : 2;
    answer[header + 1] = ipv4 ? 4 : 0;
    set_word(answer, header + 6, mtu);
    answer.insert(answer.end(), packet.begin(), packet.begin() + static_cast<long>(quoted));
    const uint32_t pseudo = ipv4 ? 0 : pseudo_sum(answer, 8 + quoted, IPPROTO_ICMPV6);
    set_word(answer, header + 2, checksum(sum_of(std::span(answer).subspan(header), pseudo)));
    return answer;
}

} // namespace riposte::link

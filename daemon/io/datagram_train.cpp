#include "daemon/io/datagram_train.h"

#include <cassert>
#include <cstring>

#include <netinet/in.h>

namespace riposte {
namespace {

bool same_local(const DatagramInfo& a, const DatagramInfo& b) {
    if (a.local_family != b.local_family)
        return false;
    switch (a.local_family) {
    case AF_INET:
        return a.local.v4.ipi_spec_dst.s_addr == b.local.v4.ipi_spec_dst.s_addr;
    case AF_INET6:
        return a.local.v6.ipi6_ifindex == b.local.v6.ipi6_ifindex &&
               IN6_ARE_ADDR_EQUAL(&a.local.v6.ipi6_addr, &b.local.v6.ipi6_addr);
    default:
        return true;
    }
}

/// May `op` follow full segments of this size?
bool can_follow(const Op& op, uint32_t segment) {
    if (op.segment_bytes != 0)
        return op.segment_bytes == segment;
    return op.size > 0 && op.size <= segment;
}

} // namespace

bool same_route(const DatagramInfo& a, const DatagramInfo& b) noexcept {
    return !a.measured && !b.measured && a.peer_size == b.peer_size &&
           std::memcmp(&a.peer, &b.peer, a.peer_size) == 0 && same_local(a, b);
}

TrainMessage next_message(
    std::span<const Op> ops, TrainPosition from, uint32_t segments_max,
    DatagramPool& pool) noexcept {
    const Op& first = ops[from.op];
    assert(from.offset < first.size || first.size == 0);
    TrainMessage message{.begin = from, .end = {from.op + 1, 0}};
    if (first.size == 0)
        return message;
    const DatagramInfo& info = pool.info(first.buffer);
    const uint32_t segment = first.segment_bytes != 0 ? first.segment_bytes : first.size;
    // A single datagram is sent whatever its size.
    uint32_t room = std::max(std::min(segments_max * segment, TrainMessage::bytes_max), segment);
    for (message.end = from; message.end.op < ops.size() && room > 0;) {
        TrainPosition& at = message.end;
        const Op& op = ops[at.op];
        const bool joins =
            at.op == from.op || (can_follow(op, segment) && same_route(info, pool.info(op.buffer)));
        if (!joins)
            break;
        const uint32_t rest = op.size - at.offset;
        const uint32_t taken = rest <= room ? rest : room / segment * segment;
        if (taken == 0)
            break;
        message.bytes += taken;
        room -= taken;
        at = taken == rest ? TrainPosition{at.op + 1, 0} : TrainPosition{at.op, at.offset + taken};
        if (taken % segment != 0)
            break; // only the last datagram may be shorter
    }
    message.segment_bytes = message.bytes > segment ? segment : 0;
    return message;
}

} // namespace riposte

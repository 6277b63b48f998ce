// A limit, not a peer: unsafe, and for datagrams only; a mark to approach and beat.
//
// recvmmsg and sendmmsg in batches. Mode `udp`: trains arrive joined (UDP_GRO) and leave as one
// segmented send (UDP_SEGMENT), and neighbours of one peer and one size are joined to such a train.
// A segmented send that the kernel refuses is sent as plain datagrams, and so are all later ones.
// Mode `udp-plain`: one message for each datagram. Datagrams that the socket does not take are
// lost.
#include "start.h"

#include <array>
#include <memory>

#include <netinet/udp.h>

namespace {

constexpr unsigned batch = 32;
constexpr size_t datagram_bytes_max = 65507;
constexpr size_t segments_max = 64; // of one send: the kernel's UDP_MAX_SEGMENTS

struct Control {
    alignas(cmsghdr) std::array<unsigned char, CMSG_SPACE(sizeof(int))> bytes;
};

struct Slot {
    std::array<char, bench::datagram_buffer_bytes> buffer;
    sockaddr_in peer;
    Control control;
    size_t size;    ///< of what arrived
    size_t segment; ///< of each datagram in it but the last, which may be shorter
};

struct Batch {
    int fd;
    bool trains;   ///< UDP_GRO is on: what arrives may be several datagrams of one peer
    bool segments; ///< and UDP_SEGMENT is believed to work
    std::array<Slot, batch> slots;
    std::array<iovec, batch> vectors;
    std::array<mmsghdr, batch> headers;
    std::array<unsigned, batch> first; ///< the slot that a message to be sent begins with
};

/// The control message's value, or the datagram's own size: then it came alone.
size_t segment_of(msghdr& header, size_t size) {
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            int segment = 0;
            std::memcpy(&segment, CMSG_DATA(c), sizeof segment);
            return static_cast<size_t>(segment);
        }
    }
    return size;
}

unsigned receive(Batch& all) {
    for (unsigned i = 0; i < batch; i++) {
        Slot& slot = all.slots[i];
        all.vectors[i] = {slot.buffer.data(), slot.buffer.size()};
        all.headers[i].msg_hdr = {
            .msg_name = &slot.peer,
            .msg_namelen = sizeof slot.peer,
            .msg_iov = &all.vectors[i],
            .msg_iovlen = 1,
            .msg_control = all.trains ? slot.control.bytes.data() : nullptr,
            .msg_controllen = all.trains ? slot.control.bytes.size() : 0,
            .msg_flags = 0};
    }
    const int count = recvmmsg(all.fd, all.headers.data(), batch, MSG_WAITFORONE, nullptr);
    for (int i = 0; i < count; i++) {
        Slot& slot = all.slots[static_cast<size_t>(i)];
        mmsghdr& header = all.headers[static_cast<size_t>(i)];
        slot.size = header.msg_len;
        slot.segment = segment_of(header.msg_hdr, slot.size);
    }
    return count > 0 ? static_cast<unsigned>(count) : 0;
}

/// May `other` follow datagrams of first's size, `size` bytes so far, in the same send?
bool fits(const Slot& first, size_t size, const Slot& other) {
    // Only the last segment of all may be shorter than the others, and none may be empty.
    const bool alone = other.size == other.segment;
    const bool in_step = other.segment == first.segment || (alone && other.size < first.segment);
    size += other.size;
    return first.segment > 0 && other.size > 0 && in_step &&
           (size - other.size) % first.segment == 0 && size <= datagram_bytes_max &&
           size <= first.segment * segments_max && first.peer.sin_port == other.peer.sin_port &&
           first.peer.sin_addr.s_addr == other.peer.sin_addr.s_addr;
}

void say_segment(msghdr& header, Control& control, size_t segment) {
    header.msg_control = control.bytes.data();
    header.msg_controllen = CMSG_SPACE(sizeof(uint16_t));
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    const auto value = static_cast<uint16_t>(segment);
    std::memcpy(CMSG_DATA(c), &value, sizeof value);
}

/// Puts the slots from `begin` on that can leave together into one message; returns the next slot.
unsigned join(Batch& all, unsigned begin, unsigned end, unsigned message) {
    Slot& first = all.slots[begin];
    size_t size = first.size;
    unsigned next = begin + 1;
    all.vectors[begin] = {first.buffer.data(), first.size};
    for (; all.segments && next < end && fits(first, size, all.slots[next]); next++) {
        Slot& other = all.slots[next];
        all.vectors[next] = {other.buffer.data(), other.size};
        size += other.size;
    }
    msghdr& header = all.headers[message].msg_hdr;
    header = {};
    header.msg_name = &first.peer;
    header.msg_namelen = sizeof first.peer;
    header.msg_iov = &all.vectors[begin];
    header.msg_iovlen = next - begin;
    if (size > first.segment)
        say_segment(header, first.control, first.segment);
    all.first[message] = begin;
    return next;
}

/// Datagram by datagram.
void send_plain(int fd, const Slot& slot) {
    size_t at = 0;
    do {
        const size_t rest = slot.size - at;
        const size_t size = rest < slot.segment ? rest : slot.segment;
        sendto(
            fd, slot.buffer.data() + at, size, 0, reinterpret_cast<const sockaddr*>(&slot.peer),
            sizeof slot.peer);
        at += size;
    } while (at < slot.size);
}

void answer(Batch& all, unsigned count) {
    unsigned messages = 0;
    for (unsigned at = 0; at < count; messages++)
        at = join(all, at, count, messages);
    for (unsigned at = 0; at < messages;) {
        const int sent = sendmmsg(all.fd, all.headers.data() + at, messages - at, 0);
        if (sent > 0) {
            at += static_cast<unsigned>(sent);
            continue;
        }
        // The error is the first message's alone.
        const msghdr& header = all.headers[at].msg_hdr;
        if ((errno == EIO || errno == EINVAL) && header.msg_control != nullptr) {
            all.segments = false;
            for (unsigned i = 0; i < header.msg_iovlen; i++)
                send_plain(all.fd, all.slots[all.first[at] + i]);
        }
        at++;
    }
}

} // namespace

int main(int argc, char** argv) {
    const auto [mode, port] = bench::start(argc, argv, {bench::Mode::udp, bench::Mode::udp_plain});
    const auto all = std::make_unique<Batch>();
    all->fd = bench::bound_socket(SOCK_DGRAM, port);
    const int on = 1;
    all->trains =
        mode == bench::Mode::udp && setsockopt(all->fd, SOL_UDP, UDP_GRO, &on, sizeof on) == 0;
    all->segments = all->trains;
    bench::say_ready();
    for (;;) {
        const unsigned count = receive(*all);
        if (all->segments || !all->trains) {
            answer(*all, count);
            continue;
        }
        for (unsigned i = 0; i < count; i++)
            send_plain(all->fd, all->slots[i]);
    }
}

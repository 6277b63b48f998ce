#include "daemon/io/datagram_socket.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <netinet/in.h>
#include <sys/socket.h>

namespace riposte {
namespace {

// Room for one IPV6_PKTINFO or one IP_PKTINFO (a dual-stack socket may be given both).
struct Control {
    alignas(
        cmsghdr) std::byte bytes[CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(in_pktinfo))];
};

void read_control(msghdr& message, Arrival& arrival) {
    arrival.local_family = AF_UNSPEC;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            std::memcpy(&arrival.local.v6, CMSG_DATA(c), sizeof arrival.local.v6);
            arrival.local_family = AF_INET6;
            return; // on a dual-stack socket this one is what the reply must say
        }
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            std::memcpy(&arrival.local.v4, CMSG_DATA(c), sizeof arrival.local.v4);
            arrival.local_family = AF_INET;
        }
    }
}

template<class Info>
void put_control(msghdr& message, Control& control, int level, int type, const Info& info) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(sizeof info);
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(sizeof info);
    std::memcpy(CMSG_DATA(c), &info, sizeof info);
}

void write_control(msghdr& message, Control& control, const Arrival& arrival) {
    message.msg_control = nullptr;
    message.msg_controllen = 0;
    if (arrival.local_family == AF_INET) {
        in_pktinfo info = arrival.local.v4;
        // The address asked, unless it was a broadcast or multicast one: the kernel put the
        // interface's own address for it into ipi_spec_dst. The route chooses the interface.
        info.ipi_ifindex = 0;
        put_control(message, control, IPPROTO_IP, IP_PKTINFO, info);
    } else if (arrival.local_family == AF_INET6) {
        in6_pktinfo info = arrival.local.v6;
        if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
            info.ipi6_ifindex = 0; // only a link-local address needs its interface
        put_control(message, control, IPPROTO_IPV6, IPV6_PKTINFO, info);
    }
}

} // namespace

struct DatagramBatch::Messages {
    std::array<mmsghdr, batch_max> headers{};
    std::array<iovec, batch_max> vectors{};
    std::array<Control, batch_max> controls{};
};

DatagramBatch::DatagramBatch(DatagramPool& pool)
    : pool_(pool), messages_(std::make_unique<Messages>()) {}

DatagramBatch::~DatagramBatch() = default;

DatagramBatch::Received DatagramBatch::receive(int fd, std::span<Datagram> datagrams) noexcept {
    BufferPool& buffers = pool_.buffers();
    uint32_t count = 0;
    uint32_t wanted = static_cast<uint32_t>(std::min<size_t>(datagrams.size(), batch_max));
    for (; count < wanted; ++count) {
        BufferId buffer = buffers.take(Owner::backend);
        if (buffer == no_buffer)
            break;
        datagrams[count].buffer = buffer;
        std::span<std::byte> bytes = buffers.bytes(buffer);
        Arrival& arrival = pool_.arrival(buffer);
        messages_->vectors[count] = {bytes.data(), bytes.size()};
        messages_->headers[count].msg_hdr = {
            .msg_name = &arrival.peer,
            .msg_namelen = sizeof arrival.peer,
            .msg_iov = &messages_->vectors[count],
            .msg_iovlen = 1,
            .msg_control = messages_->controls[count].bytes,
            .msg_controllen = sizeof messages_->controls[count].bytes,
            .msg_flags = 0};
    }
    if (count == 0)
        return {-ENOBUFS, true};
    int got = ::recvmmsg(fd, messages_->headers.data(), count, MSG_DONTWAIT, nullptr);
    int error = got < 0 ? errno : 0;
    uint32_t received = got < 0 ? 0 : static_cast<uint32_t>(got);
    for (uint32_t i = 0; i < received; ++i) {
        Arrival& arrival = pool_.arrival(datagrams[i].buffer);
        arrival.peer_size = messages_->headers[i].msg_hdr.msg_namelen;
        read_control(messages_->headers[i].msg_hdr, arrival);
        datagrams[i].size = messages_->headers[i].msg_len;
    }
    for (uint32_t i = count; i-- > received;) // in reverse: the pool's order stays as it was
        buffers.move(datagrams[i].buffer, Owner::backend, Owner::pool);
    if (error != 0)
        return {-error, false};
    return {got, received == count};
}

size_t DatagramBatch::send(std::span<const Op> ops, Outbox& outbox) noexcept {
    size_t count = 1;
    while (count < ops.size() && ops[count].kind == OpKind::send_to && ops[count].fd == ops[0].fd)
        ++count;
    send_run(ops.first(count), outbox.extend(count));
    return count;
}

void DatagramBatch::send_run(std::span<const Op> ops, std::span<Event> events) noexcept {
    BufferPool& buffers = pool_.buffers();
    for (size_t begin = 0; begin < ops.size();) {
        auto count = static_cast<uint32_t>(std::min<size_t>(ops.size() - begin, batch_max));
        for (uint32_t i = 0; i < count; ++i) {
            const Op& op = ops[begin + i];
            Arrival& arrival = pool_.arrival(op.buffer);
            messages_->vectors[i] = {buffers.bytes(op.buffer).data(), op.size};
            msghdr& header = messages_->headers[i].msg_hdr;
            header = {};
            header.msg_name = &arrival.peer;
            header.msg_namelen = arrival.peer_size;
            header.msg_iov = &messages_->vectors[i];
            header.msg_iovlen = 1;
            write_control(header, messages_->controls[i], arrival);
        }
        int sent = ::sendmmsg(ops[begin].fd, messages_->headers.data(), count, MSG_DONTWAIT);
        // An error is the first message's alone; the ones behind it get their own try.
        uint32_t done = sent > 0 ? static_cast<uint32_t>(sent) : 1;
        for (uint32_t i = 0; i < done; ++i) {
            const Op& op = ops[begin + i];
            int32_t result =
                sent > 0 ? static_cast<int32_t>(messages_->headers[i].msg_len) : -errno;
            buffers.move(op.buffer, Owner::backend, Owner::worker);
            events[begin + i] = {OpKind::send_to, op.token, result, op.buffer, true};
        }
        begin += done;
    }
}

} // namespace riposte

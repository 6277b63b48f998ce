#include "daemon/io/datagram_socket.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>

#include <netinet/in.h>
#include <netinet/udp.h>

namespace riposte {
namespace {

// Room for what can come: the addresses (a dual-stack socket is given both), the size of a train's
// datagrams, and what an inherited socket may have been told to say besides (a time, a mark, a
// label). What goes needs less.
struct Control {
    static constexpr size_t room = CMSG_SPACE(sizeof(in6_pktinfo)) +
                                   CMSG_SPACE(sizeof(in_pktinfo)) + CMSG_SPACE(sizeof(int)) + 256;
    alignas(cmsghdr) std::byte bytes[room];
};

/// For a broadcast or multicast address the kernel puts that of the interface in its place.
bool is_group(const in_pktinfo& info) {
    return info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr;
}

void read_control(msghdr& message, uint32_t size, DatagramInfo& arrival) {
    arrival.local_family = AF_UNSPEC;
    arrival.segment_bytes = 0;
    arrival.to_group = false;
    arrival.cut = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            int segment = 0;
            std::memcpy(&segment, CMSG_DATA(c), sizeof segment);
            if (segment > 0 && static_cast<uint32_t>(segment) < size)
                arrival.segment_bytes = static_cast<uint16_t>(segment);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            std::memcpy(&arrival.local.v6, CMSG_DATA(c), sizeof arrival.local.v6);
            arrival.local_family = AF_INET6; // on a dual-stack socket, what the reply must say
            arrival.to_group |= IN6_IS_ADDR_MULTICAST(&arrival.local.v6.ipi6_addr) != 0;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            in_pktinfo info{};
            std::memcpy(&info, CMSG_DATA(c), sizeof info);
            arrival.to_group |= is_group(info);
            if (arrival.local_family != AF_INET6) {
                arrival.local.v4 = info;
                arrival.local_family = AF_INET;
            }
        }
    }
}

template<class Value>
void put_control(Control& control, size_t& used, int level, int type, const Value& value) {
    cmsghdr head{};
    head.cmsg_len = CMSG_LEN(sizeof value);
    head.cmsg_level = level;
    head.cmsg_type = type;
    std::memcpy(control.bytes + used, &head, sizeof head);
    std::memcpy(control.bytes + used + CMSG_LEN(0), &value, sizeof value);
    used += CMSG_SPACE(sizeof value);
}

/// How many bytes of control data the reply needs.
size_t write_control(Control& control, const DatagramInfo& arrival, uint32_t segment_bytes) {
    size_t used = 0;
    if (arrival.local_family == AF_INET) {
        in_pktinfo info = arrival.local.v4;
        // The address asked: ipi_spec_dst is what the reply leaves from, and never a group's. The
        // route chooses the interface.
        info.ipi_ifindex = 0;
        put_control(control, used, IPPROTO_IP, IP_PKTINFO, info);
    } else if (arrival.local_family == AF_INET6) {
        in6_pktinfo info = arrival.local.v6;
        if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
            info.ipi6_ifindex = 0; // only a link-local address needs its interface
        put_control(control, used, IPPROTO_IPV6, IPV6_PKTINFO, info);
    }
    if (segment_bytes != 0)
        put_control(control, used, SOL_UDP, UDP_SEGMENT, static_cast<uint16_t>(segment_bytes));
    return used;
}

/// Was it the segmentation that was refused, and not the datagrams?
bool refuses_segments(int error) {
    return error == EIO || error == EINVAL || error == EMSGSIZE;
}

void went(Event& event, uint32_t size) {
    event.result = std::max(event.result, 0) + static_cast<int32_t>(size);
}

void failed(Event& event, int error) {
    if (event.result == 0)
        event.result = -error;
}

} // namespace

/// Places for a batch; those from `first` on hold a buffer each and are ready for recvmmsg(2).
struct DatagramBatch::Incoming {
    std::array<mmsghdr, batch_max> headers{};
    std::array<iovec, batch_max> vectors{};
    std::array<BufferId, batch_max> buffers{};
    std::array<Control, batch_max> controls{};
    uint32_t first = batch_max;
};

struct DatagramBatch::Outgoing {
    static constexpr uint32_t vectors_max = 4 * TrainMessage::segments_max;

    std::array<mmsghdr, batch_max> headers{};
    std::array<TrainMessage, batch_max> messages{};
    std::array<iovec, vectors_max> vectors{};
    std::array<Control, batch_max> controls{};
    uint32_t vectors_used = 0;
};

DatagramBatch::DatagramBatch(DatagramPool& pool, SendMessages send_messages)
    : pool_(pool), send_messages_(send_messages), in_(std::make_unique<Incoming>()),
      out_(std::make_unique<Outgoing>()) {}

DatagramBatch::~DatagramBatch() = default;

// Receiving ---------------------------------------------------------------------------------------

void DatagramBatch::refill() noexcept {
    while (in_->first > 0) {
        BufferId buffer = pool_.buffers().take(Owner::backend);
        if (buffer == no_buffer)
            return;
        put_in_place(--in_->first, buffer);
    }
}

void DatagramBatch::put_in_place(uint32_t place, BufferId buffer) noexcept {
    std::span<std::byte> bytes = pool_.buffers().bytes(buffer);
    in_->buffers[place] = buffer;
    in_->vectors[place] = {bytes.data(), bytes.size()};
    msghdr& header = in_->headers[place].msg_hdr;
    header.msg_name = &pool_.arrival(buffer).peer;
    header.msg_namelen = sizeof(sockaddr_storage);
    header.msg_iov = &in_->vectors[place];
    header.msg_iovlen = 1;
    header.msg_control = in_->controls[place].bytes;
    header.msg_controllen = sizeof in_->controls[place].bytes;
}

DatagramBatch::Received DatagramBatch::receive(int fd, std::span<Datagram> datagrams) noexcept {
    refill();
    const uint32_t first = in_->first;
    const auto count = static_cast<uint32_t>(std::min<size_t>(datagrams.size(), batch_max - first));
    if (count == 0)
        return {-ENOBUFS, true};
    int got = ::recvmmsg(fd, &in_->headers[first], count, MSG_DONTWAIT, nullptr);
    if (got < 0)
        return {-errno, false};
    const auto received = static_cast<uint32_t>(got);
    for (uint32_t i = 0; i < received; ++i) {
        mmsghdr& header = in_->headers[first + i];
        BufferId buffer = in_->buffers[first + i];
        DatagramInfo& arrival = pool_.arrival(buffer);
        arrival.peer_size = header.msg_hdr.msg_namelen;
        read_control(header.msg_hdr, header.msg_len, arrival);
        datagrams[i] = {buffer, header.msg_len};
    }
    in_->first += received;
    return {got, received == count};
}

// Sending -----------------------------------------------------------------------------------------

size_t DatagramBatch::send(std::span<const Op> ops, Outbox& outbox) noexcept {
    size_t count = 1;
    while (count < ops.size() && ops[count].kind == OpKind::send_to && ops[count].fd == ops[0].fd)
        ++count;
    ops = ops.first(count);
    std::span<Event> events = outbox.extend(count);
    for (size_t i = 0; i < count; ++i)
        events[i] = {OpKind::send_to, ops[i].token, 0, ops[i].buffer, true};
    send_run(ops, events);
    for (const Op& op : ops)
        pool_.buffers().move(op.buffer, Owner::backend, Owner::worker);
    return count;
}

void DatagramBatch::send_run(std::span<const Op> ops, std::span<Event> events) noexcept {
    bool segments = !sends_singly(ops[0].token);
    TrainPlace single_until{}; // what is before goes one by one
    for (TrainPlace at{}; at.op < ops.size();) {
        const uint32_t count = prepare(ops, at, single_until, segments);
        const int sent = send_messages_(ops[0].fd, out_->headers.data(), count, MSG_DONTWAIT);
        const int error = sent > 0 ? 0 : errno;
        const TrainMessage& first = out_->messages[0];
        if (sent <= 0 && first.segment_bytes != 0 && refuses_segments(error)) {
            single_until = first.end;
            if (error == EIO) {
                segments = false;
                send_singly(ops[0].token);
            }
            continue;
        }
        // An error is the first message's alone; the ones behind it get their own try.
        const uint32_t done = sent > 0 ? static_cast<uint32_t>(sent) : 1;
        for (const TrainMessage& message : std::span(out_->messages).first(done))
            message.for_each_piece(ops, [&](uint32_t op, uint32_t, uint32_t size) {
                if (sent > 0)
                    went(events[op], size);
                else
                    failed(events[op], error);
            });
        at = out_->messages[done - 1].end;
    }
}

/// Messages from `from` on, as many as there is room for. Returns how many.
uint32_t DatagramBatch::prepare(
    std::span<const Op> ops, TrainPlace from, TrainPlace single_until, bool segments) noexcept {
    uint32_t count = 0;
    out_->vectors_used = 0;
    while (from.op < ops.size() && count < batch_max &&
           out_->vectors_used + TrainMessage::segments_max <= Outgoing::vectors_max) {
        const bool joins = segments && from >= single_until;
        out_->messages[count] =
            next_message(ops, from, joins ? TrainMessage::segments_max : 1, pool_);
        from = out_->messages[count].end;
        write_header(count++, ops);
    }
    return count;
}

void DatagramBatch::write_header(uint32_t index, std::span<const Op> ops) noexcept {
    const TrainMessage& message = out_->messages[index];
    DatagramInfo& arrival = pool_.arrival(ops[message.begin.op].buffer);
    msghdr& header = out_->headers[index].msg_hdr;
    header.msg_name = &arrival.peer;
    header.msg_namelen = arrival.peer_size;
    header.msg_iov = &out_->vectors[out_->vectors_used];
    message.for_each_piece(ops, [&](uint32_t op, uint32_t offset, uint32_t size) {
        std::byte* bytes = pool_.buffers().bytes(ops[op].buffer).data();
        out_->vectors[out_->vectors_used++] = {bytes + offset, size};
    });
    header.msg_iovlen =
        static_cast<size_t>(&out_->vectors[0] + out_->vectors_used - header.msg_iov);
    header.msg_control = out_->controls[index].bytes;
    header.msg_controllen = write_control(out_->controls[index], arrival, message.segment_bytes);
}

bool DatagramBatch::sends_singly(Token token) const noexcept {
    const auto known = std::span(single_).first(std::min<size_t>(single_count_, single_.size()));
    return std::ranges::find(known, token) != known.end();
}

void DatagramBatch::send_singly(Token token) noexcept {
    single_[single_count_++ % single_.size()] = token;
}

} // namespace riposte

#include "daemon/io/datagram_socket.h"

#include "daemon/io/control_message.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>

#include <netinet/in.h>
#include <netinet/udp.h>
#include <time.h>

namespace riposte {
namespace {

// Space for the control messages that can arrive: both addresses (a dual-stack socket gets both),
// the size of a train's datagrams, on a socket that measures a timestamp, TTL and traffic class,
// the times of a socket whose replies are timed, and those that an inherited socket may have
// enabled (a mark, a label). Sending needs less.
struct Control {
    static constexpr size_t capacity =
        CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(in_pktinfo)) +
        CMSG_SPACE(sizeof(timespec)) + CMSG_SPACE(3 * sizeof(timespec)) +
        3 * CMSG_SPACE(sizeof(int)) + 256;
    alignas(cmsghdr) std::byte bytes[capacity];
};

/// Of a broadcast or multicast datagram, ipi_spec_dst is the interface's address instead.
bool is_group(const in_pktinfo& info) {
    return info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr;
}

/// The control messages that only a socket that measures has.
void read_measure(const cmsghdr* c, DatagramInfo& info) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
        const auto time = control_value<timespec>(c);
        info.received_ns = static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 +
                           static_cast<uint64_t>(time.tv_nsec);
        info.has_received_ns = true;
    } else if (
        (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
        (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)) {
        info.ttl = static_cast<uint8_t>(control_value<int>(c));
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
        info.traffic_class = control_value<uint8_t>(c); // one byte, unlike all others
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
        info.traffic_class = static_cast<uint8_t>(control_value<int>(c));
    }
}

void read_control(msghdr& message, uint32_t size, DatagramInfo& info) {
    info.local_family = AF_UNSPEC;
    info.segment_bytes = 0;
    info.to_group = false;
    info.measured = false;
    info.timed = false;
    info.has_received_ns = false;
    info.ttl = 0;
    info.traffic_class = 0;
    info.cut = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            const int segment = control_value<int>(c);
            if (segment > 0 && static_cast<uint32_t>(segment) < size)
                info.segment_bytes = static_cast<uint16_t>(segment);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            std::memcpy(&info.local.v6, CMSG_DATA(c), sizeof info.local.v6);
            info.local_family = AF_INET6; // a dual-stack socket needs this form for the reply
            info.to_group |= IN6_IS_ADDR_MULTICAST(&info.local.v6.ipi6_addr) != 0;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            const auto local = control_value<in_pktinfo>(c);
            info.to_group |= is_group(local);
            if (info.local_family != AF_INET6) {
                info.local.v4 = local;
                info.local_family = AF_INET;
            }
        } else {
            read_measure(c, info);
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

bool goes_over_ipv4(const DatagramInfo& info) {
    return info.peer.any.ss_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&info.peer.v6.sin6_addr);
}

/// Writes the control messages of a reply and returns their size in bytes.
size_t write_control(Control& control, const DatagramInfo& info, uint32_t segment_bytes) {
    size_t used = 0;
    if (info.local_family == AF_INET) {
        in_pktinfo local = info.local.v4;
        // The reply leaves from ipi_spec_dst, which is never a group's address. The route chooses
        // the interface.
        local.ipi_ifindex = 0;
        put_control(control, used, IPPROTO_IP, IP_PKTINFO, local);
    } else if (info.local_family == AF_INET6) {
        in6_pktinfo local = info.local.v6;
        if (!IN6_IS_ADDR_LINKLOCAL(&local.ipi6_addr))
            local.ipi6_ifindex = 0; // only a link-local address needs its interface
        put_control(control, used, IPPROTO_IPV6, IPV6_PKTINFO, local);
    }
    if (info.measured) {
        // A dual-stack socket ignores the IPv6 option in a reply to an IPv4 peer.
        const int traffic_class = info.traffic_class;
        if (goes_over_ipv4(info))
            put_control(control, used, IPPROTO_IP, IP_TOS, traffic_class);
        else
            put_control(control, used, IPPROTO_IPV6, IPV6_TCLASS, traffic_class);
    }
    if (info.timed)
        put_control(control, used, SOL_SOCKET, SO_TIMESTAMPING, transmit_time_request);
    if (segment_bytes != 0)
        put_control(control, used, SOL_UDP, UDP_SEGMENT, static_cast<uint16_t>(segment_bytes));
    return used;
}

/// Did the kernel refuse the segmentation, and not the datagrams?
bool refuses_segments(int error) {
    return error == EIO || error == EINVAL || error == EMSGSIZE;
}

void add_sent(Event& event, uint32_t bytes) {
    event.result = std::max(event.result, 0) + static_cast<int32_t>(bytes);
}

void set_error_if_unsent(Event& event, int error) {
    if (event.result == 0)
        event.result = -error;
}

} // namespace

/// The arguments of recvmmsg(2) for a batch; the places from `first` on have a buffer each.
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
    header.msg_name = &pool_.info(buffer).peer;
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
        DatagramInfo& info = pool_.info(buffer);
        info.peer_size = header.msg_hdr.msg_namelen;
        read_control(header.msg_hdr, header.msg_len, info);
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
    bool timed = false;
    for (const Op& op : ops) {
        timed |= pool_.info(op.buffer).timed;
        pool_.buffers().move(op.buffer, Owner::backend, Owner::worker);
    }
    if (timed) // most devices take a datagram at once, and a later look would cost a wake-up
        transmit_times_.read(ops[0].token, ops[0].fd, outbox);
    return count;
}

void DatagramBatch::send_run(std::span<const Op> ops, std::span<Event> events) noexcept {
    bool segments = !sends_singly(ops[0].token);
    TrainPosition single_until{}; // datagrams before this place are sent one by one
    for (TrainPosition at{}; at.op < ops.size();) {
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
        // An error concerns the first message alone; the following ones are tried again.
        const uint32_t done = sent > 0 ? static_cast<uint32_t>(sent) : 1;
        for (const TrainMessage& message : std::span(out_->messages).first(done))
            message.for_each_piece(ops, [&](uint32_t op, uint32_t, uint32_t size) {
                if (sent > 0)
                    add_sent(events[op], size);
                else
                    set_error_if_unsent(events[op], error);
            });
        at = out_->messages[done - 1].end;
        number_timed(ops, std::span(out_->messages).first(count), done, sent > 0);
    }
}

/// Of these messages, the first `done` were sent, or the first one was not.
void DatagramBatch::number_timed(
    std::span<const Op> ops, std::span<const TrainMessage> messages, uint32_t done,
    bool sent) noexcept {
    for (uint32_t i = 0; i < messages.size() && i <= done; ++i) {
        const Op& op = ops[messages[i].begin.op];
        DatagramInfo& info = pool_.info(op.buffer);
        if (!info.timed)
            continue;
        if (sent && i < done) {
            info.transmit_id = transmit_times_.sent(op.token);
            continue;
        }
        transmit_times_.failed(op.token);
        if (!sent && i == 0)
            info.timed = false;
    }
}

/// Prepares messages that begin at `from`, as many as the batch has room for. Returns their number.
uint32_t DatagramBatch::prepare(
    std::span<const Op> ops, TrainPosition from, TrainPosition single_until,
    bool segments) noexcept {
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
    DatagramInfo& info = pool_.info(ops[message.begin.op].buffer);
    msghdr& header = out_->headers[index].msg_hdr;
    header.msg_name = &info.peer;
    header.msg_namelen = info.peer_size;
    header.msg_iov = &out_->vectors[out_->vectors_used];
    message.for_each_piece(ops, [&](uint32_t op, uint32_t offset, uint32_t size) {
        std::byte* bytes = pool_.buffers().bytes(ops[op].buffer).data();
        out_->vectors[out_->vectors_used++] = {bytes + offset, size};
    });
    header.msg_iovlen =
        static_cast<size_t>(&out_->vectors[0] + out_->vectors_used - header.msg_iov);
    info.timed = info.timed && transmit_times_.begin(ops[message.begin.op].token, ops[0].fd);
    header.msg_control = out_->controls[index].bytes;
    header.msg_controllen = write_control(out_->controls[index], info, message.segment_bytes);
}

bool DatagramBatch::sends_singly(Token token) const noexcept {
    const auto known = std::span(single_).first(std::min<size_t>(single_count_, single_.size()));
    return std::ranges::find(known, token) != known.end();
}

void DatagramBatch::send_singly(Token token) noexcept {
    single_[single_count_++ % single_.size()] = token;
}

} // namespace riposte

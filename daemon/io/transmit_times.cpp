#include "daemon/io/transmit_times.h"

#include "daemon/io/control_message.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <optional>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

namespace riposte {
namespace {

constexpr uint32_t id_max = INT32_MAX; // an event's result

struct Report {
    bool is_transmission = false;
    uint32_t number = 0;
    std::optional<uint64_t> time_ns{};
};

Report report_of(msghdr& message) {
    Report report;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPING) {
            const auto time = control_value<timespec>(c); // the first of three is the software's
            if (time.tv_sec > 0)
                report.time_ns = static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 +
                                 static_cast<uint64_t>(time.tv_nsec);
        } else if (
            (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
            (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR)) {
            const auto error = control_value<sock_extended_err>(c);
            report.is_transmission =
                error.ee_origin == SO_EE_ORIGIN_TIMESTAMPING && error.ee_info == SCM_TSTAMP_SND;
            report.number = error.ee_data;
        }
    }
    return report;
}

bool set_timestamping(int fd, uint32_t flags) {
    return ::setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags) == 0;
}

/// Reads all that waits in the error queue, a few messages at a time.
template<class Visit>
void read_queue(int fd, const Visit& visit) {
    constexpr unsigned at_once = 16;
    constexpr size_t control_bytes = 512; // more than Control of datagram_socket.cpp needs
    struct Room {
        alignas(cmsghdr) std::array<std::byte, control_bytes> bytes;
    };
    std::array<Room, at_once> rooms;
    std::array<mmsghdr, at_once> messages{};
    // Bounded, because others can fill the queue of a socket that reports ICMP errors. What is left
    // is reported again.
    for (int batches = 0; batches < 8; ++batches) {
        for (unsigned i = 0; i < at_once; ++i) {
            messages[i].msg_hdr.msg_control = rooms[i].bytes.data();
            messages[i].msg_hdr.msg_controllen = control_bytes;
        }
        const int count =
            ::recvmmsg(fd, messages.data(), at_once, MSG_ERRQUEUE | MSG_DONTWAIT, nullptr);
        for (int i = 0; i < count; ++i)
            visit(report_of(messages[static_cast<size_t>(i)].msg_hdr));
        if (count < static_cast<int>(at_once))
            return;
    }
}

} // namespace

TransmitTimes::Socket* TransmitTimes::find(Token token) noexcept {
    const auto found = std::ranges::find_if(
        sockets_, [&](const Socket& each) { return each.used && each.token == token; });
    return found == sockets_.end() ? nullptr : &*found;
}

bool TransmitTimes::begin(Token token, int fd) noexcept {
    Socket* socket = find(token);
    if (socket != nullptr && socket->counts)
        return true;
    if (socket == nullptr) {
        socket = &sockets_[places_used_++ % sockets_.size()];
        *socket = {.token = token, .used = true};
    }
    // Numbers begin at 0 when the option is set that was not set before.
    constexpr uint32_t flags =
        SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY;
    if (!set_timestamping(fd, 0))
        return false;
    read_queue(fd, [](const Report&) {}); // of the count before, or of another process
    if (!set_timestamping(fd, flags))
        return false;
    socket->first_id += socket->requests;
    socket->requests = 0;
    socket->counts = true;
    return true;
}

uint32_t TransmitTimes::sent(Token token) noexcept {
    Socket* const socket = find(token);
    assert(socket != nullptr);
    return (socket->first_id + socket->requests++) & id_max;
}

void TransmitTimes::failed(Token token) noexcept {
    if (Socket* const socket = find(token))
        socket->counts = false;
}

void TransmitTimes::read(Token token, int fd, Outbox& outbox) noexcept {
    Socket* const socket = find(token);
    read_queue(fd, [&](const Report& report) {
        if (!report.is_transmission || socket == nullptr || !socket->counts)
            return;
        if (!report.time_ns) // something else set the option meanwhile, as a reload does
            socket->counts = false;
        else if (report.number < socket->requests)
            outbox.push(
                {OpKind::transmitted, token,
                 static_cast<int32_t>((socket->first_id + report.number) & id_max), no_buffer,
                 false, *report.time_ns});
    });
}

} // namespace riposte

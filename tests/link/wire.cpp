#include "wire.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

namespace riposte::link {
namespace {

constexpr int receive_buffer_bytes = 64 << 20;

int64_t nanoseconds_of(const timespec& time) {
    return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

int64_t clock_ns(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return nanoseconds_of(now);
}

bool switch_off(int fd, const std::string& device, uint32_t feature) {
    ifreq request{};
    ethtool_value value{.cmd = feature, .data = 0};
    std::copy_n(device.begin(), std::min(device.size(), size_t{IFNAMSIZ - 1}), request.ifr_name);
    request.ifr_data = reinterpret_cast<char*>(&value);
    return ioctl(fd, SIOCETHTOOL, &request) == 0;
}

} // namespace

struct Wire::Batch {
    std::array<std::array<uint8_t, packet_bytes_max>, batch> bytes;
    std::array<std::array<char, 64>, batch> control;
    std::array<sockaddr_ll, batch> from;
    std::array<iovec, batch> vectors;
    std::array<mmsghdr, batch> messages;
    int64_t offset_ns; // CLOCK_MONOTONIC less CLOCK_REALTIME, which the kernel stamps with
};

int64_t now_ns() {
    return clock_ns(CLOCK_MONOTONIC);
}

Wire::~Wire() {
    if (fd_ >= 0)
        close(fd_);
    delete batch_;
}

bool Wire::open(const std::string& device, const std::array<uint8_t, 6>& peer, std::string& error) {
    const auto fails = [&](const char* what) {
        error = device + ": " + what + ": " + strerrordesc_np(errno);
        return false;
    };
    batch_ = new Batch{};
    peer_ = peer;
    index_ = static_cast<int>(if_nametoindex(device.c_str()));
    if (index_ == 0)
        return fails("no such device");
    fd_ = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0)
        return fails("packet socket");
    // Joining and checksums are the other end's; here the same is switched off for what the link
    // sends.
    if (!switch_off(fd_, device, ETHTOOL_SGSO) || !switch_off(fd_, device, ETHTOOL_SGRO) ||
        !switch_off(fd_, device, ETHTOOL_STXCSUM))
        return fails("ethtool");
    const int on = 1;
    if (setsockopt(fd_, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0 ||
        setsockopt(fd_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0 ||
        setsockopt(
            fd_, SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer_bytes, sizeof receive_buffer_bytes) !=
            0 ||
        setsockopt(
            fd_, SOL_SOCKET, SO_SNDBUFFORCE, &receive_buffer_bytes, sizeof receive_buffer_bytes) !=
            0)
        return fails("socket options");
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = index_;
    if (bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return fails("bind");
    return true;
}

int Wire::receive() {
    for (size_t i = 0; i < batch; ++i) {
        batch_->vectors[i] = {batch_->bytes[i].data(), packet_bytes_max};
        msghdr& header = batch_->messages[i].msg_hdr;
        header = {};
        header.msg_name = &batch_->from[i];
        header.msg_namelen = sizeof(sockaddr_ll);
        header.msg_iov = &batch_->vectors[i];
        header.msg_iovlen = 1;
        header.msg_control = batch_->control[i].data();
        header.msg_controllen = batch_->control[i].size();
    }
    const int count = recvmmsg(fd_, batch_->messages.data(), batch, MSG_DONTWAIT, nullptr);
    // The two clocks are read one after the other: the middle of two readings is nearer than
    // either.
    const int64_t before = clock_ns(CLOCK_MONOTONIC);
    const int64_t real = clock_ns(CLOCK_REALTIME);
    batch_->offset_ns = before + (clock_ns(CLOCK_MONOTONIC) - before) / 2 - real;
    return count;
}

bool Wire::came(size_t index) const {
    const uint16_t protocol = ntohs(batch_->from[index].sll_protocol);
    return batch_->from[index].sll_pkttype == PACKET_HOST &&
           (protocol == ETH_P_IP || protocol == ETH_P_IPV6);
}

Bytes Wire::packet(size_t index) const {
    const auto* begin = batch_->bytes[index].data();
    return {begin, begin + batch_->messages[index].msg_len};
}

int64_t Wire::at_ns(size_t index) const {
    const msghdr& header = batch_->messages[index].msg_hdr;
    for (cmsghdr* item = CMSG_FIRSTHDR(&header); item;
         item = CMSG_NXTHDR(const_cast<msghdr*>(&header), item)) {
        if (item->cmsg_level == SOL_SOCKET && item->cmsg_type == SCM_TIMESTAMPNS) {
            timespec stamp{};
            std::memcpy(&stamp, CMSG_DATA(item), sizeof stamp);
            return nanoseconds_of(stamp) + batch_->offset_ns;
        }
    }
    return now_ns();
}

bool Wire::send(const Bytes& packet) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(packet[0] >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6);
    address.sll_ifindex = index_;
    address.sll_halen = static_cast<uint8_t>(peer_.size());
    std::ranges::copy(peer_, address.sll_addr);
    return sendto(
               fd_, packet.data(), packet.size(), MSG_DONTWAIT,
               reinterpret_cast<const sockaddr*>(&address),
               sizeof address) == static_cast<ssize_t>(packet.size());
}

uint64_t Wire::drops() {
    tpacket_stats statistics{};
    socklen_t size = sizeof statistics;
    if (getsockopt(fd_, SOL_PACKET, PACKET_STATISTICS, &statistics, &size) != 0)
        return 0;
    return statistics.tp_drops;
}

} // namespace riposte::link

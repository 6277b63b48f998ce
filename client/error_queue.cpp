#include "client/error_queue.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace riposte::client {

void set_error_queue(int fd, int family, bool on) {
    const int value = on ? 1 : 0;
    // An IPv6 socket that is connected to an IPv4 address hears of it by the other option.
    ::setsockopt(fd, IPPROTO_IP, IP_RECVERR, &value, sizeof(value));
    if (family == AF_INET6)
        ::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &value, sizeof(value));
}

int take_queued_error(int fd) {
    for (;;) {
        alignas(cmsghdr) std::array<std::byte, 512> control;
        msghdr message{};
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        if (::recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return 0;
        for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
             part = CMSG_NXTHDR(&message, part)) {
            const bool is_error =
                (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR) ||
                (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR);
            if (!is_error || part->cmsg_len < CMSG_LEN(sizeof(sock_extended_err)))
                continue;
            sock_extended_err error{};
            std::memcpy(&error, CMSG_DATA(part), sizeof(error));
            if (error.ee_errno != 0)
                return static_cast<int>(error.ee_errno);
        }
    }
}

} // namespace riposte::client

// The harnesses of epoll and io_uring: real sockets on the loopback interface.
#include "build_features.h"
#include "common/fd.h"
#include "daemon/io/epoll_backend.h"
#include "daemon/listen/listen_socket.h"
#include "tests/conformance/harness.h"
#include "tests/support/has_ipv6.h"
#include "tests/support/has_trains.h"
#if RIPOSTE_HAVE_IO_URING
#include "daemon/io/uring_backend.h"
#endif

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

namespace riposte::test {
namespace {

constexpr int socket_buffer_bytes = 64 * 1024;

SocketAddress numeric_address(const std::string& host, uint16_t port) {
    SocketAddress address;
    sockaddr_in v4{};
    sockaddr_in6 v6{};
    if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        std::memcpy(&address.storage, &v4, sizeof v4);
        address.size = sizeof v4;
    } else if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(port);
        std::memcpy(&address.storage, &v6, sizeof v6);
        address.size = sizeof v6;
    }
    return address;
}

void set_buffers(int fd) {
    ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &socket_buffer_bytes, sizeof socket_buffer_bytes);
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &socket_buffer_bytes, sizeof socket_buffer_bytes);
}

class KernelHarness : public Harness {
public:
    ~KernelHarness() override {
        permit();
        destroy_backend();
        for (const int fd : accepted_)
            if (is_open(fd))
                ::close(fd);
    }

    int listen() override {
        Fd fd = bound({Transport::tcp, numeric_address("127.0.0.1", 0)});
        set_buffers(fd.get());
        return keep(std::move(fd));
    }

    int datagram_socket(Bound bound_to) override {
        ListenAddress address{Transport::udp, {}};
        address.dual_stack = bound_to == Bound::dual_stack;
        const char* host = bound_to == Bound::ipv4       ? "127.0.0.1"
                           : bound_to == Bound::ipv6     ? "::1"
                           : bound_to == Bound::any_ipv4 ? "0.0.0.0"
                                                         : "::";
        address.address = numeric_address(host, 0);
        return keep(bound(address));
    }

    bool has_ipv6() override { return test::has_ipv6(); }
    bool is_open(int fd) override { return ::fcntl(fd, F_GETFD) >= 0; }

    void refuse_descriptors() override {
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &descriptors_) == 0);
        const Fd lowest(::dup(0));
        REQUIRE(lowest);
        rlimit lowered = descriptors_;
        lowered.rlim_cur = static_cast<rlim_t>(lowest.get());
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &lowered) == 0);
        refused_ = true;
    }
    void permit_descriptors() override { permit(); }
    bool peers_wake() const override { return true; }

    int connect(int listener) override {
        Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(fd);
        set_buffers(fd.get());
        const SocketAddress address = local_address(listener);
        REQUIRE(::connect(fd.get(), address.get(), address.size) == 0);
        ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
        return keep(std::move(fd));
    }
    int32_t peer_send(int peer, std::span<const std::byte> bytes) override {
        const ssize_t size =
            ::send(sockets_[index(peer)].get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        return size >= 0 ? static_cast<int32_t>(size) : -errno;
    }
    int32_t peer_receive(int peer, std::span<std::byte> bytes) override {
        const ssize_t size = ::recv(sockets_[index(peer)].get(), bytes.data(), bytes.size(), 0);
        return size >= 0 ? static_cast<int32_t>(size) : -errno;
    }
    void peer_finish(int peer) override { ::shutdown(sockets_[index(peer)].get(), SHUT_WR); }
    void peer_reset(int peer) override {
        const linger reset{.l_onoff = 1, .l_linger = 0};
        Fd& fd = sockets_[index(peer)];
        ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        fd.reset();
    }

    int pass_on(int fd) override {
        constexpr int out_of_the_way = 500;
        const int number = ::fcntl(fd, F_DUPFD_CLOEXEC, out_of_the_way);
        REQUIRE(number >= 0);
        ::close(fd);
        std::erase(accepted_, fd);
        accepted_.push_back(number);
        return number;
    }
    int32_t read_directly(int fd, std::span<std::byte> bytes) override {
        const ssize_t size = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
        return size >= 0 ? static_cast<int32_t>(size) : -errno;
    }
    void bring_back(int /*fd*/) override {}

    int requester(int fd, const std::string& address) override {
        const SocketAddress to = numeric_address(address, local_address(fd).port());
        Fd requester(::socket(to.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        REQUIRE(requester);
        std::erase(accepted_, requester.get());
        const SocketAddress from = numeric_address(to.family() == AF_INET ? "127.0.0.1" : "::1", 0);
        REQUIRE(::bind(requester.get(), from.get(), from.size) == 0);
        requested_.push_back(to);
        requesters_.push_back(std::move(requester));
        return static_cast<int>(requesters_.size() - 1);
    }
    bool request(int requester, std::span<const std::byte> bytes, uint16_t segment_bytes) override {
        if (segment_bytes != 0 && !has_trains())
            return false;
        const int fd = requesters_[index(requester)].get();
        const int segment = segment_bytes;
        if (::setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) != 0 && segment != 0)
            return false;
        const SocketAddress& to = requested_[index(requester)];
        const ssize_t sent = ::sendto(fd, bytes.data(), bytes.size(), 0, to.get(), to.size);
        if (segment == 0)
            REQUIRE(sent == static_cast<ssize_t>(bytes.size()));
        return sent == static_cast<ssize_t>(bytes.size());
    }
    SocketAddress requester_address(int requester) override {
        return local_address(requesters_[index(requester)].get());
    }
    SocketAddress requested_address(int requester) override { return requested_[index(requester)]; }
    std::optional<sim::Datagram> reply_to(int requester) override {
        Bytes bytes(datagram_bytes_max);
        SocketAddress from;
        from.size = sizeof from.storage;
        const ssize_t size = ::recvfrom(
            requesters_[index(requester)].get(), bytes.data(), bytes.size(), 0, from.get(),
            &from.size);
        if (size < 0)
            return std::nullopt;
        bytes.resize(static_cast<size_t>(size));
        return sim::Datagram{.peer = requester_address(requester), .local = from, .bytes = bytes};
    }
    void block_reply(BufferId buffer) override {
        // Sending to the broadcast address without SO_BROADCAST fails with EACCES.
        datagrams().info(buffer).peer.v4.sin_addr.s_addr = INADDR_BROADCAST;
    }

    bool provoke_error(int fd) override {
        Fd closed(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        const SocketAddress any = numeric_address("127.0.0.1", 0);
        REQUIRE(::bind(closed.get(), any.get(), any.size) == 0);
        const SocketAddress to = local_address(closed.get());
        closed.reset(); // so that it answers with an error
        constexpr int on = 1;
        REQUIRE(::setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on) == 0);
        REQUIRE(::sendto(fd, "", 0, 0, to.get(), to.size) == 0);
        return true;
    }
    bool has_errors(int fd) override {
        pollfd errors{.fd = fd, .events = 0, .revents = 0};
        return ::poll(&errors, 1, 0) == 1;
    }

protected:
    void accepted(int fd) override { accepted_.push_back(fd); }

private:
    static size_t index(int number) { return static_cast<size_t>(number); }

    static Fd bound(const ListenAddress& address) {
        auto fd = bind_socket(address, false);
        REQUIRE_MESSAGE(fd.has_value(), to_string(address));
        return std::move(*fd);
    }

    /// Keeps a listener, datagram socket or peer, and returns its number, which is its descriptor.
    int keep(Fd fd) {
        const int number = fd.get();
        std::erase(accepted_, number); // an accepted connection of that number has been closed
        sockets_.resize(std::max(sockets_.size(), index(number) + 1));
        sockets_[index(number)] = std::move(fd);
        return number;
    }

    void permit() {
        if (std::exchange(refused_, false))
            ::setrlimit(RLIMIT_NOFILE, &descriptors_);
    }

    std::vector<Fd> sockets_; ///< by number
    std::vector<Fd> requesters_;
    std::vector<SocketAddress> requested_;
    std::vector<int> accepted_;
    rlimit descriptors_{};
    bool refused_ = false;
};

class EpollHarness final : public KernelHarness {
public:
    std::string open() override {
        auto opened = EpollBackend::open(pools());
        if (!opened)
            return opened.error().message;
        set_backend(std::move(*opened));
        return "";
    }
};

#if RIPOSTE_HAVE_IO_URING
class UringHarness final : public KernelHarness {
public:
    explicit UringHarness(bool deferred_task_run, bool capped_receive)
        : deferred_task_run_(deferred_task_run), capped_receive_(capped_receive) {}

    std::string open() override {
        auto opened = UringBackend::open(pools(), {deferred_task_run_, capped_receive_});
        if (!opened)
            return opened.error().text;
        const std::string lacking = (*opened)->lacking().text;
        INFO("lacking: ", lacking);
        if (!deferred_task_run_)
            CHECK(lacking.find("deferred task run") != std::string::npos);
        if (!capped_receive_)
            CHECK(lacking.find("capped multishot receive") != std::string::npos);
        set_backend(std::move(*opened));
        return "";
    }

private:
    bool deferred_task_run_;
    bool capped_receive_;
};
#endif

} // namespace

std::unique_ptr<Harness> make_epoll() {
    return std::make_unique<EpollHarness>();
}

#if RIPOSTE_HAVE_IO_URING
std::unique_ptr<Harness> make_uring() {
    return std::make_unique<UringHarness>(true, true);
}
std::unique_ptr<Harness> make_uring_uncapped() {
    return std::make_unique<UringHarness>(true, false);
}
std::unique_ptr<Harness> make_uring_coop() {
    return std::make_unique<UringHarness>(false, true);
}
#endif

} // namespace riposte::test

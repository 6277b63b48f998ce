// A limit, not a peer: unsafe, no backpressure; a mark to approach and beat.
//
// One ring: multishot accept, multishot receive into a provided-buffer ring, plain sends, one
// submit-and-wait for each turn. A buffer is returned when its send has completed. Several sends of
// a connection may be in flight, which reorders bytes when the peer reads late, and the rest of a
// short send is lost. Datagrams: multishot recvmsg and sendmsg, for comparison with recvmmsg and
// sendmmsg.
#include "start.h"

#include <array>
#include <memory>
#include <vector>

#include <liburing.h>
#include <sys/mman.h>

namespace {

constexpr unsigned ring_entries = 1024;
constexpr unsigned completion_entries = 32768;
constexpr unsigned completions_max = 512; // in one turn
constexpr unsigned stream_buffers = 1024;
constexpr unsigned datagram_buffers = 256;
constexpr uint16_t group = 0;

enum class Kind : uint8_t { accept, receive, send, greet, close };

/// Kind, buffer and descriptor are all that a completion needs to know.
uint64_t pack(Kind kind, int fd, uint16_t buffer = 0) {
    return uint64_t{static_cast<uint32_t>(fd)} | uint64_t{buffer} << 32 |
           uint64_t{static_cast<uint8_t>(kind)} << 48;
}
Kind kind_of(uint64_t data) {
    return static_cast<Kind>(data >> 48);
}
int fd_of(uint64_t data) {
    return static_cast<int>(static_cast<uint32_t>(data));
}
uint16_t buffer_of(uint64_t data) {
    return static_cast<uint16_t>(data >> 32);
}
uint16_t buffer_of(const io_uring_cqe& cqe) {
    return static_cast<uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
}

void check(int status, const char* what) {
    if (status < 0)
        bench::die(what, -status);
}

class Ring {
public:
    Ring(unsigned buffers, size_t buffer_bytes)
        : count_(buffers), size_(static_cast<unsigned>(buffer_bytes)),
          memory_(new char[buffers * buffer_bytes]) {
        io_uring_params params{};
        params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                       IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
        params.cq_entries = completion_entries;
        check(io_uring_queue_init_params(ring_entries, &ring_, &params), "io_uring_queue_init");
        check(io_uring_register_ring_fd(&ring_), "io_uring_register_ring_fd");
        void* shared = mmap(
            nullptr, buffers * sizeof(io_uring_buf), PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (shared == MAP_FAILED)
            bench::die("mmap");
        provided_ = static_cast<io_uring_buf_ring*>(shared);
        io_uring_buf_reg reg{};
        reg.ring_addr = reinterpret_cast<uintptr_t>(shared);
        reg.ring_entries = buffers;
        reg.bgid = group;
        check(io_uring_register_buf_ring(&ring_, &reg, 0), "io_uring_register_buf_ring");
        io_uring_buf_ring_init(provided_);
        for (unsigned i = 0; i < buffers; i++)
            give_back(static_cast<uint16_t>(i));
        publish();
    }

    char* buffer(uint16_t id) const { return memory_.get() + size_t{id} * size_; }

    io_uring_sqe* sqe() {
        io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
        while (sqe == nullptr) {
            check(io_uring_submit(&ring_), "io_uring_submit");
            sqe = io_uring_get_sqe(&ring_);
        }
        return sqe;
    }

    void give_back(uint16_t id) {
        io_uring_buf_ring_add(
            provided_, buffer(id), size_, id, io_uring_buf_ring_mask(count_), returned_++);
    }

    /// False if no buffer came back since the last time.
    bool publish() {
        if (returned_ == 0)
            return false;
        io_uring_buf_ring_advance(provided_, returned_);
        returned_ = 0;
        return true;
    }

    /// Submits, waits, and calls handle(cqe) for each completion.
    template<class Handle>
    void turn(Handle handle) {
        const int status = io_uring_submit_and_wait(&ring_, 1);
        if (status < 0 && status != -EINTR)
            bench::die("io_uring_submit_and_wait", -status);
        std::array<io_uring_cqe*, completions_max> cqes;
        const unsigned count = io_uring_peek_batch_cqe(&ring_, cqes.data(), completions_max);
        for (unsigned i = 0; i < count; i++)
            handle(*cqes[i]);
        io_uring_cq_advance(&ring_, count);
    }

private:
    io_uring ring_{};
    io_uring_buf_ring* provided_ = nullptr;
    unsigned count_;
    unsigned size_;
    int returned_ = 0; ///< not published yet
    std::unique_ptr<char[]> memory_;
};

class Streams {
public:
    Streams(uint16_t port, bool greets)
        : ring_(stream_buffers, bench::stream_buffer_bytes), greets_(greets),
          listener_(bench::bound_socket(SOCK_STREAM, port)) {
        accept();
    }

    void turn() {
        ring_.turn([this](const io_uring_cqe& cqe) { on_completion(cqe); });
        // Before a buffer came back, a receive that starved would only starve again.
        if (ring_.publish()) {
            for (int fd : starved_)
                receive(fd);
            starved_.clear();
        }
    }

private:
    /// `last`: the peer left while it was under way.
    enum class Greeting : uint8_t { owed, under_way, last, done };

    void accept() {
        io_uring_sqe* sqe = ring_.sqe();
        io_uring_prep_multishot_accept(sqe, listener_, nullptr, nullptr, SOCK_CLOEXEC);
        sqe->user_data = pack(Kind::accept, listener_);
    }

    void receive(int fd) {
        io_uring_sqe* sqe = ring_.sqe();
        io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = group;
        sqe->user_data = pack(Kind::receive, fd);
    }

    void send(int fd, const char* data, size_t size, uint64_t user_data) {
        io_uring_sqe* sqe = ring_.sqe();
        io_uring_prep_send(sqe, fd, data, size, MSG_NOSIGNAL);
        sqe->user_data = user_data;
    }

    void close(int fd) {
        io_uring_sqe* sqe = ring_.sqe();
        io_uring_prep_close(sqe, fd);
        sqe->user_data = pack(Kind::close, fd);
    }

    void on_accept(const io_uring_cqe& cqe) {
        if (cqe.res >= 0) {
            const auto fd = static_cast<size_t>(cqe.res);
            if (greetings_.size() <= fd)
                greetings_.resize(fd + 1);
            greetings_[fd] = Greeting::owed;
            receive(cqe.res);
        }
        if ((cqe.flags & IORING_CQE_F_MORE) == 0)
            accept();
    }

    void on_receive(const io_uring_cqe& cqe) {
        const int fd = fd_of(cqe.user_data);
        if (cqe.res == -ENOBUFS) {
            starved_.push_back(fd);
            return;
        }
        if (cqe.res > 0)
            on_bytes(fd, buffer_of(cqe), static_cast<size_t>(cqe.res));
        else if ((cqe.flags & IORING_CQE_F_BUFFER) != 0)
            ring_.give_back(buffer_of(cqe));
        if (cqe.res <= 0)
            on_end(fd);
        else if ((cqe.flags & IORING_CQE_F_MORE) == 0)
            receive(fd);
    }

    void on_bytes(int fd, uint16_t buffer, size_t size) {
        if (!greets_)
            return send(fd, ring_.buffer(buffer), size, pack(Kind::send, fd, buffer));
        ring_.give_back(buffer);
        Greeting& greeting = greetings_[static_cast<size_t>(fd)];
        if (greeting != Greeting::owed)
            return;
        greeting = Greeting::under_way;
        send(fd, bench::greeting.data(), bench::greeting.size(), pack(Kind::greet, fd));
    }

    /// What still has to be shut down keeps its descriptor, lest the next one with it is.
    void on_end(int fd) {
        Greeting& greeting = greetings_[static_cast<size_t>(fd)];
        if (greeting == Greeting::under_way)
            greeting = Greeting::last;
        else
            close(fd);
    }

    void on_greeted(int fd) {
        Greeting& greeting = greetings_[static_cast<size_t>(fd)];
        if (greeting == Greeting::last)
            return close(fd);
        greeting = Greeting::done;
        // The system call itself: a ring hands it to another thread.
        shutdown(fd, SHUT_WR);
    }

    void on_completion(const io_uring_cqe& cqe) {
        switch (kind_of(cqe.user_data)) {
        case Kind::accept:
            return on_accept(cqe);
        case Kind::receive:
            return on_receive(cqe);
        case Kind::send:
            return ring_.give_back(buffer_of(cqe.user_data));
        case Kind::greet:
            return on_greeted(fd_of(cqe.user_data));
        case Kind::close:
            return;
        }
    }

    Ring ring_;
    bool greets_;
    int listener_;
    std::vector<Greeting> greetings_; ///< by descriptor
    std::vector<int> starved_;        ///< whose receive found no buffer
};

class Datagrams {
public:
    explicit Datagrams(uint16_t port)
        : ring_(datagram_buffers, buffer_bytes), fd_(bench::bound_socket(SOCK_DGRAM, port)),
          answers_(datagram_buffers) {
        layout_.msg_namelen = sizeof(sockaddr_in);
        receive();
    }

    void turn() {
        ring_.turn([this](const io_uring_cqe& cqe) {
            if (kind_of(cqe.user_data) == Kind::receive)
                on_receive(cqe);
            else
                ring_.give_back(buffer_of(cqe.user_data));
        });
        if (ring_.publish() && ended_)
            receive();
    }

private:
    /// The kernel writes a head and the peer's address before the datagram.
    static constexpr size_t buffer_bytes = bench::datagram_buffer_bytes + 64;

    struct Answer {
        msghdr header;
        iovec vector;
    };

    void receive() {
        io_uring_sqe* sqe = ring_.sqe();
        io_uring_prep_recvmsg_multishot(sqe, fd_, &layout_, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = group;
        sqe->user_data = pack(Kind::receive, fd_);
        ended_ = false;
    }

    void on_receive(const io_uring_cqe& cqe) {
        if ((cqe.flags & IORING_CQE_F_BUFFER) != 0)
            on_datagram(buffer_of(cqe), cqe.res);
        if ((cqe.flags & IORING_CQE_F_MORE) == 0)
            ended_ = true;
        if (ended_ && cqe.res != -ENOBUFS)
            receive();
    }

    void on_datagram(uint16_t buffer, int size) {
        io_uring_recvmsg_out* out = io_uring_recvmsg_validate(ring_.buffer(buffer), size, &layout_);
        if (out == nullptr)
            return ring_.give_back(buffer);
        Answer& answer = answers_[buffer];
        answer.vector = {
            io_uring_recvmsg_payload(out, &layout_),
            io_uring_recvmsg_payload_length(out, size, &layout_)};
        answer.header = {};
        answer.header.msg_name = io_uring_recvmsg_name(out);
        answer.header.msg_namelen = out->namelen;
        answer.header.msg_iov = &answer.vector;
        answer.header.msg_iovlen = 1;
        io_uring_sqe* sqe = ring_.sqe();
        io_uring_prep_sendmsg(sqe, fd_, &answer.header, MSG_NOSIGNAL);
        sqe->user_data = pack(Kind::send, fd_, buffer);
    }

    Ring ring_;
    int fd_;
    bool ended_ = false;          ///< the receive has ended and was not started again
    msghdr layout_{};             ///< of what the kernel writes into a buffer
    std::vector<Answer> answers_; ///< by buffer
};

template<class Server>
[[noreturn]] void serve(Server& server) {
    bench::say_ready();
    for (;;)
        server.turn();
}

} // namespace

int main(int argc, char** argv) {
    const auto [mode, port] = bench::start(argc, argv);
    if (mode == bench::Mode::udp) {
        Datagrams datagrams(port);
        serve(datagrams);
    }
    Streams streams(port, mode == bench::Mode::hello);
    serve(streams);
}

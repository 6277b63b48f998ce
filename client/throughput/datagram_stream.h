// A direction over UDP, at a bitrate: this machine sends datagrams, and counts what comes back.
//
// Both directions send. A discard service answers nothing, chargen answers each datagram with one
// of its own, an echo sends it back. Our datagrams begin with a probe's header (probe.h), so that
// the answers of an echo are identified one by one; others are only counted. Loss is that of the
// way there and back together: nothing tells here which of the two lost a datagram.
//
// Trains are segmented by the kernel (UDP_SEGMENT, udp(7)) where it can, and sent by sendmmsg(2)
// where not. Of answers only the header is copied; MSG_TRUNC returns their length.
#pragma once

#include "client/throughput/answer_window.h"
#include "client/throughput/bit_schedule.h"
#include "client/throughput/stream.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <sys/socket.h>

namespace riposte::client {

class DatagramStream final : public Stream {
public:
    DatagramStream(StreamSetup given, EventLoop& its_loop, StreamResult& its_result);

    Result<void> open() override;
    void start(uint64_t now_ns) override;
    void handle(uint32_t index, uint32_t events) override;
    void pump(uint64_t now_ns) override;
    uint64_t next_pump_ns() const override { return next_pump_ns_; }
    RateSample sample() override;
    bool is_over() const override;
    bool has_progress() const override { return result().datagrams.answered > 0; }
    void stop(uint64_t now_ns) override;
    bool is_settled(uint64_t now_ns) override;
    void finish() override;
    std::optional<Error> fatal() const override;

private:
    struct Socket {
        Fd fd;
        uint32_t session = 0;
        uint64_t sent = 0; ///< the number of the last datagram
        AnswerWindow answers;
    };
    enum class Sent : uint8_t { all, full, failed };

    uint64_t left() const;
    Sent send_train(Socket& socket, size_t count);
    ssize_t send_segmented(int fd, size_t count);
    ssize_t send_each(int fd, size_t count);
    void receive(Socket& socket);
    void take(Socket& socket, std::span<const std::byte> head, size_t bytes);
    void take_errors(int fd);
    void note_path();

    std::vector<Socket> sockets_;
    BitSchedule schedule_;
    size_t train_max_;
    std::vector<std::byte> train_; ///< datagrams behind each other
    std::vector<iovec> pieces_;    ///< ... each of them
    std::vector<mmsghdr> messages_;
    std::vector<std::byte> heads_; ///< of what is received
    std::vector<iovec> head_pieces_;
    std::vector<mmsghdr> received_;
    size_t next_socket_ = 0;
    uint64_t bytes_sent_ = 0;
    uint64_t next_pump_ns_ = UINT64_MAX;
    uint64_t stopped_ns_ = UINT64_MAX;
    bool segments_ = true;
    std::optional<Cause> refusal_;
};

} // namespace riposte::client

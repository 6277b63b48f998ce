// A direction over TCP connections, all opened before the start and never opened again: one that
// ends before the run does is counted with its cause, and the others go on.
//
// Upload: pages of a file in memory are sent without copying them here (sendfile(2)); what counts
// is what the peer acknowledged. What a peer sends all the same is read and thrown away, or an echo
// would fill its buffers and stall the upload by itself.
//
// Download: bytes are thrown away in the kernel (MSG_TRUNC, tcp(7)), never copied, so that reading
// costs as little as it can and the sender is not held back by this process.
//
// Events are level-triggered: each turn serves a socket once, so that all have their share, and so
// that the other direction has.
#pragma once

#include "client/throughput/stream.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace riposte::client {

class TcpStream : public Stream {
public:
    TcpStream(StreamSetup given, EventLoop& its_loop, StreamResult& its_result);
    ~TcpStream() override;

    Result<void> open() override;
    void start(uint64_t now_ns) override;
    void observe() override;
    void finish() override;

protected:
    enum class State : uint8_t { closed, connecting, open };

    struct Connection {
        int fd = -1;
        State state = State::closed;
        uint32_t watched = 0;      ///< the events that the loop waits for
        uint64_t started_ns = 0;   ///< when connecting began
        uint64_t acked_before = 0; ///< what TCP_INFO said before the first byte: the SYN
        uint64_t acked = 0;        ///< since then, as last read
        uint64_t retransmits = 0;  ///< as last read
    };

    virtual uint32_t wanted_events() const = 0;
    /// The last reading of a connection that is about to be closed.
    virtual void note_end(Connection& connection, const TcpReading& reading) = 0;

    void watch(Connection& connection, uint32_t events);
    /// Reads and discards what waits; false: the connection has ended.
    bool discard(Connection& connection, uint64_t& received);
    void end(Connection& connection, int error);
    uint32_t open_connections() const { return open_; }
    /// An estimate of the round trip from a reading; 0: none.
    virtual uint64_t round_trip_ns(const TcpReading& reading) const = 0;

    std::vector<Connection>& connections() { return connections_; }

private:
    std::optional<Failure> begin(Connection& connection);
    std::optional<Failure> try_finish(Connection& connection);
    Result<void> fail_opening(const Failure& failure);
    void close(Connection& connection);

    std::vector<Connection> connections_;
    uint32_t open_ = 0;
    uint32_t observed_ = 0; ///< the connection that observe() reads next
};

class UploadStream final : public TcpStream {
public:
    UploadStream(StreamSetup given, EventLoop& its_loop, StreamResult& its_result);

    Result<void> open() override;
    void start(uint64_t now_ns) override;
    void handle(uint32_t index, uint32_t events) override;
    void pump(uint64_t now_ns) override;
    uint64_t next_pump_ns() const override { return next_look_ns_; }
    RateSample sample() override;
    bool is_over() const override;
    bool has_progress() const override { return sampled_.bytes > 0; }
    void finish() override;

protected:
    uint32_t wanted_events() const override;
    void note_end(Connection& connection, const TcpReading& reading) override;
    uint64_t round_trip_ns(const TcpReading& reading) const override {
        return reading.smoothed_rtt_ns;
    }

private:
    void write(Connection& connection);
    void pace(int fd) const;
    void note_limits(const TcpReading& reading);
    bool is_written() const { return left_ == 0; }

    Fd pages_;
    uint64_t left_; ///< bytes that may still be written
    uint64_t written_ = 0;
    RateSample ended_; ///< of connections that are closed
    RateSample sampled_;
    uint64_t next_look_ns_ = UINT64_MAX; ///< all is written: whether it is acknowledged
};

class DownloadStream final : public TcpStream {
public:
    DownloadStream(StreamSetup given, EventLoop& its_loop, StreamResult& its_result);

    void start(uint64_t now_ns) override;
    void handle(uint32_t index, uint32_t events) override;
    RateSample sample() override;
    bool is_over() const override;
    bool has_progress() const override { return received_ > 0; }
    void finish() override;

protected:
    uint32_t wanted_events() const override;
    void note_end(Connection& connection, const TcpReading& reading) override;
    uint64_t round_trip_ns(const TcpReading& reading) const override {
        return reading.receive_rtt_ns;
    }

private:
    void note_receive_buffer();

    uint64_t received_ = 0;
    uint64_t received_before_ = 0; ///< the start: a chargen service sends at once
};

} // namespace riposte::client

// Which bytes of a TCP connection answer which probe. Sans-I/O.
//
// An echo answers in order, so that the next `payload_bytes` belong to the oldest probe on the
// connection, its front. Where a peer leaves bytes out, or adds some, the probes' own headers show
// it: whole bytes that are not what the front expects are searched for the header of a probe that
// is on this connection, and the bytes in front of it are a short answer, or unsolicited.
// Bytes that fit nowhere spoil the stream, since the start of the next answer is unknown then.
//
// What resembles no probe before any echo was seen comes from another service, whose answers have
// no length that could be known: what was read at once is one answer.
//
// A probe that has expired keeps its place, so that its answer is not taken for another probe's;
// the answer itself is ignored.
#pragma once

#include "client/net/receive_room.h"
#include "client/net/receive_time.h"
#include "client/ping/ping_account.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace riposte::client {

class AnswerStream {
public:
    /// Unsolicited bytes, after which the connection is given up.
    static constexpr size_t unasked_bytes_max = size_t{1} << 20;
    /// Read at once where the length of an answer is not known.
    static constexpr size_t chunk_bytes = receive_room_bytes;

    using Listener = std::function<void(const ProbeOutcome&, ReceiveClock)>;

    /// `stride`: between the sequence numbers of probes on one connection.
    AnswerStream(size_t payload_bytes, uint32_t session, uint64_t stride = 1)
        : payload_bytes_(payload_bytes), session_(session), stride_(stride) {}

    /// A new connection. `echo_seen`: on an earlier one.
    void open(bool echo_seen);
    /// A probe was given to the connection, whose number is that of the one before and `stride`.
    void expect(uint64_t sequence);

    bool idle() const { return front_ == end_; }    ///< no probe is unanswered
    uint64_t front() const { return front_; }       ///< the oldest unanswered one, unless idle
    uint64_t end() const { return end_; }           ///< one stride past the last
    uint64_t answered() const { return answered_; } ///< how many probes had an answer
    bool has_partial() const { return !answer_.empty(); }
    bool echo_seen() const { return echo_seen_; }

    /// How many bytes to read at most, so that their time of arrival is that of one answer: 1 to
    /// chunk_bytes.
    size_t wanted(const PingResult& result) const;
    /// Takes what was read. False: the stream is out of step and must be closed.
    bool take(
        std::span<const std::byte> bytes, ReceiveTime received, PingAccount& account,
        const Listener& listener);
    /// No more bytes come for the front: its answer is what has arrived.
    void end_partial(PingAccount& account, const Listener& listener);

private:
    struct Place {
        size_t offset;
        uint64_t sequence;
    };

    std::span<const std::byte> whole() const { return std::span(answer_).first(payload_bytes_); }
    bool is_other_service(PingAccount& account) const;
    bool is_echo(std::span<const std::byte> bytes) const;
    bool is_on_connection(uint64_t sequence) const;
    bool is_like(PingAccount& account, uint64_t sequence, uint64_t other) const;
    std::optional<Place> find_probe() const;
    std::optional<Place> find_cut_probe(PingAccount& account) const;
    bool take_whole(PingAccount& account, const Listener& listener);
    void resolve(
        size_t bytes, ReceiveTime received, PingAccount& account, const Listener& listener);
    void drop(size_t bytes);

    size_t payload_bytes_;
    uint32_t session_;
    uint64_t stride_;
    uint64_t front_ = 0;
    uint64_t end_ = 0;
    uint64_t answered_ = 0;
    bool echo_seen_ = false;
    size_t unasked_bytes_ = 0;
    std::vector<std::byte> answer_; ///< of the front, as far as it came
    ReceiveTime first_;
    ReceiveTime last_;
};

} // namespace riposte::client

// Load over TCP with a connection for each request: because it was asked for, or because the peer
// closes after an answer.
//
// A slot takes the place of a connection: it carries one request at a time, from connecting to
// the end of the connection. The client ends it after the answer; a peer that closes by itself
// is waited for, since until then its connection is not done. The latency counts from when the
// connection was made; the time to connect is recorded separately.
#pragma once

#include "client/load/answer_checker.h"
#include "client/load/load_engine.h"

#include <optional>

namespace riposte::client {

class ReconnectLoad final : public LoadEngine {
public:
    explicit ReconnectLoad(const LoadContext& context);
    ~ReconnectLoad() override;

    /// Nothing is opened in advance.
    Result<void> open() override { return {}; }
    void start() override;
    void handle(std::span<const epoll_event> events, uint64_t now_ns) override;
    void pump(uint64_t now_ns) override;
    uint64_t next_pump_ns() const override { return retries_.next_ns(); }
    void sweep(uint64_t now_ns) override;
    void finish() override;

private:
    enum class State : uint8_t {
        idle,
        connecting,
        waiting, ///< for the answer
        ending,  ///< for the peer's end of the stream; the answer is complete
    };

    struct Slot {
        int fd = -1;
        State state = State::idle;
        AnswerChecker answer;
        AnswerCheck check = AnswerCheck::correct;
        bool too_long = false;
        uint32_t send_at = 0; ///< of the next byte to write, in the pattern
        uint32_t unwritten = 0;
        RequestTimes times;
        uint64_t started_ns = 0;  ///< when connecting began
        uint64_t answered_ns = 0; ///< when the answer was complete
    };

    uint32_t index_of(const Slot& slot) const {
        return static_cast<uint32_t>(&slot - slots_.data());
    }

    void next(Slot& slot, uint64_t now_ns);
    void begin(Slot& slot, const RequestTimes& times);
    void connected(Slot& slot, uint64_t now_ns);
    int write(Slot& slot);
    void receive(Slot& slot, uint64_t now_ns);
    void take(Slot& slot, std::span<const std::byte> piece, uint64_t now_ns);
    void ended(Slot& slot, int error, uint64_t now_ns);
    void complete(Slot& slot, uint64_t now_ns);
    bool has_expired(const Slot& slot, uint64_t now_ns) const;
    void failed(Slot& slot, const Cause& cause, uint64_t now_ns);
    void renew(Slot& slot, uint64_t now_ns);
    Cause cause_of_error(const Slot& slot, int error) const;
    void close(Slot& slot);

    LoadPattern pattern_;
    AnswerShape shape_;
    std::vector<Slot> slots_;
    std::vector<std::byte> buffer_;
    uint32_t next_position_ = 0; ///< in the pattern, for the next request
    RoundRobin ready_;           ///< open loop: idle slots
    RetryQueue retries_;
};

} // namespace riposte::client

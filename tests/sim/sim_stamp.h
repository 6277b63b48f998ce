// The peers of a simulated listener with the service stamp.
//
// A few senders each keep a session: they ask at their pace, now and then twice with one datagram,
// and notice in the answers whether the reflector counts on, begins anew, or counts what it should
// not. Where peers are hostile, floods from forged sources, each seen once, compete for the places
// of a small table, and answers are sent back as if they were questions. The expected fields are
// computed here, from what was asked and from the simulated clocks.
#pragma once

#include "common/stamp/packet.h"
#include "daemon/services/stamp_sessions.h"
#include "tests/sim/sim_client.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_random.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace riposte::sim {

class SimStampSenders {
public:
    /// `hostile`: with floods, a table in which places may lack, and answers that may be lost.
    SimStampSenders(uint64_t seed, bool hostile);

    /// Asks, if it is time.
    void act(World& world, const SimListener& listener);
    uint64_t next_ms() const { return left_ > 0 ? next_ms_ : never_ms; }
    /// Removes the answers to these peers, and checks each.
    void check_answers(World& world);

    /// The tables of the process.
    const std::shared_ptr<StampSessions>& sessions() const { return sessions_; }
    /// There is another process, to which the sessions were handed over, or not.
    void restart(bool handed_over);

    /// The process stood still: it may act once by the time before, so that a session seems to have
    /// been idle for as long.
    void process_paused();
    /// The wall clock was set: a question that waits may be too far from it for an answer.
    void wall_was_set();

    uint64_t asked() const { return asked_; }     ///< datagrams delivered, of floods and loops, too
    uint64_t refused() const { return refused_; } ///< of these, answers that were sent back
    uint64_t excused() const {
        return excused_;
    } ///< that may be refused, because the clock was set
    uint64_t answers() const { return answers_; }
    uint64_t kept() const { return kept_; } ///< answers that went on where the one before ended
    uint64_t follow_ups() const { return follow_ups_; } ///< that had a time
    uint32_t unanswered() const;
    const std::string& fault() const { return fault_; }

private:
    struct Sender {
        SocketAddress peer;
        SocketAddress local;
        uint16_t ssid = 0;
        std::optional<uint32_t> last{};             ///< the reflector's number in the newest answer
        uint32_t pending = 0;                       ///< deliveries without an answer so far
        std::map<uint32_t, uint64_t> transmitted{}; ///< of answers: by number, when they left
        /// Of the oldest answer from which on all questions were answered, with numbers in a row:
        /// with a gap, a session that was forgotten may look as if it went on.
        uint64_t began_ms = 0;
        uint64_t heard_ms = 0;  ///< when the newest answer came
        bool paused = false;    ///< since the newest answer
        bool confirmed = false; ///< the session must not be forgotten
    };
    struct Question {
        size_t sender;
        Datagram datagram;
        size_t asked_at; ///< in the history of the wall clock
        uint32_t deliveries = 0;
        uint32_t answers = 0;
        bool excused = false;   ///< it may be without an answer
        bool follow_up = false; ///< it asks when the answer before was transmitted
    };

    void ask(World& world, const SimListener& listener);
    void flood(World& world, const SimListener& listener);
    void send_back(World& world, const SimListener& listener);
    std::string check(const World& world, const Datagram& datagram);
    bool follows_up(const Sender& sender, uint32_t sequence, std::span<const std::byte> answer);
    std::string check_count(const World& world, Sender& sender, uint32_t sequence);

    Random random_;
    bool hostile_; ///< else no number may be missing
    std::shared_ptr<StampSessions> sessions_;
    std::vector<Sender> senders_;
    std::vector<Question> questions_;  ///< by the sender's sequence number
    std::optional<Datagram> answer_{}; ///< one that came, to be sent back
    uint32_t left_;
    uint64_t next_ms_ = 0;
    uint64_t asked_ = 0;
    uint64_t refused_ = 0;
    uint64_t excused_ = 0;
    uint64_t answers_ = 0;
    uint64_t kept_ = 0;
    uint64_t follow_ups_ = 0;
    std::string fault_;
};

} // namespace riposte::sim

// The peers of a simulated run: what each sends and reads when, and what it must have been told.
//
// A TCP client follows a Script. Every byte that it gets is checked as it comes: an echo is what it
// sent, chargen the pattern of RFC 864, hello one of the messages that were configured since it
// connected, daytime and time a second since then, discard nothing. The expectations are written
// down here again, not asked of the daemon's services.
//
// An honest client reads what it is sent without waiting for anything but a little time, and ends
// properly: it must get its complete answer and EOF. A hostile one does what it likes.
#pragma once

#include "daemon/acl/acl.h"
#include "daemon/listen/listener_config.h"
#include "daemon/listen/listener_load.h"
#include "daemon/services/service.h"
#include "daemon/tcp/tcp_limits.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_random.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace riposte::sim {

inline constexpr uint64_t never_ms = std::numeric_limits<uint64_t>::max();

/// A listener of the run, as its peers know it.
struct SimListener {
    uint64_t id = 0;
    int fd = -1;
    Transport transport = Transport::tcp;
    ServiceKind kind = ServiceKind::echo;
    std::shared_ptr<const Acl> access{};
    uint32_t connections_max = connections_most;
    std::shared_ptr<ListenerLoad> load = std::make_shared<ListenerLoad>();
    bool removed = false; ///< out of the plan
    bool closed = false;

    bool denies(const SocketAddress& peer) const {
        return access != nullptr && !access->permits(source_key(peer));
    }
};

/// What is the same for all peers, and changes.
struct World {
    SimNetwork& network;
    uint64_t now_ms = 0;
    std::vector<std::string> messages{}; ///< of hello, the current one last
    std::set<uint64_t> closed_listeners{};
    int64_t wall_offset_seconds = 1'700'000'000; ///< of the wall clock, which may jump
    /// What the wall clock has said so far, the newest last: time stands still in between, so an
    /// answer says one of these.
    std::vector<int64_t> wall_history{};

    int64_t wall_seconds() const {
        return wall_offset_seconds + static_cast<int64_t>(now_ms / 1000);
    }
    void move_to(uint64_t ms) {
        now_ms = ms;
        note_wall();
    }
    void note_wall() {
        if (wall_history.empty() || wall_history.back() != wall_seconds())
            wall_history.push_back(wall_seconds());
    }
    /// Since a place in the history.
    std::span<const int64_t> wall_since(size_t place) const {
        return std::span(wall_history).subspan(place);
    }
    size_t wall_place() const { return wall_history.size() - 1; }
};

struct Script {
    enum class Read : uint8_t { eager, slow, late, never };
    enum class End : uint8_t {
        half_close, ///< FIN after the last byte; reads to EOF
        on_eof,     ///< closes when the server has finished
        enough,     ///< closes after `want` bytes were read
        close,      ///< closes after the last byte, reading or not
        reset,
        stay, ///< never ends
    };

    bool honest = true;
    uint32_t send = 0; ///< bytes
    uint32_t chunk_max = 1000;
    uint32_t pause_ms = 0; ///< between chunks
    Read read = Read::eager;
    uint32_t read_max = 4096;             ///< at once
    uint32_t read_pause_ms = 0;           ///< slow: between reads; late: before the first
    uint32_t read_total_max = UINT32_MAX; ///< then it reads no more
    uint32_t want = 0;                    ///< End::enough
    End end = End::half_close;
    uint32_t reset_percent = 0; ///< at any step
    uint32_t stall_percent = 0; ///< likewise: nothing comes or goes for `stall_ms`, once
    uint32_t stall_ms = 0;
    uint64_t start_ms = 0;
    uint8_t source = 0; ///< 127.0.0.SOURCE; 0: by its number, of either family
};

Script honest_script(Random& random, ServiceKind kind);
Script hostile_script(Random& random);

class SimClient {
public:
    SimClient(uint32_t number, const SimListener& listener, const Script& script)
        : number_(number), listener_(listener.fd), listener_id_(listener.id), kind_(listener.kind),
          script_(script), access_(listener.access) {}

    /// Does what it can do now. `random` decides how much.
    void step(World& world, Random& random);
    /// When it could do something again, though nothing else happens.
    uint64_t next_ms(const World& world) const;

    bool honest() const { return script_.honest; }
    bool complete() const { return complete_; }
    /// What was wrong with what it got; "" if nothing.
    const std::string& fault() const { return fault_; }
    std::string describe() const;
    /// The first wrong byte among those that the server has written since this was last asked,
    /// whether anybody will ever read them or not. Before the client's next step.
    std::string check_written(const World& world);

    ServiceKind kind() const { return kind_; }
    uint64_t listener_id() const { return listener_id_; }
    /// Once it has connected; see connected().
    StreamId stream() const { return stream_; }
    bool connected() const { return connected_; }
    /// Its listener did not let it in when it connected, and has not changed its mind since.
    bool denied() const { return denied_; }
    /// The listener lets others in from now on.
    void access_changed(const World& world, const SimListener& listener);

private:
    void connect(World& world);
    void send(World& world, Random& random);
    void read(World& world, Random& random);
    void took(World& world, std::span<const std::byte> bytes);
    void at_eof(World& world);
    void end(World& world);
    void reset(World& world);
    void check(const World& world, size_t from);
    bool answered(const World& world) const;

    uint32_t number_;
    int listener_;
    uint64_t listener_id_;
    ServiceKind kind_;
    Script script_;
    std::shared_ptr<const Acl> access_;
    StreamId stream_ = 0;      ///< if connected_
    size_t first_message_ = 0; ///< the current one when it connected
    size_t connected_at_ = 0;  ///< in the history of the wall clock
    uint32_t sent_ = 0;
    uint64_t checked_ = 0;       ///< bytes that the server has written
    std::vector<std::byte> got_; ///< chargen: only counted
    uint64_t got_bytes_ = 0;
    uint64_t next_send_ms_ = 0;
    uint64_t next_read_ms_ = 0;
    uint64_t stalled_until_ms_ = 0; ///< 0: not yet
    bool tried_ = false;            ///< to connect
    bool connected_ = false;
    bool denied_ = false;
    bool finished_ = false;
    bool over_ = false;
    bool complete_ = false;
    std::string fault_;
};

/// Datagrams are served on this port, whatever the listener.
inline constexpr uint16_t served_port = 7001;

/// The peers of the datagram listeners. Each question, a datagram or a train of them, has a port of
/// its own, so that an answer tells which one it belongs to; the answers to a train come in its
/// order. The network may deliver a question twice: then it may be answered twice.
///
/// Some questions are forged, and must never be answered: their source is a port or an address
/// where an answer does harm, or they went to everybody.
class SimAskers {
public:
    void ask(World& world, Random& random, const SimListener& listener);
    /// The listener lets others in from now on: who was to be refused, and waits, may be answered.
    void access_changed(const SimListener& listener);
    /// Takes the answers that came and checks each.
    void check_answers(World& world);
    /// Datagrams that are still to be answered, dropped ones included.
    uint32_t unanswered(const World& world) const;
    /// Datagrams that were asked, forged ones and those that came twice included.
    uint64_t asked() const { return asked_; }
    uint64_t refused() const { return refused_; } ///< forged, or denied
    uint64_t trains() const { return trains_; }
    /// Datagrams that were answered to fd00::/56, where all IPv6 peers are.
    uint64_t answers_to_ipv6() const;
    const std::string& fault() const { return fault_; }

private:
    struct Question {
        Datagram datagram;
        ServiceKind kind;
        size_t asked_at; ///< in the history of the wall clock
        uint64_t listener_id;
        bool forged = false;
        bool refused = false; ///< forged, or denied: no answer may come
        uint32_t deliveries = 1;
        size_t next = 0;       ///< the datagram of it that may be answered next
        uint32_t delivery = 0; ///< of which
        uint32_t answers = 0;  ///< that came

        size_t count() const;
        std::span<const std::byte> at(size_t index) const; ///< one datagram of it
    };

    bool take(const World& world, Question& question, const Datagram& answer) const;
    static bool right(
        const World& world, const Question& question, std::span<const std::byte> asked,
        const Datagram& answer);
    static void forge(Random& random, Datagram& datagram);

    std::vector<Question> questions_; ///< by port - first_port
    uint64_t asked_ = 0;
    uint64_t refused_ = 0;
    uint64_t trains_ = 0;
    std::string fault_;
};

} // namespace riposte::sim

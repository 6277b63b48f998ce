// The peers of a simulated run: when each sends and reads, and the reply that it must get.
//
// A TCP client follows a Script, and checks every byte that it receives: echo returns what the
// client sent, chargen the pattern of RFC 864, hello one of the messages that were configured since
// the client connected, daytime and time a second since then, discard nothing. The expected bytes
// are computed here independently of the daemon's services.
//
// An honest client reads its reply, with short pauses at most, and ends properly: it must get its
// complete reply and EOF. A hostile client may do anything.
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

/// A listener of the run, as its peers see it.
struct SimListener {
    uint64_t id = 0;
    int fd = -1;
    Transport transport = Transport::tcp;
    ServiceKind kind = ServiceKind::echo;
    std::shared_ptr<const Acl> acl{};
    uint32_t connections_max = connections_most;
    std::shared_ptr<ListenerLoad> load = std::make_shared<ListenerLoad>();
    bool removed = false; ///< no longer in the plan
    bool closed = false;

    bool denies(const SocketAddress& peer) const {
        return acl != nullptr && !acl->permits(source_key(peer));
    }
};

/// The state that all peers share.
struct World {
    SimNetwork& network;
    uint64_t now_ms = 0;
    std::vector<std::string> messages{}; ///< of hello, the current one last
    std::set<uint64_t> closed_listeners{};
    int64_t wall_offset_seconds = 1'700'000'000; ///< of the wall clock, which may jump
    /// The values of the wall clock so far, the newest last: time stands still in between, so a
    /// reply has one of these.
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
    uint32_t read_total_max = UINT32_MAX; ///< after these bytes it stops reading
    uint32_t want = 0;                    ///< End::enough
    End end = End::half_close;
    uint32_t reset_percent = 0; ///< at any step
    uint32_t stall_percent = 0; ///< likewise: no bytes either way for `stall_ms`, once
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
          script_(script), acl_(listener.acl) {}

    /// Acts as far as it can now. `random` decides how much.
    void step(World& world, Random& random);
    /// The time at which it can act again even if nothing else happens.
    uint64_t next_ms(const World& world) const;

    bool honest() const { return script_.honest; }
    bool complete() const { return complete_; }
    /// How its reply was wrong; "" if it was not.
    const std::string& fault() const { return fault_; }
    std::string describe() const;
    /// Checks the bytes that the server has written since the last call, even if the client never
    /// reads them; returns the first error. To be called before the client's next step.
    std::string check_written(const World& world);

    ServiceKind kind() const { return kind_; }
    uint64_t listener_id() const { return listener_id_; }
    /// Only if connected().
    StreamId stream() const { return stream_; }
    bool connected() const { return connected_; }
    /// Its listener denied it when it connected, and has denied it ever since.
    bool denied() const { return denied_; }
    /// The listener has another access list from now on.
    void acl_changed(const World& world, const SimListener& listener);

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
    std::shared_ptr<const Acl> acl_;
    StreamId stream_ = 0;      ///< if connected_
    size_t first_message_ = 0; ///< hello's message when it connected
    size_t connected_at_ = 0;  ///< in the history of the wall clock
    uint32_t sent_ = 0;
    uint64_t checked_ = 0;       ///< bytes written by the server that were checked
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

/// The port of every datagram listener.
inline constexpr uint16_t served_port = 7001;

/// The peers of the datagram listeners. Each request, a datagram or a train of them, has a port of
/// its own, which identifies its replies; the replies to a train come in its order. The network may
/// deliver a request twice: then it may be answered twice.
///
/// Some requests are forged, and must never be answered: their source is a port or an address
/// where a reply does harm, or they were sent to a broadcast or multicast address.
class SimAskers {
public:
    void ask(World& world, Random& random, const SimListener& listener);
    /// The listener has another access list from now on: queued requests of peers that it denied
    /// before may be answered.
    void acl_changed(const SimListener& listener);
    /// Removes the replies that came, and checks each.
    void check_answers(World& world);
    /// Datagrams without a reply yet, dropped ones included.
    uint32_t unanswered(const World& world) const;
    /// Datagrams delivered as requests, forged and repeated ones included.
    uint64_t asked() const { return asked_; }
    uint64_t refused() const { return refused_; } ///< forged, or denied
    uint64_t trains() const { return trains_; }
    /// Replies to fd00::/56, where all IPv6 peers are.
    uint64_t answers_to_ipv6() const;
    const std::string& fault() const { return fault_; }

private:
    struct Question {
        Datagram datagram;
        ServiceKind kind;
        size_t asked_at; ///< in the history of the wall clock
        uint64_t listener_id;
        bool forged = false;
        bool refused = false; ///< forged, or denied: no reply may come
        uint32_t deliveries = 1;
        size_t next = 0;       ///< the first datagram that may still be answered
        uint32_t delivery = 0; ///< the delivery that `next` belongs to
        uint32_t answers = 0;  ///< replies that came

        size_t count() const;
        std::span<const std::byte> at(size_t index) const; ///< one of its datagrams
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

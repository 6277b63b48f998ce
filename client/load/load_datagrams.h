// Which datagram answers which request, for one socket. Sans-I/O.
//
// Requests are probes (probe.h). At most `depth` of them wait at a time, each in a place of its
// own, and the place is written into the sequence number (its lowest bits; above them requests are
// counted from 1): so the place is found at once, however many requests were sent since, and none
// has to be remembered once its outcome is known. What names a request that does not wait any more
// is a duplicate, unless that request was lost: of the lost ones the last few are remembered.
#pragma once

#include "client/load/load_account.h"
#include "client/measure/probe.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace riposte::client {

/// What datagrams look like on every socket of a run.
struct DatagramShape {
    uint32_t request_bytes = 0;
    uint32_t answer_bytes = 0;
    bool echo = true;
    bool compare = true; ///< byte for byte, if it is an echo
};

enum class DatagramKind : uint8_t { answer, corrupted, wrong_size, duplicate, stray };

struct DatagramArrival {
    DatagramKind kind = DatagramKind::stray;
    bool reordered = false; ///< after the answer to a later request
    Stamp stamp;            ///< of the request that it answers, the first three kinds
};

class DatagramBook {
public:
    DatagramBook(uint32_t session, uint32_t depth);

    uint32_t outstanding() const { return static_cast<uint32_t>(places_.size() - free_.size()); }
    uint32_t room() const { return static_cast<uint32_t>(free_.size()); }

    /// A request is about to be sent, which there must be room for: its header.
    ProbeHeader send(const Stamp& stamp);

    /// A datagram came. `scratch` has at least request_bytes.
    DatagramArrival arrive(
        const DatagramShape& shape, std::span<const std::byte> bytes, std::span<std::byte> scratch);

    /// The request ended otherwise; nothing if it does not wait.
    std::optional<Stamp> fail(const ProbeHeader& header);
    /// As fail(), for the one that was sent first; nothing if none waits.
    std::optional<Stamp> fail_oldest();

    /// May a request have been sent `timeout_ns` ago or earlier? False: none was.
    bool may_expire(uint64_t now_ns, uint64_t timeout_ns) const {
        return outstanding() > 0 && now_ns >= oldest_ns_ + timeout_ns;
    }

    /// Calls on_lost(Stamp) for each request that was.
    template<class OnLost>
    void expire(uint64_t now_ns, uint64_t timeout_ns, OnLost&& on_lost) {
        if (!may_expire(now_ns, timeout_ns))
            return;
        oldest_ns_ = UINT64_MAX;
        for (uint32_t place = 0; place < places_.size(); place++) {
            const Waiting waiting = places_[place];
            if (waiting.number == 0)
                continue;
            if (now_ns < waiting.stamp.sent_ns + timeout_ns) {
                oldest_ns_ = std::min(oldest_ns_, waiting.stamp.sent_ns);
                continue;
            }
            remember_lost(waiting.number);
            release(place);
            on_lost(waiting.stamp);
        }
    }

private:
    struct Waiting {
        uint64_t number = 0; ///< of the request, from 1; 0: nothing waits here
        Stamp stamp;
    };

    uint64_t sequence_of(uint32_t place) const {
        return (places_[place].number << place_bits_) | place;
    }
    ProbeHeader header_of(uint32_t place) const {
        return {
            .session = session_,
            .sequence = sequence_of(place),
            .sent_ns = places_[place].stamp.sent_ns};
    }
    Stamp release(uint32_t place);
    void remember_lost(uint64_t number);
    bool is_ours(const ProbeHeader& header) const;
    std::optional<uint32_t> place_of(const ProbeHeader& header) const;
    std::optional<uint32_t> oldest_place() const;
    std::optional<uint32_t> resembling_place(
        std::span<const std::byte> bytes, std::span<std::byte> probe) const;
    DatagramArrival answered(uint32_t place, DatagramKind kind);

    uint32_t session_;
    unsigned place_bits_;
    std::vector<Waiting> places_;
    std::vector<uint32_t> free_;      ///< places
    uint64_t last_number_ = 0;        ///< sent
    uint64_t greatest_answered_ = 0;  ///< its number
    uint64_t oldest_ns_ = UINT64_MAX; ///< no waiting request was sent before
    std::vector<uint64_t> lost_;      ///< numbers; a ring once it is full
    size_t lost_at_ = 0;
};

} // namespace riposte::client

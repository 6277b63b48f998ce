// The answers of reflectors that were sent and whose times of transmission may still come: which
// session each belongs to (see rule 10 of backend.h).
//
// A fixed number of places: an answer takes the place of the one that was sent so many before it,
// whose time is then not known.
#pragma once

#include "daemon/io/backend.h"

#include <array>
#include <cstdint>
#include <optional>

namespace riposte {

/// An answer whose sender wants to know when it was transmitted.
struct TimedAnswer {
    uint64_t session = 0; ///< StampSession::tag
    uint32_t sequence = 0;
    uint64_t stamped_ns = 0; ///< the time that the answer itself states, of CLOCK_REALTIME
};

class TimedAnswers {
public:
    void sent(Token listener, uint32_t transmit_id, const TimedAnswer& answer) noexcept {
        place_of(transmit_id) = {
            .listener = listener, .id = transmit_id, .waits = true, .answer = answer};
    }

    /// The answer that the event is about, once. Nothing if it is not known, or if the time cannot
    /// be its own: no answer leaves before it was stamped, and none waits for a minute; then the
    /// clock was set, or the kernel's number is that of another one.
    std::optional<TimedAnswer> take(const Event& event) noexcept {
        constexpr uint64_t apart_max_ns = 60'000'000'000;
        const auto id = static_cast<uint32_t>(event.result);
        Place& place = place_of(id);
        if (!place.waits || place.id != id || place.listener != event.token)
            return std::nullopt;
        place.waits = false;
        if (event.time_ns < place.answer.stamped_ns ||
            event.time_ns - place.answer.stamped_ns > apart_max_ns)
            return std::nullopt;
        return place.answer;
    }

private:
    struct Place {
        Token listener{};
        uint32_t id = 0;
        bool waits = false;
        TimedAnswer answer{};
    };

    Place& place_of(uint32_t id) noexcept { return places_[id % places_.size()]; }

    std::array<Place, 256> places_{};
};

} // namespace riposte

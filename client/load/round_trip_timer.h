// How long to wait for an answer before a socket goes on without it: the retransmission timeout of
// RFC 6298, over round trips as they are seen. Sans-I/O. Times are nanoseconds.
//
// Nothing is sent again here, so that each answer measures a round trip, and Karn's algorithm
// (section 3) has nothing to leave out. The RFC's least timeout of one second (2.4) protects a
// network from needless repetitions; a socket that goes on too soon only has one request more
// outstanding, and the timeout doubles with each (5.5) until an answer comes.
#pragma once

#include <algorithm>
#include <cstdint>

namespace riposte::client {

class RoundTripTimer {
public:
    static constexpr uint64_t initial_ns = 1'000'000'000;  ///< (2.1)
    static constexpr uint64_t granularity_ns = 1'000'000;  ///< G
    static constexpr uint64_t longest_ns = 60'000'000'000; ///< (2.5)

    /// An answer came that long after its request was sent.
    void sample(uint64_t round_trip_ns) {
        if (smoothed_ns_ == 0) { // (2.2)
            smoothed_ns_ = round_trip_ns;
            variation_ns_ = round_trip_ns / 2;
        } else { // (2.3)
            const uint64_t error_ns = round_trip_ns > smoothed_ns_ ? round_trip_ns - smoothed_ns_
                                                                   : smoothed_ns_ - round_trip_ns;
            variation_ns_ = (3 * variation_ns_ + error_ns) / 4;
            smoothed_ns_ = (7 * smoothed_ns_ + round_trip_ns) / 8;
        }
        smoothed_ns_ = std::max(smoothed_ns_, uint64_t{1});
        timeout_ns_ =
            std::min(smoothed_ns_ + std::max(granularity_ns, 4 * variation_ns_), longest_ns);
    }

    /// No answer came in time.
    void expired() { timeout_ns_ = std::min(2 * timeout_ns_, longest_ns); }

    /// RTO.
    uint64_t timeout_ns() const { return timeout_ns_; }

private:
    uint64_t smoothed_ns_ = 0;  ///< SRTT; 0: no answer yet
    uint64_t variation_ns_ = 0; ///< RTTVAR
    uint64_t timeout_ns_ = initial_ns;
};

} // namespace riposte::client

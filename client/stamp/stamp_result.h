// What the answers of a STAMP reflector show, beside what every ping measures: plain data, filled
// by StampAccount, read by the reports.
#pragma once

#include "client/measure/histogram.h"
#include "client/measure/reply_headers.h"
#include "client/stamp/clock_series.h"
#include "client/stamp/direction_books.h"
#include "client/stamp/stamp_packet.h"

#include <cstddef>
#include <cstdint>
#include <optional>

namespace riposte::client {

/// What the far end says of its clock (RFC 4656, section 4.1.2).
struct ClockClaims {
    uint64_t answers = 0;
    uint64_t synchronized = 0; ///< answers that said so
    uint64_t ptp = 0;          ///< answers whose times are said to be in that format
    uint64_t denied = 0;       ///< answers whose times are in the other format
    uint64_t error_min_ns = UINT64_MAX;
    uint64_t error_max_ns = 0;
};

struct StampResult {
    explicit StampResult(const QuestionShape& asked, size_t window) : shape(asked), books(window) {}

    QuestionShape shape;
    uint8_t ttl = 255; ///< of the questions
    DirectionBooks books;
    ClockSeries clocks;
    Histogram residence; ///< T3 - T2
    ReplyHeaders there;  ///< as the questions arrived
    ClockClaims claims;

    uint64_t answers = 0;      ///< proper ones, the first to each question
    uint64_t without_ssid = 0; ///< of them
    uint64_t short_ones = 0;   ///< of TWAMP Light, shorter than a base packet
    uint64_t tlvs_ignored = 0;
    uint64_t tlvs_failed = 0;
    uint64_t class_refused = 0;
    uint64_t impossible_residence = 0; ///< it is less than none, or longer than the round trip
    uint64_t closing = 0;              ///< questions behind the last probe

    uint64_t echoes = 0; ///< here and below: improper answers
    uint64_t too_short = 0;
    uint64_t unauthenticated = 0;
    uint64_t other_session = 0;
    uint64_t no_multiplier = 0;
};

} // namespace riposte::client

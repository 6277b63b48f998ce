// What the reflector does with the TLVs of a question (RFC 8972, section 4): it answers those that
// it understands in place, and marks the others. No TLV changes its size, so the answer is as long
// as the question.
//
//   type                       understood
//   1  Extra Padding           copied
//   2  Location                by policy; U if the policy is none
//   3  Timestamp Information   kernel and user space stamp in software
//   4  Class of Service        by policy; see ClassOfService in stamp_tlvs.cpp
//   5  Direct Measurement      the counts of the session; U without one
//   7  Follow-Up               when the last answer was transmitted, by the kernel; zeros without a
//                              session, and if that is not known
//   8  HMAC                    verified, and computed anew; U without a key
//   10 Return Path             only "no reply"; everything else would send to other addresses: U
//
// All others get U: access reports are for 5G alone, RFC 9534 is for bundles, and RFC 10052 asks
// for more or longer answers, which would amplify.
#pragma once

#include "common/stamp/hmac.h"
#include "common/stamp/packet.h"
#include "common/stamp/tlv.h"
#include "daemon/services/service.h"

#include <cstdint>
#include <optional>
#include <span>

namespace riposte {

struct StampTlvPolicy {
    StampLocation location = StampLocation::none;
    uint64_t dscps = 0; ///< a bit for each DSCP that a Class of Service TLV may ask for
};

/// What a session has counted, with the question that is being answered.
struct StampCounts {
    uint32_t received = 0;
    uint32_t sent = 0;          ///< answers, with this one
    uint32_t last_sequence = 0; ///< of the answer before
    uint64_t last_sent = 0;     ///< when it was transmitted, in NTP format; 0: not known
};

struct StampTlvRequest {
    const StampTlvPolicy& policy;
    const DatagramArrival& arrival;
    const StampCounts* counts; ///< null: there is no session
    const stamp::Key* key;     ///< null: there is none
    stamp::Mode mode;
    uint32_t sequence; ///< of the question
    bool synchronized; ///< our clock, to UTC
};

struct StampTlvReply {
    bool suppress = false; ///< the sender asked for no reply
    /// The next question will ask when this answer was transmitted, as this one did of the one
    /// before.
    bool follows_up = false;
    std::optional<uint8_t> dscp{}; ///< that a Class of Service TLV gives to the answer
    /// Of the HMAC TLV in the answer, to be signed when the answer's sequence is known; empty:
    /// there is none.
    std::span<std::byte> hmac{};
    std::span<const std::byte> hmac_text{}; ///< the TLVs in front of it
};

/// `tlvs` is everything behind the base packet. The reply's spans lie in it.
StampTlvReply answer_tlvs(const StampTlvRequest& request, std::span<std::byte> tlvs);

} // namespace riposte

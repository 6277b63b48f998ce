// The prober of STAMP (RFC 8762): make_stamp_prober() of prober.h, and what its questions look
// like.
#pragma once

#include "client/options/options.h"
#include "client/stamp/stamp_packet.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace riposte::client {

/// The time to live of questions, unless --ttl says another one: what is left of it over there
/// tells the hops (RFC 4656, section 4.1.2).
inline constexpr uint8_t stamp_ttl = 255;

/// The shape of an endpoint's questions: --dscp asks for the same class of the answers. Without
/// --ssid the session has a number that no other run is likely to have.
QuestionShape question_shape(const StampOptions& options, const PathOptions& path);

/// One question, to see whether an address answers. It belongs to no run.
std::vector<std::byte> write_stamp_trial(const QuestionShape& shape);

} // namespace riposte::client

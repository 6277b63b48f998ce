// The part of `riposte load` that transfers streams instead of requests: --upload, --download; and
// --while-pinging, which both parts take.
#pragma once

#include "client/options/options.h"
#include "client/options/raw_options.h"
#include "common/error.h"

#include <optional>

namespace riposte::client {

/// Is it about streams?
inline bool is_throughput(const RawLoad& words) {
    return words.upload || words.download;
}
Result<Options> read_throughput(const RawLoad& words);

/// The endpoint to probe; its transport and port are set.
Result<void> read_while_pinging(const RawLoad& words, std::optional<Endpoint>& target);

} // namespace riposte::client

// Reads the value of one key into its member, by the member's type.
#pragma once

#include "common/error.h"
#include "common/toml_document.h"
#include "daemon/config/config.h"
#include "daemon/config/schema.h"

namespace riposte {

/// Exit::config on a value of the wrong type, out of its bounds, or that does not parse; the
/// message has its position. `listen` is the [[listen]] section of the key; keys of other sections
/// ignore it.
Result<void> read_value(
    const Value& value, const schema::Key& key, Config& config, ListenerConfig& listen);

} // namespace riposte

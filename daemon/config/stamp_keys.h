// The keys of the service stamp: read from the files that the configuration names.
#pragma once

#include "daemon/config/config.h"

namespace riposte {

/// Reads the key files of every listener into its options, or none: a relative path is one in
/// $CREDENTIALS_DIRECTORY (systemd.exec(5), LoadCredential=). Exit::permission if a file may not be
/// read, else Exit::config; the message begins with the listener's place in the configuration.
Result<void> load_stamp_keys(Config& config);

} // namespace riposte

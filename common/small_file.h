// Reads files of bounded size that both programs are configured with: the daemon's configuration,
// and keys.
//
// Only regular files are read, because the main thread reads them and must not block. A missing
// file and one that may not be read have different exit codes of the daemon: an administrator has
// to permit the latter.
#pragma once

#include "common/error.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace riposte {

struct FileRules {
    size_t bytes_max = 0;
    std::string_view advice; ///< if there is no such file: "name a TOML file with -c"
    bool secret = false;     ///< refused if every user may read or write it
    std::string_view reader = "the daemon's user"; ///< who must be permitted to read it
};

/// Exit::permission if it may not be read, else Exit::config. The message names the
/// file, the reason and the remedy.
Result<std::string> read_small_file(const std::string& path, const FileRules& rules);

} // namespace riposte

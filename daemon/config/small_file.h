// Reads the files that the configuration is made of: its own text, and keys.
//
// Only regular files of bounded size are read, because the main thread reads them and must not
// block. A missing file and one that the daemon may not read have different exit codes: an
// administrator has to permit the latter.
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
};

/// Exit::permission if the daemon's user may not read it, else Exit::config. The message names the
/// file, the reason and the remedy.
Result<std::string> read_small_file(const std::string& path, const FileRules& rules);

} // namespace riposte

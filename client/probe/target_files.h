// The lists of targets in files: found by patterns, watched, and read again when they change.
//
// Each file keeps its last good list: one that is half written, damaged or unreadable is reported
// and counted, and changes nothing until it can be read. A file that is gone takes its targets with
// it. Folders are watched by inotify(7); since that may miss changes (a folder that did not exist,
// a file system of another host), files are also compared every half a minute.
#pragma once

#include "client/probe/figures.h"
#include "client/probe/target_list.h"
#include "common/error.h"
#include "common/fd.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace riposte::client {

/// Only the last component of a pattern has wildcards, so that one folder is watched. The fault, or
/// empty.
std::string find_fault_of_pattern(const std::string& pattern);
/// Those of the configuration, and of `lists` (--targets) those that are not among them.
std::vector<std::string> join_patterns(
    std::vector<std::string> configured, const std::vector<std::string>& lists);

class TargetFiles {
public:
    static constexpr uint64_t compare_every_ns = 30'000'000'000;

    /// Exit::usage if the kernel gives no inotify descriptor.
    static Result<TargetFiles> open();

    /// The sources from now on, in their order. Those that stay keep their lists and counts.
    void set_patterns(const std::vector<std::string>& patterns);

    /// Readable when something may have changed.
    int fd() const { return watch_.get(); }
    /// After fd() was readable, or at next_ns(): reads what has changed, all of it if `whole`.
    /// True: there are other targets. The faults of this turn are in faults().
    bool turn(uint64_t now_ns, bool whole);
    uint64_t next_ns() const { return next_ns_; }

    /// Those of the latest turn that were not known before it, or all of them if it was `whole`.
    /// One line each: the file, what is wrong, and what to do.
    const std::vector<std::string>& faults() const { return faults_; }
    /// All targets, in the order of the sources and of their files' names.
    std::vector<ListedTarget> targets() const;
    std::vector<DiscoveryFigures> figures() const;

private:
    /// What tells one version of a file from another.
    struct Version {
        int64_t modified_ns = -1;
        int64_t size = -1;
        uint64_t inode = 0;
        bool operator==(const Version&) const = default;
    };
    struct File {
        Version version;
        std::vector<ListedTarget> targets;
        bool failed = true;     ///< its latest version is not in use
        std::string fault = {}; ///< why
    };
    struct Source {
        std::string pattern;
        std::map<std::string, File> files = {}; ///< by path
        double succeeded_at = 0;
        std::string fault = {}; ///< of the folder
        uint64_t failures = 0;
        std::string last_error = {};
    };

    /// Names of files, without their folders.
    struct Touched {
        bool all = false;
        bool failed = false; ///< those that failed are tried again
        std::set<std::string> names = {};
    };

    void watch_folders();
    Touched take_events();
    bool read_source(Source& source, const Touched& touched);
    bool read_file(Source& source, const std::string& path, File& file, bool whole);
    Result<std::vector<ListedTarget>> read_targets(const std::string& path, const File& file) const;
    void note_fault(Source& source, std::string& known, std::string fault, bool is_wanted);
    size_t count_besides(const File& file) const;

    Fd watch_;
    std::vector<Source> sources_;
    std::vector<std::string> faults_;
    uint64_t next_ns_ = 0;
};

} // namespace riposte::client

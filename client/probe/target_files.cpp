#include "client/probe/target_files.h"

#include "common/clock.h"
#include "common/small_file.h"
#include "common/text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fnmatch.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

namespace riposte::client {

namespace {

constexpr uint32_t changes = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB;

std::string folder_of(const std::string& pattern) {
    const size_t slash = pattern.rfind('/');
    if (slash == std::string::npos)
        return ".";
    return slash == 0 ? "/" : pattern.substr(0, slash);
}

bool has_wildcard(const std::string& pattern) {
    return pattern.find_first_of("*?[") != std::string::npos;
}

/// The files, by name; an errno if the folder cannot be read. A name without wildcards stands for
/// itself, there or not.
std::expected<std::vector<std::string>, int> find_files(const std::string& pattern) {
    if (!has_wildcard(pattern))
        return std::vector{pattern};
    const size_t begin = pattern.rfind('/') + 1; // of none: 0
    std::vector<std::string> paths;
    std::error_code error;
    std::filesystem::directory_iterator each(folder_of(pattern), error);
    for (; !error && each != std::filesystem::directory_iterator(); each.increment(error)) {
        const std::string name = each->path().filename().string();
        if (::fnmatch(pattern.c_str() + begin, name.c_str(), FNM_PERIOD) == 0)
            paths.push_back(pattern.substr(0, begin) + name);
    }
    if (error)
        return std::unexpected(error.value());
    std::ranges::sort(paths);
    return paths;
}

} // namespace

std::string find_fault_of_pattern(const std::string& pattern) {
    const size_t slash = pattern.rfind('/');
    if (slash != std::string::npos &&
        pattern.substr(0, slash).find_first_of("*?[") != std::string::npos)
        return fmt::format(
            "'{}' has a wildcard in its folder; only the name of the file may have one",
            escape(pattern, 255));
    return pattern.ends_with('/')
               ? fmt::format(
                     "'{}' is a folder; write {}*.json", escape(pattern, 255), escape(pattern, 255))
               : "";
}

std::vector<std::string> join_patterns(
    std::vector<std::string> configured, const std::vector<std::string>& lists) {
    for (const std::string& pattern : lists)
        if (std::ranges::find(configured, pattern) == configured.end())
            configured.push_back(pattern);
    return configured;
}

Result<TargetFiles> TargetFiles::open() {
    TargetFiles files;
    files.watch_ = Fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!files.watch_)
        return fail(
            Exit::usage, fmt::format(
                             "inotify: {}; end another program that watches files, or raise "
                             "fs.inotify.max_user_instances",
                             errno_text(errno)));
    return files;
}

void TargetFiles::set_patterns(const std::vector<std::string>& patterns) {
    std::vector<Source> sources;
    sources.reserve(patterns.size());
    for (const std::string& pattern : patterns) {
        const auto known = std::ranges::find(sources_, pattern, &Source::pattern);
        sources.push_back(
            known != sources_.end() ? std::exchange(*known, Source{}) : Source{.pattern = pattern});
    }
    sources_ = std::move(sources);
    next_ns_ = 0;
}

/// Watching what is watched already changes nothing.
void TargetFiles::watch_folders() {
    for (const Source& source : sources_)
        ::inotify_add_watch(watch_.get(), folder_of(source.pattern).c_str(), changes | IN_ONLYDIR);
}

bool TargetFiles::turn(uint64_t now_ns, bool whole) {
    faults_.clear();
    watch_folders(); // before the files are read: a change after that is an event
    Touched touched = take_events();
    touched.all = touched.all || whole;
    touched.failed = now_ns >= next_ns_;
    if (!touched.all && touched.names.empty() && now_ns < next_ns_)
        return false;
    next_ns_ = now_ns + compare_every_ns;
    bool changed = false;
    for (Source& source : sources_)
        changed = read_source(source, touched) || changed;
    return changed;
}

/// What the kernel says has changed since the last call. Two changes within a tick of the file
/// system's clock may look like one, so what is named here is read whatever its times are.
TargetFiles::Touched TargetFiles::take_events() {
    Touched touched;
    alignas(inotify_event) std::array<char, 4096> events;
    for (;;) {
        const ssize_t size = ::read(watch_.get(), events.data(), events.size());
        if (size <= 0)
            return touched;
        for (size_t at = 0; at < static_cast<size_t>(size);) {
            inotify_event event{};
            std::memcpy(&event, &events[at], sizeof(event));
            at += sizeof(event);
            touched.all = touched.all || (event.mask & IN_Q_OVERFLOW) != 0;
            if (event.len > 0)
                touched.names.emplace(&events[at]); // ends with zeros
            at += event.len;
        }
    }
}

bool TargetFiles::read_source(Source& source, const Touched& touched) {
    const auto paths = find_files(source.pattern);
    if (!paths) {
        note_fault(
            source, source.fault,
            fmt::format(
                "{}: {}; the targets known from it stay", escape(source.pattern, 255),
                reason(paths.error())),
            touched.all);
        return false;
    }
    source.fault.clear();
    bool changed = std::erase_if(source.files, [&](const auto& entry) {
                       return std::ranges::find(*paths, entry.first) == paths->end();
                   }) > 0;
    bool all_read = true;
    for (const std::string& path : *paths) {
        File& file = source.files[path];
        struct stat status{};
        Version version;
        if (::stat(path.c_str(), &status) == 0)
            version = {
                .modified_ns =
                    int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec,
                .size = status.st_size,
                .inode = status.st_ino};
        const bool is_touched =
            touched.all || touched.names.contains(path.substr(path.rfind('/') + 1));
        if (is_touched || file.version != version || (touched.failed && file.failed)) {
            file.version = version;
            changed = read_file(source, path, file, touched.all) || changed;
        }
        all_read = all_read && !file.failed;
    }
    if (all_read) {
        source.succeeded_at = wall_time_seconds();
        source.last_error.clear();
    }
    return changed;
}

/// The targets of a list, or why it is not in use from now on.
Result<std::vector<ListedTarget>> TargetFiles::read_targets(
    const std::string& path, const File& file) const {
    const auto text = read_small_file(
        path, {.bytes_max = target_list_bytes_max,
               .advice = "the targets known from it stay",
               .reader = "the prober's user"});
    if (!text)
        return std::unexpected(text.error());
    auto targets = parse_target_list(*text);
    if (!targets)
        return fail(
            Exit::usage,
            fmt::format(
                "{}: {}; the targets known from it stay", escape(path, 255), targets.error()));
    if (const size_t others = count_besides(file); others + targets->size() > listed_targets_max)
        return fail(
            Exit::usage, fmt::format(
                             "{}: {} targets beside {} of other files, and at most {} are "
                             "possible; the targets known from it stay",
                             escape(path, 255), targets->size(), others, listed_targets_max));
    return *std::move(targets);
}

/// True: it has other targets than before.
bool TargetFiles::read_file(Source& source, const std::string& path, File& file, bool whole) {
    auto targets = read_targets(path, file);
    file.failed = !targets;
    if (!targets) {
        note_fault(source, file.fault, targets.error().message, whole);
        return false;
    }
    file.fault.clear();
    if (file.targets == *targets)
        return false;
    file.targets = *std::move(targets);
    return true;
}

/// What is `known` is not said again, unless that is wanted.
void TargetFiles::note_fault(
    Source& source, std::string& known, std::string fault, bool is_wanted) {
    source.failures++;
    source.last_error = fault;
    if (is_wanted || known != fault)
        faults_.push_back(fault);
    known = std::move(fault);
}

size_t TargetFiles::count_besides(const File& file) const {
    size_t count = 0;
    for (const Source& source : sources_)
        for (const auto& [path, each] : source.files)
            count += &each == &file ? 0 : each.targets.size();
    return count;
}

std::vector<ListedTarget> TargetFiles::targets() const {
    std::vector<ListedTarget> all;
    for (const Source& source : sources_)
        for (const auto& [path, file] : source.files)
            all.insert(all.end(), file.targets.begin(), file.targets.end());
    return all;
}

std::vector<DiscoveryFigures> TargetFiles::figures() const {
    std::vector<DiscoveryFigures> all;
    all.reserve(sources_.size());
    for (const Source& source : sources_) {
        DiscoveryFigures each;
        each.source = source.pattern;
        for (const auto& [path, file] : source.files)
            each.targets += file.targets.size();
        each.succeeded_at = source.succeeded_at;
        each.failures = source.failures;
        each.last_error = source.last_error;
        all.push_back(std::move(each));
    }
    return all;
}

} // namespace riposte::client

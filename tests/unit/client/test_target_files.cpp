// Lists of targets in files: a list that fails keeps the last good one, and changes are seen by
// inotify.
#include "client/probe/target_files.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

using namespace riposte;
using namespace riposte::client;

namespace {

class Folder {
public:
    Folder() {
        std::string name =
            (std::filesystem::temp_directory_path() / "riposte-lists-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    std::string path(const std::string& name) const { return path_ + "/" + name; }
    void write(const std::string& name, const std::string& text) const {
        std::ofstream(path(name)) << text;
    }
    void remove(const std::string& name) const { std::filesystem::remove(path(name)); }

private:
    std::string path_;
};

std::string list_of(const std::string& target) {
    return fmt::format("[{{\"targets\": [\"{}\"]}}]", target);
}

TargetFiles files_of(const std::string& pattern) {
    auto files = TargetFiles::open();
    REQUIRE(files);
    files->set_patterns({pattern});
    return *std::move(files);
}

std::string names_of(const TargetFiles& files) {
    std::string all;
    for (const ListedTarget& target : files.targets())
        all += target.name + " ";
    return all;
}

/// After something has changed: waits until it is seen. True: there are other targets.
bool see(TargetFiles& files) {
    pollfd ready{.fd = files.fd(), .events = POLLIN, .revents = 0};
    REQUIRE(::poll(&ready, 1, -1) == 1);
    return files.turn(1, false);
}

} // namespace

TEST_CASE("files of targets are read when they change, and the last good list stays") {
    const Folder folder;
    folder.write("a.json", list_of("a:7"));
    folder.write("b.json", list_of("b:7"));
    folder.write("c.txt", list_of("c:7"));
    TargetFiles files = files_of(folder.path("*.json"));
    CHECK(files.turn(1, true));
    CHECK(names_of(files) == "a:7 b:7 ");
    CHECK_FALSE(files.turn(2, false));
    CHECK(files.figures().front().succeeded_at > 0);

    // Half written.
    folder.write("a.json", "[{\"targets\": [\"x:7\"");
    CHECK_FALSE(see(files));
    CHECK(names_of(files) == "a:7 b:7 ");
    REQUIRE(files.faults().size() == 1);
    CHECK(files.faults().front().find("a.json: line 1, column ") != std::string::npos);
    CHECK(files.faults().front().ends_with("the targets known from it stay"));
    CHECK(files.figures().front().failures == 1);
    CHECK(files.figures().front().targets == 2);
    CHECK_FALSE(files.figures().front().last_error.empty());

    // Whole.
    folder.write("a.json", list_of("x:7"));
    CHECK(see(files));
    CHECK(names_of(files) == "x:7 b:7 ");
    CHECK(files.figures().front().last_error.empty());

    // Renamed over, as a careful writer does.
    folder.write("new", list_of("y:7"));
    std::filesystem::rename(folder.path("new"), folder.path("b.json"));
    while (names_of(files) != "x:7 y:7 ")
        see(files);

    folder.remove("b.json");
    CHECK(see(files));
    CHECK(names_of(files) == "x:7 ");
    // The same again is no change.
    folder.write("a.json", list_of("x:7"));
    CHECK_FALSE(see(files));
}

TEST_CASE("a file that is named and cannot be read keeps its targets, and is tried again") {
    const Folder folder;
    folder.write("a.json", list_of("a:7"));
    TargetFiles files = files_of(folder.path("a.json"));
    CHECK(files.turn(1, true));
    folder.remove("a.json");
    CHECK_FALSE(see(files));
    CHECK(names_of(files) == "a:7 ");
    CHECK(files.faults().front().find("cannot read") != std::string::npos);
    // Compared from time to time, and when it comes.
    CHECK_FALSE(files.turn(files.next_ns(), false));
    CHECK(files.figures().front().failures == 2);
    folder.write("a.json", list_of("b:7"));
    CHECK(see(files));
    CHECK(names_of(files) == "b:7 ");
}

TEST_CASE("a fault is said once, as long as it is the same") {
    const Folder folder;
    TargetFiles files = files_of(folder.path("a.json"));
    files.turn(1, true);
    REQUIRE(files.faults().size() == 1);
    // Other files of its folder come and go.
    folder.write("other", "x");
    see(files);
    CHECK(files.faults().empty());
    CHECK(files.figures().front().failures == 1);
    // Compared: it counts, and is known.
    files.turn(files.next_ns(), false);
    CHECK(files.faults().empty());
    CHECK(files.figures().front().failures == 2);
    folder.write("a.json", "{}");
    see(files);
    REQUIRE(files.faults().size() == 1);
    CHECK(files.faults().front().find("the list is an object") != std::string::npos);
    // Asked for, it is said again.
    files.turn(2, true);
    CHECK(files.faults().size() == 1);
}

TEST_CASE("a folder that is not there is a fault, and its lists are found when it comes") {
    const Folder folder;
    TargetFiles files = files_of(folder.path("later/*.json"));
    CHECK_FALSE(files.turn(1, true));
    REQUIRE(files.faults().size() == 1);
    CHECK(files.faults().front().find("no such file") != std::string::npos);
    std::filesystem::create_directory(folder.path("later"));
    folder.write("later/a.json", list_of("a:7"));
    CHECK(files.turn(files.next_ns(), false));
    CHECK(names_of(files) == "a:7 ");
    // From now on it is watched.
    folder.write("later/a.json", list_of("b:7"));
    CHECK(see(files));
}

TEST_CASE("lists are bounded together, and the one that exceeds the bound is refused") {
    const Folder folder;
    std::string text = "[{\"targets\": [\"h0:7\"";
    for (size_t i = 1; i < listed_targets_max; i++)
        text += fmt::format(",\"h{}:7\"", i);
    folder.write("a.json", text + "]}]");
    folder.write("b.json", list_of("one:7"));
    TargetFiles files = files_of(folder.path("*.json"));
    CHECK(files.turn(1, true));
    CHECK(files.targets().size() == listed_targets_max);
    REQUIRE(files.faults().size() == 1);
    CHECK(
        files.faults().front() ==
        folder.path("b.json") + ": 1 targets beside 100000 of other files, and at most 100000 are "
                                "possible; the targets known from it stay");
    // There is room again: the list that was refused is tried without being touched.
    folder.write("a.json", list_of("a:7"));
    see(files);
    files.turn(files.next_ns(), false);
    CHECK(names_of(files) == "a:7 one:7 ");
    CHECK(files.figures().front().last_error.empty());
}

TEST_CASE("sources that stay keep their lists when others change") {
    const Folder folder;
    folder.write("a.json", list_of("a:7"));
    folder.write("b.json", list_of("b:7"));
    TargetFiles files = files_of(folder.path("a.json"));
    CHECK(files.turn(1, true));
    folder.write("a.json", "broken");
    files.set_patterns({folder.path("b.json"), folder.path("a.json")});
    CHECK(files.turn(2, true));
    CHECK(names_of(files) == "b:7 a:7 ");
    files.set_patterns({folder.path("b.json")});
    files.turn(3, true);
    CHECK(names_of(files) == "b:7 ");
}

TEST_CASE("a list that the configuration names is no second source on the command line") {
    CHECK(
        join_patterns({"a.json"}, {"b.json", "a.json", "b.json"}) ==
        std::vector<std::string>{"a.json", "b.json"});
}

// Passes every file of a directory to a fuzz target, so that the inputs that fuzzers have found are
// an ordinary test of every build. Model: the replays of knot-dns (tests-fuzz/main.c) and systemd.
// It is the main function of a target without libFuzzer; with it, libFuzzer's main function calls
// the hook below first.
//
//     fuzz_config --replay DIRECTORY     all inputs: one TAP test, and a failed one for each input
//                                        that breaks a property
//     fuzz_config FILE                   one input, in this process: for a debugger
//
// The target runs in a child process. When it dies (a broken property, a signal, a sanitizer), the
// parent prints the input, and another child continues with the next one. A corpus that is missing
// or empty has failed: nothing was tested.
#include "tests/fuzz/fuzz.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <new>
#include <vector>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;

std::vector<uint8_t> bytes_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
    if (!file)
        bytes.clear();
    return bytes;
}

void feed(const std::vector<uint8_t>& bytes) {
    // An allocation of the exact size, so that AddressSanitizer finds reads beyond it.
    const auto exact = std::make_unique<uint8_t[]>(bytes.size());
    std::ranges::copy(bytes, exact.get());
    LLVMFuzzerTestOneInput(exact.get(), bytes.size());
}

/// The position of a child, shared with its parent; null without memory.
std::atomic<size_t>* shared_position() {
    void* page = ::mmap(
        nullptr, sizeof(std::atomic<size_t>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
        -1, 0);
    return page == MAP_FAILED ? nullptr : new (page) std::atomic<size_t>(0);
}

/// A child runs the inputs from `position` on. Returns "" if it finished, else how it died.
std::string feed_from(const std::vector<fs::path>& paths, std::atomic<size_t>& position) {
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        for (; position < paths.size(); ++position)
            feed(bytes_of(paths[position]));
        std::_Exit(EXIT_SUCCESS);
    }
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) != child)
        return "no child process";
    if (WIFSIGNALED(status))
        return "signal " + std::to_string(WTERMSIG(status));
    if (WEXITSTATUS(status) != EXIT_SUCCESS)
        return "exit code " + std::to_string(WEXITSTATUS(status));
    return "";
}

int replay(const fs::path& corpus) {
    std::vector<fs::path> paths;
    size_t bytes = 0;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(corpus, error)) {
        paths.push_back(entry.path());
        bytes += static_cast<size_t>(entry.file_size(error));
    }
    std::ranges::sort(paths);
    std::puts("TAP version 13");
    if (error || paths.empty()) {
        const std::string why = error ? ": " + error.message() : "";
        std::printf("Bail out! no input in %s%s\n", corpus.c_str(), why.c_str());
        return EXIT_FAILURE;
    }
    std::atomic<size_t>* const shared = shared_position();
    if (shared == nullptr) {
        std::printf("Bail out! mmap: %s\n", strerrordesc_np(errno));
        return EXIT_FAILURE;
    }
    std::atomic<size_t>& position = *shared;
    int tests = 0;
    while (position < paths.size()) {
        const std::string death = feed_from(paths, position);
        if (death.empty())
            break;
        const std::string path = position < paths.size() ? paths[position].string() : "the end";
        std::printf("# %s\nnot ok %d - %s\n", death.c_str(), ++tests, path.c_str());
        ++position;
    }
    const bool passed = tests == 0;
    std::printf(
        "%s %d - %zu inputs of %zu bytes\n1..%d\n", passed ? "ok" : "not ok", tests + 1,
        paths.size(), bytes, tests + 1);
    return passed ? EXIT_SUCCESS : EXIT_FAILURE;
}

} // namespace

#ifdef RIPOSTE_FUZZ

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv); // NOLINT(*-naming)
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    if (*argc == 3 && std::strcmp((*argv)[1], "--replay") == 0)
        std::exit(
            replay((*argv)[2])); // NOLINT(concurrency-mt-unsafe): no other thread is there yet
    return 0;
}

#else

int main(int argc, char** argv) {
    if (argc == 3 && std::strcmp(argv[1], "--replay") == 0)
        return replay(argv[2]);
    if (argc != 2 || !fs::is_regular_file(argv[1])) {
        std::fprintf(stderr, "usage: %s --replay DIRECTORY | FILE\n", argv[0]);
        return 2;
    }
    feed(bytes_of(argv[1]));
    return EXIT_SUCCESS;
}

#endif

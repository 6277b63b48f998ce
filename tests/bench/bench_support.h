// The parts that the generators of the benchmark share: options, clock and CPU time, loopback
// sockets, bytes that can be verified, and the line of JSON that they print.
//
// A generator loads 127.0.0.1 for a warm-up, which does not count, and then for the measured time.
// It prints one line on standard output and exits with status 0 for any figures; with 2 for wrong
// usage; with 1, and a message on standard error, for a fault that leaves nothing to measure. The
// caller pins it to a core. One thread, no exceptions except when memory lacks.
#pragma once

#include "client/measure/histogram.h"
#include "common/clock.h"
#include "common/fd.h"

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace riposte::bench {

constexpr uint64_t ns_per_ms = 1'000'000;
constexpr uint64_t ns_per_second = 1'000'000'000;

/// Prints what failed, with errno's reason if it has one, and exits with status 1.
[[noreturn]] inline void die(const char* what) {
    const char* why = errno != 0 ? strerrordesc_np(errno) : nullptr;
    fprintf(
        stderr, "%s: %s%s%s\n", program_invocation_short_name, what, why != nullptr ? ": " : "",
        why != nullptr ? why : "");
    _exit(1);
}

/// The same without errno.
[[noreturn]] inline void die_plainly(const char* what) {
    errno = 0;
    die(what);
}

/// User and system time of this process.
inline double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Options of one letter: `-p 7001` sets a number, `-g` a flag.
class Options {
public:
    explicit Options(const char* usage) : usage_(usage) {}

    void flag(char letter, bool& value) { known_.push_back({letter, &value, 0, 1}); }
    void number(char letter, unsigned& value, unsigned low, unsigned high) {
        known_.push_back({letter, &value, static_cast<double>(low), static_cast<double>(high)});
    }
    void number(char letter, double& value, double low, double high) {
        known_.push_back({letter, &value, low, high});
    }

    /// The options of every generator: the port, and the times.
    void port(unsigned& value) { number('p', value, 1, 65535); }
    void times(double& seconds, double& warmup) {
        number('d', seconds, 0.01, 3600.0);
        number('w', warmup, 0.0, 3600.0);
    }

    /// False after printing the usage. `-p` is required.
    bool parse(int argc, char** argv) const {
        bool has_port = false;
        for (int i = 1; i < argc; i++) {
            const std::string_view word = argv[i];
            const Option* option = word.size() == 2 && word[0] == '-' ? find(word[1]) : nullptr;
            if (option == nullptr)
                return refuse();
            if (bool* const* flag = std::get_if<bool*>(&option->value); flag != nullptr) {
                **flag = true;
                continue;
            }
            i++;
            if (i == argc || !set(*option, argv[i]))
                return refuse();
            has_port = has_port || option->letter == 'p';
        }
        return has_port || refuse();
    }

private:
    struct Option {
        char letter;
        std::variant<bool*, unsigned*, double*> value;
        double low;
        double high;
    };

    const Option* find(char letter) const {
        for (const Option& option : known_) {
            if (option.letter == letter)
                return &option;
        }
        return nullptr;
    }

    template<typename Number>
    static bool read(const Option& option, std::string_view text, Number& value) {
        Number found{};
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), found);
        const bool within =
            static_cast<double>(found) >= option.low && static_cast<double>(found) <= option.high;
        if (error != std::errc{} || end != text.data() + text.size() || !within)
            return false;
        value = found;
        return true;
    }

    static bool set(const Option& option, std::string_view text) {
        if (unsigned* const* whole = std::get_if<unsigned*>(&option.value); whole != nullptr)
            return read(option, text, **whole);
        double* const* number = std::get_if<double*>(&option.value);
        return number != nullptr && read(option, text, **number);
    }

    bool refuse() const {
        fprintf(stderr, "usage: %s %s\n", program_invocation_short_name, usage_);
        return false;
    }

    const char* usage_;
    std::vector<Option> known_;
};

/// One object on one line. Names are ours: nothing in them needs an escape.
class JsonLine {
public:
    template<typename Value>
    void add(std::string_view name, Value value) {
        begin(name);
        if constexpr (std::is_floating_point_v<Value>)
            text_ += fmt::format("{:.6f}", value);
        else
            text_ += fmt::format("{}", value);
    }
    void add_null(std::string_view name) {
        begin(name);
        text_ += "null";
    }
    void add_counts(
        std::string_view name,
        std::initializer_list<std::pair<std::string_view, uint64_t>> counts) {
        begin(name);
        text_ += '{';
        for (const auto& [kind, count] : counts)
            add(kind, count);
        text_ += '}';
    }
    /// `percents` of what `times` holds, and the greatest, in units of `unit_ns` nanoseconds.
    void add_percentiles(
        const client::Histogram& times, double unit_ns, std::string_view unit,
        std::initializer_list<std::pair<std::string_view, double>> percents) {
        for (const auto& [name, percent] : percents) {
            const auto found = static_cast<double>(times.percentile_ns(percent));
            add(fmt::format("{}_{}", name, unit), found / unit_ns);
        }
        add(fmt::format("max_{}", unit), static_cast<double>(times.max_ns()) / unit_ns);
    }
    /// Flushed, so that the reader gets the line at once.
    void print() {
        printf("{%s}\n", text_.c_str());
        if (fflush(stdout) != 0)
            die("standard output");
    }

private:
    void begin(std::string_view name) {
        if (!text_.empty() && text_.back() != '{')
            text_ += ", ";
        text_ += fmt::format("\"{}\": ", name);
    }

    std::string text_;
};

struct Measured {
    double seconds = 0;
    double cpu_seconds = 0;
};

/// Runs a load through its warm-up and the measured time. `load.run_until(ns)` continues the load;
/// `load.start_counting()` discards the counts of the warm-up.
template<typename Load>
Measured measure(Load& load, double warmup, double seconds) {
    const auto after = [](uint64_t start_ns, double time) {
        return start_ns + static_cast<uint64_t>(time * 1e9);
    };
    load.run_until(after(monotonic_ns(), warmup));
    load.start_counting();
    const double cpu_before = cpu_seconds();
    const uint64_t start_ns = monotonic_ns();
    load.run_until(after(start_ns, seconds));
    const double elapsed = static_cast<double>(monotonic_ns() - start_ns) / 1e9;
    return {.seconds = elapsed, .cpu_seconds = cpu_seconds() - cpu_before};
}

/// 127.0.0.1 is number 1, and so on up 127.0.0.0/8: all of it is this machine.
inline sockaddr_in loopback(unsigned number, unsigned port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(0x7f000000U + number);
    return address;
}

inline int connect_to(const Fd& fd, const sockaddr_in& address) {
    return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

inline int bind_to(const Fd& fd, const sockaddr_in& address) {
    return bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

inline void set_option(const Fd& fd, int level, int name, int value, const char* what) {
    if (setsockopt(fd.get(), level, name, &value, sizeof value) != 0)
        die(what);
}

/// A TCP socket without Nagle's delay.
inline Fd tcp_socket() {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd)
        die("socket");
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
    return fd;
}

/// Binds the next connection to the source's address; the kernel chooses its port when it connects,
/// so that only pairs in use are excluded, not ports.
inline void bind_source(const Fd& fd, unsigned number) {
    set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT");
    if (bind_to(fd, loopback(number, 0)) != 0)
        die("bind");
}

/// As many descriptors as this process may have.
inline void raise_descriptor_limit(unsigned needed) {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("setrlimit");
    if (limit.rlim_cur < needed)
        die_plainly("the limit of open files is too low for so many sockets");
}

/// A well-mixed number for each number (splitmix64's finalizer).
inline uint64_t mixed(uint64_t value) {
    value += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

/// Numbered messages of one size: eight bytes of sequence number, then a piece of a table of random
/// bytes that begins where the sequence number says. So writing and verifying are a copy and a
/// comparison, and neighbours differ in nearly every byte.
class Messages {
public:
    static constexpr size_t header_bytes = sizeof(uint64_t);

    explicit Messages(size_t bytes) : bytes_(bytes), table_(bytes + starts) {
        for (size_t at = 0; at < table_.size(); at++)
            table_[at] = static_cast<std::byte>(mixed(at) & 0xff);
    }

    void write(uint64_t sequence, std::byte* out) const {
        memcpy(out, &sequence, header_bytes);
        memcpy(out + header_bytes, pattern(sequence), bytes_ - header_bytes);
    }
    /// Of at least header_bytes.
    static uint64_t sequence_of(const std::byte* data) {
        uint64_t sequence = 0;
        memcpy(&sequence, data, header_bytes);
        return sequence;
    }
    bool is_right(uint64_t sequence, const std::byte* data, size_t size) const {
        return size == bytes_ && sequence_of(data) == sequence &&
               memcmp(data + header_bytes, pattern(sequence), bytes_ - header_bytes) == 0;
    }

private:
    static constexpr size_t starts = 4096;

    const std::byte* pattern(uint64_t sequence) const {
        return table_.data() + mixed(sequence) % starts;
    }

    size_t bytes_;
    std::vector<std::byte> table_;
};

} // namespace riposte::bench

#include "client/status/status.h"

#include "client/net/connect.h"
#include "client/net/event_loop.h"
#include "client/net/reach.h"
#include "client/show/measurement_output.h"
#include "client/show/report.h"
#include "client/show/terminal.h"
#include "client/status/http_answer.h"
#include "client/status/status_figures.h"
#include "client/status/status_report.h"
#include "common/clock.h"
#include "common/text.h"
#include "common/units.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace riposte::client {
namespace {

constexpr uint64_t sample_ns = 1'000'000'000; ///< between the two of a single report

Result<Fd> connect_unix(const std::string& path, uint32_t timeout_ms, const EventLoop* loop) {
    const auto failed = [&](std::string_view what) {
        return fail(Exit::failed, fmt::format("unix:{}: {}", escape(path), what));
    };
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size()); // options_status.cpp has measured it
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd)
        return fail(Exit::usage, fmt::format("socket: {}", reason(errno)));
    // A full backlog is no reason to wait for in poll(2): it is tried again.
    const uint64_t deadline_ms = monotonic_ms() + timeout_ms;
    while (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        if (errno != EAGAIN && errno != EINTR)
            return failed(reason(errno));
        if (loop != nullptr && loop->interrupted())
            return failed("interrupted");
        if (monotonic_ms() >= deadline_ms)
            return failed(fmt::format(
                "not connected after {}; -W waits longer", format_duration(timeout_ms)));
        ::usleep(10'000);
    }
    return fd;
}

/// The daemon that is asked, once per sample.
class Source {
public:
    Source(const CommonOptions& common, const StatusOptions& options)
        : common_(common), places_(options.places), usual_(options.usual_places) {}

    /// The document, of the first place that can be reached. An interrupt of `loop`, if there is
    /// one, is an error.
    Result<std::string> ask(const EventLoop* loop) {
        std::string problems;
        for (const StatusPlace& place : places_) {
            auto connected = connect(place, loop);
            if (connected) {
                asked_ = std::move(connected->name);
                return ask_http(connected->fd.get(), asked_, host(place), common_.timeout_ms, loop);
            }
            if (connected.error().exit == Exit::usage || !usual_)
                return std::unexpected(connected.error());
            problems += (problems.empty() ? "" : "; ") + connected.error().message;
        }
        return fail(
            Exit::failed, fmt::format(
                              "{}{} Metrics are off by default: systemctl enable --now "
                              "riposted-metrics.socket, or [metrics] listen in riposted.toml",
                              problems, problems.ends_with('?') ? "" : "."));
    }

    const std::string& asked() const { return asked_; } ///< whose answer the last one is

private:
    static std::string host(const StatusPlace& place) {
        return place.path.empty() ? http_host(place.endpoint) : "localhost";
    }
    struct Connected {
        Fd fd;
        std::string name; ///< for people
    };

    /// Looking up the name, and connecting, take no longer than the timeout together.
    Result<Connected> connect(const StatusPlace& place, const EventLoop* loop) const {
        if (!place.path.empty()) {
            auto fd = connect_unix(place.path, common_.timeout_ms, loop);
            if (!fd)
                return std::unexpected(fd.error());
            return Connected{std::move(*fd), "unix:" + escape(place.path)};
        }
        const Patience patience{monotonic_ms() + common_.timeout_ms, loop};
        const auto target = resolve_target(place.endpoint, common_, patience);
        if (!target)
            return std::unexpected(target.error());
        auto reached =
            reach(*target, {.datagram = {}, .patience = patience}, Report(common_.color, false));
        if (!reached)
            return std::unexpected(connect_error(*target, reached.error()));
        return Connected{std::move(reached->fd), name_of(*target, reached->address)};
    }

    const CommonOptions& common_;
    const std::vector<StatusPlace>& places_;
    bool usual_;
    std::string asked_;
};

/// What a report is made of: the document on one line, and what it says.
struct Sample {
    std::string document;
    StatusFigures figures;
};

Result<Sample> take(Source& source, const EventLoop* loop) {
    auto document = source.ask(loop);
    if (!document)
        return std::unexpected(document.error());
    auto figures = read_status(*document);
    if (!figures)
        return fail(
            Exit::failed, fmt::format(
                              "{}: its answer is not a status document of riposted: {}",
                              source.asked(), figures.error()));
    return Sample{one_line(*document), std::move(*figures)};
}

size_t terminal_rows() {
    winsize size{};
    return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_row : 0;
}

std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines)
        text.append(line).append("\n");
    return text;
}

class Watch {
public:
    Watch(const CommonOptions& common, const StatusOptions& options, EventLoop loop)
        : options_(options), source_(common, options), loop_(std::move(loop)),
          report_(common.color, false), color_(wants_color(
                                            common.color, isatty(STDOUT_FILENO) == 1,
                                            secure_getenv("NO_COLOR"), secure_getenv("TERM"))),
          screen_(!options.json && isatty(STDOUT_FILENO) == 1) {}

    /// Until interrupted; Exit::failed if the last sample failed.
    Result<Exit> run() {
        bool answered = false;
        for (uint64_t due_ns = monotonic_ns(); !loop_.interrupted();) {
            auto sample = take(source_, &loop_);
            if (loop_.interrupted())
                break;
            answered = sample.has_value();
            if (!sample && sample.error().exit == Exit::usage)
                return std::unexpected(sample.error());
            if (auto shown = show(sample); !shown)
                return std::unexpected(shown.error());
            due_ns += uint64_t{options_.interval_ms} * 1'000'000;
            const uint64_t now_ns = monotonic_ns();
            due_ns = std::max(due_ns, now_ns); // what was missed is not made up for
            while (!loop_.interrupted() && monotonic_ns() < due_ns)
                loop_.wait(due_ns);
        }
        return answered ? Exit::ok : Exit::failed;
    }

private:
    Result<void> show(Result<Sample>& sample) {
        if (!sample && !screen_) {
            report_.error(sample.error().message);
            return {};
        }
        if (options_.json)
            return print(sample->document);
        if (!sample)
            return draw(error_lines(sample.error().message, Look(color_, output_columns())));
        const StatusFigures* before = before_ ? &*before_ : nullptr;
        const Look look(color_, output_columns());
        std::vector<std::string> lines = options_.quiet
                                             ? status_warnings(sample->figures, look)
                                             : status_lines(sample->figures, before, look);
        before_ = std::move(sample->figures);
        if (screen_)
            return draw(std::move(lines));
        if (!lines.empty())
            lines.emplace_back();
        return print(joined(lines));
    }

    /// Over what stood there; nothing else of the terminal is changed, so that nothing has to be
    /// put back, however this process ends. A line is erased before it is written: after a line
    /// that fills the terminal the cursor is still on its last column, and erasing would take that.
    Result<void> draw(std::vector<std::string> lines) {
        const size_t rows = terminal_rows();
        const size_t columns = terminal_width(STDOUT_FILENO);
        std::string text = std::exchange(drawn_, true) ? "\033[H" : "\033[2J\033[H";
        for (const std::string& line : fit_rows(std::move(lines), rows > 1 ? rows - 1 : 0))
            text.append("\033[K").append(fit_columns(line, columns)).append("\n");
        return print(text + "\033[J");
    }

    const StatusOptions& options_;
    Source source_;
    EventLoop loop_;
    Report report_;
    bool color_;
    bool screen_;
    bool drawn_ = false;
    std::optional<StatusFigures> before_;
};

/// One report: of two samples for people, of one for programs.
Result<Exit> once(const CommonOptions& common, const StatusOptions& options) {
    Source source(common, options);
    auto first = take(source, nullptr);
    if (!first)
        return std::unexpected(first.error());
    if (options.json) {
        if (auto printed = print(first->document); !printed)
            return std::unexpected(printed.error());
        return Exit::ok;
    }
    const bool color = wants_color(
        common.color, isatty(STDOUT_FILENO) == 1, secure_getenv("NO_COLOR"), secure_getenv("TERM"));
    const Look look(color, output_columns());
    if (options.quiet) { // there are no rates among the warnings
        if (auto printed = print(joined(status_warnings(first->figures, look))); !printed)
            return std::unexpected(printed.error());
        return Exit::ok;
    }
    auto loop = EventLoop::open();
    if (!loop)
        return std::unexpected(loop.error());
    const uint64_t due_ns = monotonic_ns() + sample_ns;
    while (!loop->interrupted() && monotonic_ns() < due_ns)
        loop->wait(due_ns);
    auto second = take(source, &*loop);
    if (!second && !loop->interrupted())
        return std::unexpected(second.error());
    // Interrupted, it says what it knows by then: there are no rates.
    const auto lines = second ? status_lines(second->figures, &first->figures, look)
                              : status_lines(first->figures, nullptr, look);
    if (auto printed = print(joined(lines)); !printed)
        return std::unexpected(printed.error());
    return Exit::ok;
}

} // namespace

Result<Exit> status(const CommonOptions& common, const StatusOptions& options) {
    if (!options.watch)
        return once(common, options);
    auto loop = EventLoop::open();
    if (!loop)
        return std::unexpected(loop.error());
    return Watch(common, options, std::move(*loop)).run();
}

} // namespace riposte::client

#include "client/status/status_report.h"

#include "client/show/figures.h"
#include "client/show/table.h"
#include "common/text.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <ranges>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {
namespace {

constexpr double near_percent = 80; ///< of a limit: time to look

/// "3h 12m", "45s", "2d 5h".
std::string span_text(double seconds) {
    const auto s = static_cast<uint64_t>(std::clamp(seconds, 0.0, 1e11));
    if (s < 60)
        return fmt::format("{}s", s);
    if (s < 3600)
        return fmt::format("{}m {:02}s", s / 60, s % 60);
    if (s < 86400)
        return fmt::format("{}h {:02}m", s / 3600, s / 60 % 60);
    return fmt::format("{}d {}h", s / 86400, s / 3600 % 24);
}

/// "950", "12.3 k"; at most 7 characters.
std::string number_text(double number) {
    return number < 1e15 ? short_number(number) : fmt::format("{:.1e}", std::min(number, 1e99));
}

/// "950", "12.3 k"; whole up to 9,999, as counters are read.
std::string count_text(uint64_t count) {
    return count < 10'000 ? fmt::format("{}", count) : number_text(static_cast<double>(count));
}

std::string bytes_text(double bytes) {
    constexpr std::string_view units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    while (bytes >= 999.5 && unit + 1 < std::size(units)) {
        bytes /= 1024;
        ++unit;
    }
    if (unit == 0)
        return fmt::format("{:.0f} B", bytes);
    return fmt::format("{:.{}f} {}", bytes, bytes < 9.995 ? 2 : bytes < 99.95 ? 1 : 0, units[unit]);
}

/// What the daemon says, in at most `columns`.
std::string cut(std::string_view text, size_t columns) {
    return shorten(escape(text, 1000), columns);
}

/// A word that no line could hold is parted.
std::string part_words(std::string_view text, size_t columns) {
    const size_t word_max = columns - std::min<size_t>(columns - 1, 20);
    std::string parted;
    size_t word = 0;
    for (const char byte : text) {
        word = byte == ' ' ? 0 : word + 1;
        if (word > word_max) {
            parted += ' ';
            word = 1;
        }
        parted += byte;
    }
    return parted;
}

std::optional<double> percent_of(const StatusFigures::Limit& limit) {
    if (!limit.used || !limit.max)
        return std::nullopt;
    return *limit.max == 0
               ? 0
               : 100.0 * static_cast<double>(*limit.used) / static_cast<double>(*limit.max);
}

std::string percent_text(const StatusFigures::Limit& limit) {
    const auto percent = percent_of(limit);
    return !percent ? "" : *percent > 999 ? ">999%" : percentage(*percent);
}

void add_lines(std::vector<std::string>& lines, std::string_view text) {
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

class StatusText {
public:
    StatusText(const StatusFigures& now, const StatusFigures* before, Look look)
        : now_(now), before_(is_earlier(before) ? before : nullptr), look_(look) {}

    std::vector<std::string> lines() {
        write_head();
        write_warnings();
        write_limits();
        write_listeners();
        write_latencies();
        write_refused();
        return std::move(lines_);
    }

    std::vector<std::string> warnings() {
        write_warnings();
        return std::move(lines_);
    }

private:
    bool is_earlier(const StatusFigures* before) const {
        return before != nullptr && before->pid == now_.pid &&
               before->start_time == now_.start_time && before->time < now_.time;
    }

    /// What the daemon says at length.
    std::string sentence(std::string_view text) const {
        return part_words(escape(text, 400), look_.columns);
    }
    /// Breaks a sentence.
    void add_flow(std::string_view label, std::string_view text, Ink ink = Ink::plain) {
        add_lines(lines_, flow(label, text, ink, look_));
    }
    /// On a narrow terminal names are cut, and the table folds.
    void add_narrow_table(std::vector<std::vector<std::string>> rows) {
        std::vector<std::string> names;
        names.reserve(rows.size());
        for (const auto& row : rows)
            names.push_back(row.front());
        const std::vector<std::string> cut_names = shorten_all(names, look_.columns / 2);
        for (size_t i = 0; i < rows.size(); ++i)
            rows[i].front() = cut_names[i];
        lines_.emplace_back();
        add_lines(lines_, render_table(rows, 2, look_));
    }
    /// A name that the other cells leave no room for stands in a line of its own, above them.
    void add_table(std::vector<std::vector<std::string>> rows) {
        if (look_.is_narrow()) {
            add_narrow_table(std::move(rows));
            return;
        }
        constexpr size_t gap = 2;
        size_t room = text_columns;
        for (size_t at = 1; at < rows.front().size(); ++at) {
            const auto width = [&](const auto& row) { return columns_of(row[at]); };
            room -= std::min(room, gap + std::ranges::max(rows | std::views::transform(width)));
        }
        std::vector<std::string> above(rows.size());
        for (size_t i = 0; i < rows.size(); ++i)
            if (columns_of(rows[i].front()) > room)
                above[i] = shorten(std::exchange(rows[i].front(), ""), text_columns);
        lines_.emplace_back();
        std::vector<std::string> lines;
        add_lines(lines, render_table(rows, gap, look_));
        for (size_t i = 0; i < lines.size(); ++i) {
            if (!above[i].empty())
                lines_.push_back(std::move(above[i]));
            lines_.push_back(std::move(lines[i]));
        }
    }

    void write_head() {
        add_flow(
            "", fmt::format(
                    "riposted {}, {} for {}, pid {}", cut(now_.version, 20), cut(now_.state, 10),
                    span_text(now_.time - now_.start_time), now_.pid));
        add_flow(
            "  backend  ", cut(now_.backend, 20) +
                               (now_.backend_reason.empty()
                                    ? ""
                                    : fmt::format(" ({})", sentence(now_.backend_reason))) +
                               ", " + plural(now_.workers, "worker"));
        add_flow("  sandbox  ", sentence(now_.sandbox));
        if (now_.reload_ok)
            add_flow(
                "  config   ", fmt::format(
                                   "loaded {} ago, {}", span_text(now_.time - now_.reload_time),
                                   plural(now_.reloads, "reload")));
    }

    /// What the operator should look at.
    void write_warnings() {
        const auto warn = [&](std::string_view text) { add_flow("! ", text, Ink::failure); };
        if (now_.state != "running")
            warn("stopping: no new connections are accepted, pending replies are sent");
        if (!now_.reload_ok)
            warn(fmt::format(
                "reload failed {} ago, the previous configuration stays in force: {}",
                span_text(now_.time - now_.reload_time), sentence(now_.reload_error)));
        for (const StatusFigures::Limit& limit : now_.limits)
            if (percent_of(limit).value_or(0) >= near_percent)
                warn(
                    fmt::format("{} at {} of its limit", cut(limit.name, 20), percent_text(limit)));
        for (const StatusFigures::AcceptError& each : now_.accept_errors)
            warn(fmt::format("accepting paused {} for {}", times(each.count), cut(each.name, 20)));
    }

    static std::string times(uint64_t count) {
        return count == 1 ? "once" : count_text(count) + " times";
    }

    void write_limits() {
        std::vector<std::vector<std::string>> rows{{"limits", "used", "of", ""}};
        for (const StatusFigures::Limit& limit : now_.limits) {
            const auto text = [&](std::optional<uint64_t> value) {
                return !value                  ? "-"
                       : limit.unit == "bytes" ? bytes_text(static_cast<double>(*value))
                                               : count_text(*value);
            };
            rows.push_back(
                {cut(limit.name, 20), text(limit.used), text(limit.max), percent_text(limit)});
        }
        add_table(rows);
    }

    /// A second, from what it was before; "" if that is not known.
    std::string rate(uint64_t now, const uint64_t* before) const {
        if (before_ == nullptr || before == nullptr || *before > now)
            return "";
        return number_text(static_cast<double>(now - *before) / (now_.time - before_->time));
    }

    const StatusFigures::Listener* earlier(const StatusFigures::Listener& listener) const {
        if (before_ == nullptr)
            return nullptr;
        const auto found = std::ranges::find_if(before_->listeners, [&](const auto& each) {
            return each.service == listener.service && each.address == listener.address;
        });
        return found == before_->listeners.end() ? nullptr : &*found;
    }

    void write_listeners() {
        std::vector<std::vector<std::string>> rows{
            {"listeners", "open", "came", "came/s", "in B/s", "out B/s", "refused"}};
        for (const StatusFigures::Listener& at : now_.listeners) {
            const StatusFigures::Listener* was = earlier(at);
            const bool stream = at.address.starts_with("tcp://");
            const auto came =
                stream ? &StatusFigures::Listener::accepted : &StatusFigures::Listener::received;
            const auto per_second = [&](uint64_t StatusFigures::Listener::* member) {
                return rate(at.*member, was == nullptr ? nullptr : &(was->*member));
            };
            rows.push_back(
                {cut(at.service, 10) + " " + escape(at.address, 200),
                 stream ? count_text(at.connections) : "", count_text(at.*came), per_second(came),
                 per_second(&StatusFigures::Listener::received_bytes),
                 per_second(&StatusFigures::Listener::sent_bytes), count_text(at.refused)});
        }
        add_table(rows);
        if (now_.listeners_omitted > 0)
            add_flow("", fmt::format("... {} more", now_.listeners_omitted));
    }

    void write_latencies() {
        if (now_.services.empty())
            return;
        std::vector<std::vector<std::string>> rows{
            {"answered after", "p50", "p99", "p99.9", "mean", "answers"}};
        for (const StatusFigures::Service& each : now_.services)
            rows.push_back(
                {cut(each.service, 10) + " " + cut(each.transport, 5),
                 short_duration(each.p50 * 1e9), short_duration(each.p99 * 1e9),
                 short_duration(each.p999 * 1e9), short_duration(each.mean * 1e9),
                 count_text(each.answers)});
        add_table(rows);
    }

    void write_refused() {
        if (now_.refused.empty())
            return;
        std::vector<std::vector<std::string>> rows{{"refused, dropped, ended", "count", "per s"}};
        for (const StatusFigures::Refused& each : now_.refused) {
            const uint64_t* was = nullptr;
            uint64_t none = 0;
            if (before_ != nullptr) {
                const auto found = std::ranges::find_if(before_->refused, [&](const auto& at) {
                    return at.transport == each.transport && at.reason == each.reason;
                });
                was = found == before_->refused.end() ? &none : &found->count;
            }
            rows.push_back(
                {fmt::format(
                     "{} {}", cut(each.transport, 5),
                     cut(each.text.empty() ? each.reason : each.text, 46)),
                 count_text(each.count), rate(each.count, was)});
        }
        add_table(rows);
    }

    const StatusFigures& now_;
    const StatusFigures* before_;
    Look look_;
    std::vector<std::string> lines_;
};

} // namespace

std::vector<std::string> status_lines(
    const StatusFigures& now, const StatusFigures* before, Look look) {
    return StatusText(now, before, look).lines();
}

std::vector<std::string> status_warnings(const StatusFigures& now, Look look) {
    return StatusText(now, nullptr, look).warnings();
}

std::vector<std::string> fit_rows(std::vector<std::string> lines, size_t rows) {
    if (lines.size() <= rows || rows == 0)
        return lines;
    const size_t shown = rows - 1;
    const size_t more = lines.size() - shown;
    lines.resize(shown);
    lines.push_back("... " + plural(more, "more line"));
    return lines;
}

std::string fit_columns(std::string_view line, size_t columns) {
    std::string fitting;
    for (size_t at = 0; at < line.size();) {
        if (line[at] == '\033') { // a colour takes no column, and the one that ends it is kept
            const size_t end = std::min(line.find('m', at), line.size() - 1) + 1;
            fitting += line.substr(at, end - at);
            at = end;
        } else {
            if (columns > 0) {
                fitting += line[at];
                --columns;
            }
            ++at;
        }
    }
    return fitting;
}

std::vector<std::string> error_lines(std::string_view message, Look look) {
    std::vector<std::string> lines;
    add_lines(lines, flow("riposte: ", part_words(message, look.columns), Ink::failure, look));
    return lines;
}

} // namespace riposte::client

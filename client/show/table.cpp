#include "client/show/table.h"

#include "client/show/figures.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <optional>
#include <utility>
#include <variant>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr std::string_view ellipsis = "...";

bool starts_code_point(char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;
}

/// The byte at which the code point number `index` starts.
size_t byte_of(std::string_view text, size_t index) {
    size_t at = 0;
    for (; at < text.size(); at++)
        if (starts_code_point(text[at]) && index-- == 0)
            break;
    return at;
}

void pad(std::string& line, size_t width) {
    line.append(width - std::min(width, columns_of(line)), ' ');
}

/// Without the sequences that colour it.
size_t shown_columns(std::string_view text) {
    size_t columns = 0;
    while (!text.empty()) {
        if (text.starts_with('\033')) {
            text.remove_prefix(std::min(text.find('m'), text.size() - 1) + 1);
            continue;
        }
        columns += static_cast<size_t>(starts_code_point(text.front()));
        text.remove_prefix(1);
    }
    return columns;
}

/// Each with its number.
std::vector<std::string> numbered(std::span<const std::string> names, size_t width) {
    std::vector<std::string> cut;
    for (const std::string& name : names) {
        const std::string number = fmt::format("{}: ", cut.size() + 1);
        cut.push_back(number + shorten(name, width - number.size()));
    }
    return cut;
}

/// Where an item is wider than a line, its words.
std::vector<Item> broken(std::span<const Item> items, size_t room) {
    std::vector<Item> pieces;
    for (const Item& item : items) {
        std::string_view rest = item.text;
        if (columns_of(rest) + columns_of(item.after) > room) {
            for (size_t size = rest.find(' '); size != std::string_view::npos;
                 size = rest.find(' ')) {
                pieces.push_back({std::string(rest.substr(0, size)), item.ink, ""});
                rest.remove_prefix(size + 1);
            }
        }
        pieces.push_back({std::string(rest), item.ink, item.after});
    }
    return pieces;
}

/// `ends`: nothing comes behind the last item, which then has no punctuation.
std::string flow_items(std::string_view label, std::span<const Item> whole, Look look, bool ends) {
    const size_t indent = columns_of(label);
    const std::vector<Item> items = broken(whole, look.columns - std::min(look.columns, indent));
    std::string text(label);
    size_t column = indent;
    for (size_t at = 0; at < items.size(); at++) {
        const Item& item = items[at];
        const bool is_last = ends && at + 1 == items.size();
        const std::string_view after = is_last ? std::string_view() : item.after;
        const size_t width = columns_of(item.text) + columns_of(after);
        if (column > indent && column + 1 + width > look.columns) {
            text += '\n';
            text.append(indent, ' ');
            column = indent;
        } else if (column > indent) {
            text += ' ';
            column++;
        }
        text += paint(item.text, item.ink, look.color);
        text += after;
        column += width;
    }
    return text + '\n';
}

/// The first column and those from `first` to before `end`.
std::string table_part(
    std::span<const std::vector<std::string>> rows, std::span<const size_t> widths, size_t first,
    size_t end, size_t gap, Look look) {
    std::string text;
    for (const auto& row : rows) {
        // What has no cell here is not repeated, but in the first part.
        if (first > 1 && row.size() <= first)
            continue;
        std::string line(row[0]);
        size_t line_end = widths[0];
        for (size_t at = first; at < std::min(row.size(), end); at++) {
            line_end += gap + widths[at];
            pad(line, line_end - columns_of(row[at]));
            line += row[at];
        }
        line.erase(line.find_last_not_of(' ') + 1);
        text += paint(line, &row == &rows.front() ? Ink::quiet : Ink::plain, look.color);
        text += '\n';
    }
    return text;
}

} // namespace

std::string paint(std::string_view text, Ink ink, bool color) {
    if (!color || ink == Ink::plain || text.empty())
        return std::string(text);
    return fmt::format("\033[{}m{}\033[0m", ink == Ink::failure ? "1;31" : "2", text);
}

size_t columns_of(std::string_view text) {
    return static_cast<size_t>(std::ranges::count_if(text, starts_code_point));
}

std::string flow(std::string_view label, std::span<const Item> items, Look look) {
    return flow_items(label, items, look, true);
}

std::string flow(std::string_view label, std::string_view sentence, Ink ink, Look look) {
    std::vector<Item> words;
    while (!sentence.empty()) {
        const size_t size = std::min(sentence.find(' '), sentence.size());
        if (size > 0)
            words.push_back({std::string(sentence.substr(0, size)), ink, ""});
        sentence.remove_prefix(std::min(size + 1, sentence.size()));
    }
    return flow(label, words, look);
}

std::string fold(std::string_view line, size_t columns) {
    constexpr std::string_view indent = "  ";
    std::string text;
    size_t column = 0;
    while (columns < text_columns && !line.empty()) {
        const std::string_view word = line.substr(0, line.find_first_of(" \n"));
        const size_t width = shown_columns(word);
        const bool breaks = column > indent.size() && column + 1 + width > columns;
        if (breaks)
            text.append("\n").append(indent);
        else if (column > 0)
            text += ' ';
        column = breaks ? indent.size() + width : column + (column > 0 ? 1 : 0) + width;
        text += word;
        line.remove_prefix(word.size());
        if (line.starts_with('\n')) {
            text += '\n';
            column = 0;
        }
        line.remove_prefix(std::min<size_t>(line.size(), 1));
    }
    return text.append(line);
}

std::string fixed_lines(std::string_view label, std::span<const FixedLine> lines, Look look) {
    std::string text;
    std::string indent(label);
    const auto add = [&](std::span<const Item> items, bool ends) {
        text += flow_items(indent, items, look, ends);
        indent.assign(columns_of(label), ' ');
    };
    for (const FixedLine& line : lines) {
        std::vector<std::vector<Item>> parts;
        for (const std::vector<Item>& part : line) {
            if (part.empty())
                continue;
            if (parts.empty() || look.is_narrow())
                parts.push_back(part);
            else
                parts.back().insert(parts.back().end(), part.begin(), part.end());
        }
        for (const auto& part : parts)
            add(part, &part == &parts.back());
    }
    return text;
}

std::string title_line(std::string_view name, std::string_view what, Look look) {
    const bool fits = columns_of(name) + columns_of(what) + 9 <= look.columns;
    const std::string line = fmt::format("--- {}{}{} ---", name, fits ? " " : "\n--- ", what);
    return paint(line, Ink::quiet, look.color) + '\n';
}

std::string shorten(std::string_view name, size_t width) {
    assert(width > ellipsis.size() + 1);
    const size_t columns = columns_of(name);
    if (columns <= width)
        return std::string(name);
    // The end says more than the middle: the domain and the port.
    const size_t kept = width - ellipsis.size();
    const size_t tail = (kept + 1) / 2;
    return fmt::format(
        "{}{}{}", name.substr(0, byte_of(name, kept - tail)), ellipsis,
        name.substr(byte_of(name, columns - tail)));
}

std::vector<std::string> shorten_all(std::span<const std::string> names, size_t width) {
    std::vector<std::string> cut;
    for (size_t at = 0; at < names.size(); at++) {
        std::string each = shorten(names[at], width);
        for (size_t other = 0; other < at; other++)
            if (cut[other] == each && names[other] != names[at])
                return numbered(names, width);
        cut.push_back(std::move(each));
    }
    return cut;
}

std::string render_table(std::span<const std::vector<std::string>> rows, size_t gap, Look look) {
    std::vector<size_t> widths(rows.front().size());
    for (const auto& row : rows)
        for (size_t at = 0; at < std::min(row.size(), widths.size()); at++)
            widths[at] = std::max(widths[at], columns_of(row[at]));
    std::string text;
    size_t first = 1;
    do {
        size_t end = first;
        size_t width = widths[0];
        // One column at least, however narrow the terminal.
        while (end < widths.size() && (end == first || width + gap + widths[end] <= look.columns))
            width += gap + widths[end++];
        text += table_part(rows, widths, first, end, gap, look);
        first = end;
    } while (first < widths.size());
    return text;
}

std::string latency_table(std::span<const Distribution> rows, Look look) {
    using Exact = double Figures::*;
    using Percentile = std::optional<double> Figures::*;
    using Column = std::pair<std::string_view, std::variant<Exact, Percentile>>;
    constexpr std::array<Column, 8> columns{{
        {"min", &Figures::min_ns},
        {"mean", &Figures::mean_ns},
        {"median", &Figures::median_ns},
        {"p95", &Figures::p95_ns},
        {"p99", &Figures::p99_ns},
        {"p99.9", &Figures::p999_ns},
        {"max", &Figures::max_ns},
        {"stddev", &Figures::stddev_ns},
    }};
    std::vector<std::vector<std::string>> table{{"in ms"}};
    std::vector<Figures> all;
    for (const Distribution& row : rows) {
        table.push_back({std::string(row.label)});
        all.push_back(figures(*row.histogram));
    }
    for (const auto& [name, member] : columns) {
        // Padded to the same width everywhere: tables of several runs stand below each other.
        table.front().push_back(fmt::format("{:>7}", name));
        std::vector<std::string> texts;
        if (const Exact* exact = std::get_if<Exact>(&member)) {
            std::vector<double> values;
            values.reserve(all.size());
            for (const Figures& each : all)
                values.push_back(each.**exact);
            texts = aligned_milliseconds(values);
        } else {
            std::vector<std::optional<double>> values;
            values.reserve(all.size());
            for (const Figures& each : all)
                values.push_back(each.*std::get<Percentile>(member));
            texts = aligned_percentiles(values);
        }
        for (size_t at = 0; at < texts.size(); at++)
            table[at + 1].push_back(texts[at]);
    }
    return render_table(table, 1, look);
}

} // namespace riposte::client

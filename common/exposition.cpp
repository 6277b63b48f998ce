#include "common/exposition.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace riposte {
namespace {

std::string_view to_string(MetricType type) {
    constexpr std::string_view names[] = {"counter", "gauge", "histogram"};
    return names[static_cast<size_t>(type)];
}

/// The last word of a name, if it is a unit of OpenMetrics that is used here.
std::string_view unit_of(std::string_view name) {
    constexpr std::string_view units[] = {"seconds", "bytes"};
    const auto* found =
        std::ranges::find_if(units, [&](std::string_view unit) { return name.ends_with(unit); });
    return found == std::end(units) ? "" : *found;
}

/// Backslash, quote and line feed, as both formats say.
void append_escaped(std::string& text, std::string_view value) {
    for (const char byte : value) {
        if (byte == '\\' || byte == '"')
            text += '\\';
        if (byte == '\n')
            text += "\\n";
        else
            text += byte;
    }
}

} // namespace

MetricLabels::MetricLabels(
    std::initializer_list<std::pair<std::string_view, std::string_view>> labels) {
    for (const auto& [name, value] : labels)
        add(name, value);
}

void MetricLabels::add(std::string_view name, std::string_view value) {
    if (!text_.empty())
        text_ += ',';
    text_ += name;
    text_ += "=\"";
    append_escaped(text_, value);
    text_ += '"';
}

MetricLabels MetricLabels::with(std::string_view name, std::string_view value) const {
    MetricLabels labels = *this;
    labels.add(name, value);
    return labels;
}

std::string bound_text(double bound) {
    if (std::isinf(bound))
        return "+Inf";
    std::string text = fmt::format("{}", bound);
    if (text.find_first_of(".e") == std::string::npos)
        text += ".0";
    return text;
}

void ExpositionWriter::begin(const MetricFamily& family) {
    family_ = family;
    const bool open = format_ == ExpositionFormat::openmetrics;
    const std::string_view total = family.type == MetricType::counter && !open ? "_total" : "";
    const auto out = std::back_inserter(line_);
    fmt::format_to(out, "# HELP {}{} {}\n", family.name, total, family.help);
    fmt::format_to(out, "# TYPE {}{} {}\n", family.name, total, to_string(family.type));
    if (const std::string_view unit = unit_of(family.name); open && !unit.empty())
        fmt::format_to(out, "# UNIT {} {}\n", family.name, unit);
    flush();
}

void ExpositionWriter::created(const MetricLabels& labels, double seconds) {
    if (format_ == ExpositionFormat::openmetrics)
        sample("_created", labels, fmt::format("{:.3f}", seconds));
}

HttpBody ExpositionWriter::finish() && {
    if (format_ == ExpositionFormat::openmetrics)
        body_.append("# EOF\n");
    return std::move(body_);
}

void ExpositionWriter::flush() {
    body_.append(line_);
    line_.clear();
}

} // namespace riposte

#include "client/show/svg.h"

#include <cstddef>
#include <cstdint>

#include <fmt/format.h>

namespace riposte::client {

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

/// The bytes of the well-formed character that `text` begins with, or 0: Unicode's table 3-7, less
/// what XML 1.0 leaves out.
size_t character_size(std::string_view text) {
    const auto byte = [&](size_t at) { return static_cast<uint8_t>(text[at]); };
    const uint8_t first = byte(0);
    if (first < 0x80)
        return first >= 0x20 || first == '\n' || first == '\t' ? (first == 0x7f ? 0 : 1) : 0;
    const size_t size = first >= 0xC2 && first <= 0xDF   ? 2
                        : first >= 0xE0 && first <= 0xEF ? 3
                        : first >= 0xF0 && first <= 0xF4 ? 4
                                                         : 0;
    if (size == 0 || text.size() < size)
        return 0;
    uint32_t code = first & (0xFFU >> (size + 1));
    for (size_t at = 1; at < size; ++at) {
        if ((byte(at) & 0xC0U) != 0x80U)
            return 0;
        code = code << 6 | (byte(at) & 0x3FU);
    }
    const bool is_long_form = code < (size == 4 ? 0x10000U : size == 3 ? 0x800U : 0x80U);
    const bool is_surrogate = code >= 0xD800 && code <= 0xDFFF;
    const bool is_control = code < 0xA0 || code == 0xFFFE || code == 0xFFFF;
    return is_long_form || is_surrogate || is_control || code > 0x10FFFF ? 0 : size;
}

} // namespace

std::string xml_text(std::string_view text) {
    std::string escaped;
    while (!text.empty()) {
        const size_t size = character_size(text);
        switch (text.front()) {
        case '&':
            escaped += "&amp;";
            break;
        case '<':
            escaped += "&lt;";
            break;
        case '>':
            escaped += "&gt;";
            break;
        case '"':
            escaped += "&quot;";
            break;
        case '\'':
            escaped += "&#39;";
            break;
        default:
            escaped += size > 0 ? text.substr(0, size) : replacement;
        }
        text.remove_prefix(size > 0 ? size : 1);
    }
    return escaped;
}

void SvgPath::move_to(Point to) {
    data_ += fmt::format("M{:.1f} {:.1f}", to.x, to.y);
}

void SvgPath::line_to(Point to) {
    data_ += fmt::format("L{:.1f} {:.1f}", to.x, to.y);
}

void SvgPath::close() {
    data_ += 'Z';
}

void SvgPath::dot(Point at) {
    // Some renderers leave out a line of no length.
    move_to(at);
    data_ += "h.01";
}

std::string SvgPath::element(std::string_view classes) const {
    return empty() ? "" : fmt::format("<path class=\"{}\" d=\"{}\"/>\n", classes, data_);
}

std::string svg_line(Point from, Point to, std::string_view classes) {
    return fmt::format(
        "<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", classes,
        from.x, from.y, to.x, to.y);
}

std::string svg_rect(Point corner, double width, double height, std::string_view classes) {
    return fmt::format(
        "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>\n",
        classes, corner.x, corner.y, width, height);
}

std::string svg_circle(Point center, double radius, std::string_view classes) {
    return fmt::format(
        "<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\"/>\n", classes, center.x,
        center.y, radius);
}

std::string svg_text(Point at, std::string_view text, std::string_view classes) {
    return fmt::format(
        "<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", classes, at.x, at.y,
        xml_text(text));
}

} // namespace riposte::client

#include "daemon/log/log_failure.h"

#include <string>

#include <fmt/format.h>

namespace riposte {
namespace {

/// Takes ":NUMBER" off the end of `text`; "" if there is none.
std::string_view take_number(std::string_view& text) {
    const size_t colon = text.rfind(':');
    if (colon == std::string_view::npos)
        return "";
    const std::string_view number = text.substr(colon + 1);
    if (number.empty() || number.find_first_not_of("0123456789") != std::string_view::npos)
        return "";
    text = text.substr(0, colon);
    return number;
}

} // namespace

std::optional<FilePlace> leading_place(std::string_view message) {
    std::string_view head = message.substr(0, message.find(": "));
    if (head.size() == message.size())
        return std::nullopt;
    const std::string_view column = take_number(head);
    const std::string_view line = take_number(head);
    if (column.empty() || line.empty() || head.empty())
        return std::nullopt;
    return FilePlace{.file = head, .line = line, .column = column};
}

void log_failure(log::Event event, std::string_view prefix, const Error& error) {
    const std::string message = fmt::format("{}{}", prefix, error.message);
    const std::string exit = fmt::to_string(static_cast<int>(error.exit));
    const auto place = leading_place(error.message);
    if (!place) {
        log::write(
            LogLevel::error, event, message,
            {{"RIPOSTE_ERROR", error.message}, {"RIPOSTE_EXIT", exit}});
        return;
    }
    log::write(
        LogLevel::error, event, message,
        {{"RIPOSTE_ERROR", error.message},
         {"RIPOSTE_EXIT", exit},
         {"RIPOSTE_FILE", std::string(place->file)},
         {"RIPOSTE_LINE", std::string(place->line)},
         {"RIPOSTE_COLUMN", std::string(place->column)}});
}

} // namespace riposte

// The JSON is read by events: memory and depth are bounded by what a list may be, whatever the text
// is.
#include "client/probe/target_list.h"

#include "common/address.h"
#include "common/text.h"
#include "common/units.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {

namespace {

/// "line 3, column 7", of a byte of the text.
std::string place_of(std::string_view text, size_t offset) {
    const std::string_view before = text.substr(0, offset);
    const auto lines = std::ranges::count(before, '\n');
    const size_t begin = before.rfind('\n') + 1; // of none: 0
    return fmt::format("line {}, column {}", lines + 1, offset - begin + 1);
}

class ListReader final : public nlohmann::json_sax<nlohmann::json> {
public:
    explicit ListReader(std::string_view text) : text_(text) {}

    std::string fault;
    std::vector<ListedTarget> targets;

    bool start_array(size_t) override {
        if (in_ == In::document)
            return enter(In::list);
        if (in_ == In::group && key_ == "targets")
            return enter(In::targets);
        return refuse_value("an array");
    }
    bool end_array() override {
        in_ = in_ == In::targets ? In::group : In::end;
        return true;
    }
    bool start_object(size_t) override {
        if (in_ == In::list) {
            group_++;
            first_ = targets.size();
            labels_ = {};
            return enter(In::group);
        }
        if (in_ == In::group && key_ == "labels")
            return enter(In::labels);
        return refuse_value("an object");
    }
    bool end_object() override {
        if (in_ == In::labels)
            return enter(In::group);
        size_t bytes = 0;
        for (const auto& [name, value] : labels_)
            bytes += name.size() + value.size();
        if (label_bytes_ += bytes * (targets.size() - first_); label_bytes_ > list_label_bytes_max)
            return refuse(fmt::format(
                "is too much: the labels of all targets of a list have at most {}",
                format_size(list_label_bytes_max)));
        for (size_t at = first_; at < targets.size(); at++)
            targets[at].labels = labels_;
        return enter(In::list);
    }
    bool key(std::string& name) override {
        key_ = std::move(name);
        if (in_ == In::group && key_ != "targets" && key_ != "labels")
            return refuse(fmt::format(
                "has the key '{}'; a group has \"targets\" and \"labels\"", escape(key_, 40)));
        if (in_ == In::labels && !is_label_name(key_))
            return refuse(fmt::format("has the label '{}'; {}", escape(key_, 40), label_name_rule));
        return true;
    }
    bool string(std::string& value) override {
        if (in_ == In::targets)
            return add_target(value);
        if (in_ == In::labels)
            return add_label(value);
        return refuse_value("a string");
    }
    bool null() override { return refuse_value("null"); }
    bool boolean(bool) override { return refuse_value("a boolean"); }
    bool number_integer(number_integer_t) override { return refuse_value("a number"); }
    bool number_unsigned(number_unsigned_t) override { return refuse_value("a number"); }
    bool number_float(number_float_t, const std::string&) override {
        return refuse_value("a number");
    }
    bool binary(binary_t&) override { return refuse_value("bytes"); }
    bool parse_error(
        size_t position, const std::string&, const nlohmann::detail::exception&) override {
        // The position is that behind the last byte that was read.
        const size_t offset = std::min(position == 0 ? 0 : position - 1, text_.size());
        fault = fmt::format(
            "{}: not JSON{}", place_of(text_, offset),
            offset + 1 >= text_.size() ? "; the text ends too early: is it being written?" : "");
        return false;
    }

private:
    enum class In : uint8_t { document, list, group, targets, labels, end };

    bool enter(In in) {
        in_ = in;
        return true;
    }
    bool refuse(std::string_view what) {
        fault = fmt::format("group {} {}", group_, what);
        return false;
    }
    bool refuse_value(std::string_view what) {
        switch (in_) {
        case In::document:
        case In::end:
            fault = fmt::format(
                "the list is {}; it must be an array like [{{\"targets\": [\"a:7007\"]}}]", what);
            return false;
        case In::list:
            fault = fmt::format(
                "group {} is {}; it must be an object like {{\"targets\": [\"a:7007\"]}}",
                group_ + 1, what);
            return false;
        case In::group:
            return refuse(fmt::format(
                "has {} for '{}'; it must be {}", what, key_,
                key_ == "targets" ? "an array of strings like \"a:7007\""
                                  : "an object of strings"));
        case In::targets:
            return refuse(
                fmt::format("has {} among its targets; a target is a string \"HOST:PORT\"", what));
        case In::labels:
            return refuse(fmt::format(
                "has {} for the label '{}'; it must be a string", what, escape(key_, 40)));
        }
        std::unreachable();
    }
    bool add_target(const std::string& text) {
        if (targets.size() == listed_targets_max)
            return refuse(
                fmt::format("is too much: a list has at most {} targets", listed_targets_max));
        auto endpoint = parse_endpoint(text, {.default_port = std::nullopt});
        if (!endpoint)
            return refuse(fmt::format(
                "has the target '{}', column {}: {}", escape(text, 255),
                endpoint.error().offset + 1, endpoint.error().message));
        if (endpoint->transport)
            return refuse(fmt::format(
                "has the target '{}': write HOST:PORT without a scheme; [probe] transport says how "
                "targets are probed",
                escape(text, 255)));
        if (endpoint->port == 0)
            return refuse(fmt::format(
                "has the target '{}': no service listens on port 0", escape(text, 255)));
        if (is_group_address(endpoint->host))
            return refuse(fmt::format(
                "has the target '{}', which is no single host; write the address of one",
                escape(text, 255)));
        targets.push_back({.name = text, .endpoint = *std::move(endpoint), .labels = {}});
        return true;
    }
    bool add_label(std::string& value) {
        if (key_.starts_with("__"))
            return true;
        if (key_.size() > label_bytes_max || value.size() > label_bytes_max)
            return refuse(fmt::format(
                "has the label '{}', which is too long: names and values have at most {} bytes",
                escape(key_, 40), label_bytes_max));
        if (!labels_.contains(key_) && labels_.size() == target_labels_max)
            return refuse(fmt::format("has more than {} labels", target_labels_max));
        labels_[key_] = std::move(value);
        return true;
    }

    std::string_view text_;
    In in_ = In::document;
    std::string key_;
    size_t group_ = 0;       ///< counted from 1
    size_t first_ = 0;       ///< of the group's targets
    Labels labels_;          ///< of the group
    size_t label_bytes_ = 0; ///< of all targets
};

} // namespace

bool is_label_name(std::string_view name) {
    const auto is_letter = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    };
    return !name.empty() && is_letter(name.front()) &&
           std::ranges::all_of(name, [&](char c) { return is_letter(c) || is_digit(c); });
}

bool is_group_address(std::string_view host) {
    constexpr int first_group = 224; // 224.0.0.0/4, and beyond it what no host has
    if (!is_numeric_host(std::string(host)))
        return false;
    if (host.find(':') != std::string_view::npos)
        return host.starts_with("ff") || host.starts_with("FF");
    int first = 0;
    std::from_chars(host.data(), host.data() + host.size(), first);
    return first >= first_group;
}

std::expected<std::vector<ListedTarget>, std::string> parse_target_list(std::string_view text) {
    ListReader reader(text);
    if (!nlohmann::json::sax_parse(text.begin(), text.end(), &reader))
        return std::unexpected(std::move(reader.fault));
    return std::move(reader.targets);
}

} // namespace riposte::client

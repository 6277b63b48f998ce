#include "client/status/status_figures.h"

#include "common/text.h"

#include <nlohmann/json.hpp>

#include <fmt/format.h>

namespace riposte::client {
namespace {

using nlohmann::json;

/// Reads members of one object; the caller keeps the first fault of all.
class Reader {
public:
    /// `name` is what a fault calls the object, "" at the top.
    Reader(const json& object, const std::string& name, std::string& fault)
        : object_(object), path_(name.empty() ? "" : name + "."), fault_(fault) {
        if (!object.is_object() && fault_.empty())
            fault_ = (name.empty() ? "it" : name) + " is not an object";
    }

    void operator()(const char* key, uint64_t& value) {
        if (const json* found = find(key); found != nullptr) {
            if (found->is_number_unsigned())
                value = found->get<uint64_t>();
            else
                complain(key, "is not a whole number");
        }
    }
    /// A key that may be missing.
    void operator()(const char* key, std::optional<uint64_t>& value) {
        if (object_.is_object() && object_.contains(key))
            (*this)(key, value.emplace());
    }
    void operator()(const char* key, double& value) {
        if (const json* found = find(key); found != nullptr) {
            if (found->is_number())
                value = found->get<double>();
            else
                complain(key, "is not a number");
        }
    }
    void operator()(const char* key, bool& value) {
        if (const json* found = find(key); found != nullptr) {
            if (found->is_boolean())
                value = found->get<bool>();
            else
                complain(key, "is neither true nor false");
        }
    }
    void operator()(const char* key, std::string& value) {
        if (const json* found = find(key); found != nullptr) {
            if (found->is_string())
                value = found->get<std::string>();
            else
                complain(key, "is not a text");
        }
    }
    Reader object(const char* key) {
        const json* found = find(key);
        return {found != nullptr ? *found : empty(), path_ + key, fault_};
    }
    template<class Element>
    void list(const char* key, std::vector<Element>& values, auto read_element) {
        const json* found = find(key);
        if (found == nullptr)
            return;
        if (!found->is_array())
            return complain(key, "is not a list");
        for (size_t i = 0; i < found->size(); ++i) {
            Reader element((*found)[i], fmt::format("{}{}[{}]", path_, key, i), fault_);
            read_element(element, values.emplace_back());
        }
    }

private:
    static const json& empty() {
        static const json object = json::object();
        return object;
    }
    const json* find(const char* key) {
        if (!object_.is_object())
            return nullptr;
        const auto found = object_.find(key);
        if (found != object_.end())
            return &*found;
        complain(key, "is missing");
        return nullptr;
    }
    void complain(std::string_view key, std::string_view what) {
        if (fault_.empty())
            fault_ = fmt::format("{}{} {}", path_, key, what);
    }

    const json& object_;
    std::string path_; ///< stands before the name of a key: "listeners[0]."
    std::string& fault_;
};

void read_lists(Reader& document, StatusFigures& figures) {
    document.list("limits", figures.limits, [](Reader& read, StatusFigures::Limit& limit) {
        read("name", limit.name);
        read("used", limit.used);
        read("max", limit.max);
        read("unit", limit.unit);
    });
    document.list("listeners", figures.listeners, [](Reader& read, StatusFigures::Listener& at) {
        read("service", at.service);
        read("address", at.address);
        read("inherited", at.inherited);
        read("connections", at.connections);
        read("accepted", at.accepted);
        read("received", at.received);
        read("answered", at.answered);
        read("received_bytes", at.received_bytes);
        read("sent_bytes", at.sent_bytes);
        read("refused", at.refused);
    });
    document.list("services", figures.services, [](Reader& read, StatusFigures::Service& service) {
        read("service", service.service);
        read("transport", service.transport);
        read("answers", service.answers);
        Reader latency = read.object("latency");
        latency("p50", service.p50);
        latency("p99", service.p99);
        latency("p999", service.p999);
        latency("mean", service.mean);
    });
    document.list("refused", figures.refused, [](Reader& read, StatusFigures::Refused& refused) {
        read("transport", refused.transport);
        read("reason", refused.reason);
        read("text", refused.text);
        read("count", refused.count);
    });
    document.list(
        "accept_errors", figures.accept_errors, [](Reader& read, StatusFigures::AcceptError& each) {
            read("errno", each.name);
            read("count", each.count);
        });
}

} // namespace

std::expected<StatusFigures, std::string> read_status(std::string_view text) {
    const json document = json::parse(text, nullptr, false);
    if (document.is_discarded())
        return std::unexpected(fmt::format("it is not JSON: \"{}\"", escape(text, 60)));
    std::string fault;
    Reader read(document, "", fault);
    std::string schema;
    read("schema", schema);
    if (fault.empty() && schema != "riposte/status/1")
        return std::unexpected(
            fmt::format("its schema is \"{}\", not riposte/status/1", escape(schema, 40)));
    StatusFigures figures;
    read("version", figures.version);
    read("pid", figures.pid);
    read("time", figures.time);
    read("start_time", figures.start_time);
    read("state", figures.state);
    Reader backend = read.object("backend");
    backend("name", figures.backend);
    backend("reason", figures.backend_reason);
    read("workers", figures.workers);
    read("sandbox", figures.sandbox);
    Reader reload = read.object("reload");
    reload("count", figures.reloads);
    reload("ok", figures.reload_ok);
    reload("time", figures.reload_time);
    reload("error", figures.reload_error);
    read("listeners_omitted", figures.listeners_omitted);
    read_lists(read, figures);
    if (!fault.empty())
        return std::unexpected(std::move(fault));
    return figures;
}

std::string one_line(std::string_view document) {
    // Its keys stay in their order. What is not a text is not passed in here: read_status() refused
    // it.
    const auto parsed = nlohmann::ordered_json::parse(document, nullptr, false);
    constexpr bool ascii = true;
    return parsed.dump(-1, ' ', ascii, nlohmann::ordered_json::error_handler_t::replace) + '\n';
}

} // namespace riposte::client

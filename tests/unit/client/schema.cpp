#include "tests/unit/client/schema.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include <fmt/format.h>

namespace riposte::client {

class Schema::Checker {
public:
    /// `name` as in "riposte-ping-2".
    explicit Checker(const std::string& name) {
        std::ifstream file(RIPOSTE_SCHEMA_DIR "/" + name + ".schema.json");
        root_ = nlohmann::json::parse(file, nullptr, false);
    }

    /// Returns the faults of the document, one line each, and remembers the properties that it had.
    std::vector<std::string> faults(const std::string& text) {
        faults_.clear();
        const auto document = nlohmann::json::parse(text, nullptr, false);
        if (root_.is_discarded() || document.is_discarded())
            return {"not JSON"};
        check(root_, document, "$");
        return faults_;
    }

    /// Properties that no document has had so far and that are not required.
    std::set<std::string> unseen() const {
        std::set<std::string> names;
        collect(root_, names);
        for (const std::string& name : seen_)
            names.erase(name);
        return names;
    }

    /// Everything without a description.
    std::vector<std::string> undescribed() const {
        std::vector<std::string> names;
        describe(root_, "$", names);
        return names;
    }

private:
    using Json = nlohmann::json;

    void fault(const std::string& where, const std::string& what) {
        faults_.push_back(where + ": " + what);
    }

    static bool is_of_type(const Json& value, const std::string& type) {
        return (type == "object" && value.is_object()) || (type == "array" && value.is_array()) ||
               (type == "string" && value.is_string()) ||
               (type == "boolean" && value.is_boolean()) ||
               (type == "integer" && value.is_number_integer()) ||
               (type == "number" && value.is_number());
    }

    void check(const Json& schema, const Json& value, const std::string& where) {
        if (schema.is_boolean()) {
            if (!schema.get<bool>())
                fault(where, "must not be");
            return;
        }
        for (const auto& [key, rule] : schema.items()) {
            if (key == "$ref")
                check(
                    root_.at(Json::json_pointer(rule.get<std::string>().substr(1))), value, where);
            else if (key == "type" && !is_of_type(value, rule.get<std::string>()))
                fault(where, "not of type " + rule.get<std::string>());
            else if (key == "const" && value != rule)
                fault(where, "not " + rule.dump());
            else if (key == "enum" && std::find(rule.begin(), rule.end(), value) == rule.end())
                fault(where, "not one of " + rule.dump());
            else if (key == "minimum" && value.get<double>() < rule.get<double>())
                fault(where, "less than " + rule.dump());
            else if (key == "exclusiveMinimum" && value.get<double>() <= rule.get<double>())
                fault(where, "not more than " + rule.dump());
            else if (key == "maximum" && value.get<double>() > rule.get<double>())
                fault(where, "too large");
            else if (key == "maxItems" && value.size() > rule.get<size_t>())
                fault(where, "too many");
            else if (!known.contains(key))
                fault(where, "the schema's keyword is not known: " + key);
        }
        if (value.is_object())
            check_object(schema, value, where);
        if (value.is_array())
            check_array(schema, value, where);
    }

    void check_object(const Json& schema, const Json& value, const std::string& where) {
        const Json properties = schema.value("properties", Json::object());
        for (const Json& name : schema.value("required", Json::array()))
            if (!value.contains(name.get<std::string>()))
                fault(where, "lacks " + name.get<std::string>());
        for (const auto& [name, member] : value.items()) {
            if (properties.contains(name)) {
                seen_.insert(name);
                check(properties.at(name), member, fmt::format("{}.{}", where, name));
            } else if (const Json others = schema.value("additionalProperties", Json(true));
                       others.is_object()) { // a map: names are free
                check(others, member, where + "." + name);
            } else if (schema.contains("additionalProperties")) {
                fault(where, "has the unknown " + name);
            }
        }
    }

    void check_array(const Json& schema, const Json& value, const std::string& where) {
        if (value.size() < schema.value("minItems", size_t{0}))
            fault(where, "too few");
        const Json first = schema.value("prefixItems", Json::array());
        for (size_t at = 0; at < value.size(); at++) {
            const std::string place = fmt::format("{}[{}]", where, at);
            if (at < first.size())
                check(first.at(at), value.at(at), place);
            else if (schema.contains("items"))
                check(schema.at("items"), value.at(at), place);
        }
    }

    static void collect(const Json& schema, std::set<std::string>& names) {
        if (!schema.is_structured())
            return;
        if (schema.is_object() && schema.contains("properties"))
            for (const auto& [name, unused] : schema.at("properties").items())
                names.insert(name);
        for (const Json& part : schema)
            collect(part, names);
    }

    static void describe(
        const Json& schema, const std::string& where, std::vector<std::string>& names) {
        if (schema.is_object() && schema.contains("properties"))
            for (const auto& [name, property] : schema.at("properties").items())
                if (!property.contains("description"))
                    names.push_back(fmt::format("{}.{}", where, name));
        if (schema.is_structured())
            for (const auto& [key, part] : schema.items())
                describe(part, fmt::format("{}.{}", where, key), names);
    }

    /// The pattern of a string is not checked here but in the integration tests.
    static inline const std::set<std::string> known{
        "$schema",
        "$id",
        "$defs",
        "$ref",
        "title",
        "description",
        "type",
        "const",
        "enum",
        "minimum",
        "exclusiveMinimum",
        "maximum",
        "pattern",
        "minItems",
        "maxItems",
        "items",
        "prefixItems",
        "properties",
        "required",
        "additionalProperties"};

    Json root_;
    std::vector<std::string> faults_;
    std::set<std::string> seen_;
};

Schema::Schema(const std::string& name) : checker_(std::make_unique<Checker>(name)) {}

Schema::~Schema() = default;

std::vector<std::string> Schema::faults(const std::string& text) {
    return checker_->faults(text);
}

std::set<std::string> Schema::unseen() const {
    return checker_->unseen();
}

std::vector<std::string> Schema::undescribed() const {
    return checker_->undescribed();
}

} // namespace riposte::client

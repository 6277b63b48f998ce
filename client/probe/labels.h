// The labels of a target or of a group of targets, by name. Copies share one map until one of them
// is changed, so that the labels of a list are in memory once, however many targets they are for.
#pragma once

#include <cstddef>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace riposte::client {

/// Names are valid label names of Prometheus, values any UTF-8.
class Labels {
    using Map = std::map<std::string, std::string, std::less<>>;

public:
    Labels() = default;
    Labels(std::initializer_list<Map::value_type> labels) : map_(std::make_shared<Map>(labels)) {}

    Map::const_iterator begin() const { return map().begin(); }
    Map::const_iterator end() const { return map().end(); }
    Map::const_iterator find(std::string_view name) const { return map().find(name); }
    bool contains(std::string_view name) const { return map().contains(name); }
    /// Throws if there is none.
    const std::string& at(const std::string& name) const { return map().at(name); }
    bool empty() const { return map().empty(); }
    size_t size() const { return map().size(); }

    std::string& operator[](const std::string& name) {
        if (!map_)
            map_ = std::make_shared<Map>();
        else if (map_.use_count() > 1)
            map_ = std::make_shared<Map>(*map_);
        return (*map_)[name];
    }

    bool operator==(const Labels& other) const {
        return map_ == other.map_ || map() == other.map();
    }
    bool operator<(const Labels& other) const { return map() < other.map(); }

private:
    const Map& map() const {
        static const Map none;
        return map_ ? *map_ : none;
    }

    std::shared_ptr<Map> map_{}; ///< null: none
};

} // namespace riposte::client

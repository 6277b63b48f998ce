// Checks a document against a schema of packaging/schema, with the part of JSON Schema (2020-12)
// that those schemas use. An unknown keyword is a fault, too: it would not be checked.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace riposte::client {

class Schema {
public:
    /// `name` as in "riposte-ping-2".
    explicit Schema(const std::string& name);
    ~Schema();

    /// Returns the faults of the document, one line each, and remembers the properties that it had.
    std::vector<std::string> faults(const std::string& text);

    /// Properties that no document has had so far and that are not required.
    std::set<std::string> unseen() const;

    /// Everything without a description.
    std::vector<std::string> undescribed() const;

private:
    class Checker; // separate: the JSON library is slow to compile
    std::unique_ptr<Checker> checker_;
};

} // namespace riposte::client

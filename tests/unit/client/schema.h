// Holds a document against a schema of packaging/schema: as much of JSON Schema (2020-12) as those
// two use. A keyword that is not known here is a fault, too: it would not be checked.
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

    /// What is wrong with the document, one line each; and remembers the properties that it had.
    std::vector<std::string> faults(const std::string& text);

    /// Properties that no document had so far, nor that were required to be there.
    std::set<std::string> unseen() const;

    /// Everything that has no description.
    std::vector<std::string> undescribed() const;

private:
    class Checker; // apart: the JSON library is dear to compile
    std::unique_ptr<Checker> checker_;
};

} // namespace riposte::client

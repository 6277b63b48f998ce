// The documents of a server that are costly to render: each kind of them is rendered when asked
// for, all together at most N times a second; otherwise the last one is sent again.
//
// A connection keeps its document until it ends. So a server holds at most one of each kind, and
// those rendered during the lifetime of a connection.
#pragma once

#include "common/http/body.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace riposte {

class HttpDocuments {
public:
    using Render = std::function<HttpBody(size_t kind)>;

    HttpDocuments(size_t kinds, size_t renders_per_second, Render render);

    std::shared_ptr<const HttpBody> get(size_t kind, uint64_t now_us);

private:
    Render render_;
    std::vector<std::shared_ptr<const HttpBody>> last_; ///< of each kind; null: none yet
    std::vector<uint64_t> rendered_us_;                 ///< the last ones, in a ring
    size_t renders_ = 0;
};

} // namespace riposte

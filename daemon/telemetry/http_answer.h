// The answer to a request on the metrics listener, except for the document: its status and its
// head. Pure.
#pragma once

#include "daemon/telemetry/http_request.h"

#include <cstddef>
#include <ctime>
#include <string>

namespace riposte {

struct HttpAnswer {
    int code = 200;
    std::string type = "text/plain; charset=utf-8";
    std::string body{};     ///< empty if `document`
    bool document = false;  ///< /metrics, in the request's representation, is the body
    bool head_only = false; ///< HEAD: the body is counted and not sent
};

/// For a request that is complete, or refused.
HttpAnswer answer_to(const HttpRequest& request, bool draining);

/// The head of `answer` with a body of this many bytes, including the empty line.
std::string head_of(const HttpAnswer& answer, size_t body_bytes, time_t now);

} // namespace riposte

// The answer to a request: its status, its head and its body. Pure.
#pragma once

#include "common/http/body.h"
#include "common/http/request.h"

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace riposte {

struct HttpAnswer {
    int code = 200;
    std::string type = "text/plain; charset=utf-8";
    std::shared_ptr<const HttpBody> body{}; ///< null: empty
    bool by_accept = false;                 ///< Accept has chosen the body
};

/// A line of text.
HttpAnswer line_answer(int code, std::string_view line);

/// The refusal of a request that is not complete.
HttpAnswer answer_to_malformed(HttpRequest::State state);

/// 405 for a method other than GET and HEAD, else nothing.
std::optional<HttpAnswer> refuse_method(const HttpRequest& request);

/// The head of `answer`, including the empty line.
std::string head_of(const HttpAnswer& answer, time_t now);

} // namespace riposte

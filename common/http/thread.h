// A server in a thread of its own, for a program whose other work must wait neither for the
// rendering of documents nor for their clients. Everything that is answered is rendered on that
// thread.
#pragma once

#include "common/fd.h"
#include "common/http/server.h"

#include <expected>
#include <memory>
#include <thread>

namespace riposte {

class HttpThread {
public:
    /// The error is an errno. The thread takes no signals.
    static std::expected<std::unique_ptr<HttpThread>, int> start(
        std::unique_ptr<HttpServer> server);

    /// Ends the thread when it has finished the answer that it is rendering, and closes all
    /// connections.
    ~HttpThread();
    HttpThread(const HttpThread&) = delete;
    HttpThread& operator=(const HttpThread&) = delete;

private:
    HttpThread(Fd stop, std::unique_ptr<HttpServer> server);
    void run() const;

    Fd stop_; ///< eventfd(2): readable when the thread is to end
    std::unique_ptr<HttpServer> server_;
    std::thread thread_{};
};

} // namespace riposte

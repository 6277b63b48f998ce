// Serves a prober's figures (probe_answers.h) from a thread of its own. The thread that probes
// makes a picture of its figures when fd() is readable, and does nothing else for it.
#pragma once

#include "client/probe/figures_exchange.h"
#include "client/probe/probe_answers.h"
#include "common/error.h"
#include "common/http/address.h"
#include "common/http/socket.h"
#include "common/http/thread.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace riposte::client {

class ExportServer {
public:
    struct Settings {
        std::vector<HttpAddress> listen; ///< at least one
        ProbeAnswers::TargetsJson targets_json;
        std::string version;
        bool created = true; ///< ProbeMetricsOptions
    };

    /// Before other threads start (listen_on_unix()).
    static Result<std::unique_ptr<ExportServer>> open(Settings settings);

    /// Closes all connections. An exporter that waits for a picture gets none.
    ~ExportServer();
    ExportServer(const ExportServer&) = delete;
    ExportServer& operator=(const ExportServer&) = delete;

    int fd() const { return exchange_->fd(); } ///< readable: call answer()
    void answer(const std::function<std::shared_ptr<const FleetFigures>()>& make) {
        exchange_->answer(make);
    }
    /// Where it serves, with the ports that the kernel gave.
    const std::vector<std::string>& addresses() const { return addresses_; }

private:
    ExportServer(std::unique_ptr<FiguresExchange> exchange, Settings settings);
    Result<void> start(std::vector<HttpSocket> sockets);

    std::unique_ptr<FiguresExchange> exchange_;
    ProbeAnswers answers_;
    std::vector<std::string> addresses_{};
    std::vector<SocketFile> files_{};
    std::unique_ptr<HttpThread> thread_{}; ///< ends before the rest
};

} // namespace riposte::client

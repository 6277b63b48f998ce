#include "client/probe/export_server.h"

#include "common/text.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace riposte::client {
namespace {

/// A prober that has not turned for so long is not going to in time for a scrape.
constexpr std::chrono::milliseconds picture_patience{2000};

Result<std::vector<HttpSocket>> listen_on(const std::vector<HttpAddress>& addresses) {
    std::vector<HttpSocket> sockets;
    for (const HttpAddress& address : addresses) {
        if (!address.is_unix()) {
            auto opened = listen_on_tcp(address.endpoint);
            if (!opened)
                return fail(Exit::usage, fmt::format("--listen: {}", opened.error().message));
            std::ranges::move(*opened, std::back_inserter(sockets));
            continue;
        }
        auto opened = listen_on_unix(address.path);
        if (!opened)
            return fail(
                Exit::usage,
                fmt::format(
                    "--listen: {}: {}", escape(to_string(address)), opened.error().message));
        sockets.push_back(*std::move(opened));
    }
    return sockets;
}

} // namespace

Result<std::unique_ptr<ExportServer>> ExportServer::open(Settings settings) {
    auto sockets = listen_on(settings.listen);
    if (!sockets)
        return std::unexpected(std::move(sockets.error()));
    auto exchange = FiguresExchange::create();
    if (!exchange)
        return fail(Exit::usage, fmt::format("--listen: {}", errno_text(exchange.error())));
    std::unique_ptr<ExportServer> server(
        new ExportServer(*std::move(exchange), std::move(settings)));
    if (auto started = server->start(*std::move(sockets)); !started)
        return std::unexpected(std::move(started.error()));
    return server;
}

ExportServer::ExportServer(std::unique_ptr<FiguresExchange> exchange, Settings settings)
    : exchange_(std::move(exchange)),
      answers_(
          [this] { return exchange_->ask(picture_patience); }, std::move(settings.targets_json),
          std::move(settings.version), settings.created) {}

ExportServer::~ExportServer() {
    exchange_->close();
}

Result<void> ExportServer::start(std::vector<HttpSocket> sockets) {
    std::vector<Fd> listeners;
    listeners.reserve(sockets.size());
    addresses_.reserve(sockets.size());
    files_.reserve(sockets.size());
    for (HttpSocket& socket : sockets) {
        listeners.push_back(std::move(socket.fd));
        addresses_.push_back(std::move(socket.address));
        files_.push_back(std::move(socket.file));
    }
    auto server = HttpServer::create(
        std::move(listeners), [this](const HttpRequest& request, uint64_t now_us) {
            return answers_.answer(request, now_us);
        });
    if (!server)
        return fail(Exit::usage, fmt::format("--listen: {}", errno_text(server.error())));
    auto thread = HttpThread::start(*std::move(server));
    if (!thread)
        return fail(
            Exit::usage,
            fmt::format("--listen: cannot start a thread: {}", errno_text(thread.error())));
    thread_ = *std::move(thread);
    return {};
}

} // namespace riposte::client

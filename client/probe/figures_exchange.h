// How figures get from the thread that probes to the threads that export them, so that the former
// never waits: an exporter asks, the prober is woken, makes a picture when it comes to it, and
// hands it over. All exporters that asked before it was made share it.
#pragma once

#include "client/probe/figures.h"
#include "common/fd.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

namespace riposte::client {

class FiguresExchange {
public:
    static constexpr std::chrono::milliseconds brief_patience{100};

    /// The error is an errno.
    static std::expected<std::unique_ptr<FiguresExchange>, int> create();

    // The exporters' side, on any thread.

    /// A picture that was made after the call. Null if the prober hands none over within
    /// `patience`, or has closed the exchange. After such a failure at most `brief_patience` until
    /// the prober answers again: an exporter must not stand still for each of its clients.
    std::shared_ptr<const FleetFigures> ask(std::chrono::milliseconds patience);

    // The prober's side.

    int fd() const { return wanted_.get(); } ///< readable: call answer()
    /// Makes a picture and hands it to all exporters that have asked before. No lock is held while
    /// it is made.
    void answer(const std::function<std::shared_ptr<const FleetFigures>()>& make);
    /// Exporters that wait, or ask later, get none.
    void close();

private:
    explicit FiguresExchange(Fd wanted) : wanted_(std::move(wanted)) {}

    Fd wanted_; ///< eventfd(2)
    std::mutex mutex_;
    std::condition_variable changed_;
    std::shared_ptr<const FleetFigures> latest_; ///< while an exporter waits for it
    uint64_t asked_ = 0;                         ///< questions so far
    uint64_t answered_ = 0;                      ///< of them, those that `latest_` answers
    uint64_t waiting_ = 0;
    bool is_answering_ = true; ///< the last question was answered, be it late
    bool closed_ = false;
};

} // namespace riposte::client

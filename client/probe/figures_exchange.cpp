#include "client/probe/figures_exchange.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <sys/eventfd.h>

namespace riposte::client {

std::expected<std::unique_ptr<FiguresExchange>, int> FiguresExchange::create() {
    Fd wanted(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wanted)
        return std::unexpected(errno);
    return std::unique_ptr<FiguresExchange>(new FiguresExchange(std::move(wanted)));
}

std::shared_ptr<const FleetFigures> FiguresExchange::ask(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    if (closed_)
        return nullptr;
    const uint64_t question = ++asked_;
    ++waiting_;
    ::eventfd_write(wanted_.get(), 1);
    const bool answered =
        changed_.wait_for(lock, is_answering_ ? patience : std::min(patience, brief_patience), [&] {
            return answered_ >= question || closed_;
        });
    is_answering_ = answered;
    auto figures = answered_ >= question && !closed_ ? latest_ : nullptr;
    if (--waiting_ == 0)
        latest_.reset(); // a large picture is not kept longer than it is used
    return figures;
}

void FiguresExchange::answer(const std::function<std::shared_ptr<const FleetFigures>()>& make) {
    uint64_t question = 0;
    {
        const std::scoped_lock lock(mutex_);
        eventfd_t count = 0;
        ::eventfd_read(wanted_.get(), &count);
        question = asked_;
    }
    auto figures = make();
    const std::scoped_lock lock(mutex_);
    if (waiting_ > 0)
        latest_ = std::move(figures);
    answered_ = question;
    is_answering_ = true;
    changed_.notify_all();
}

void FiguresExchange::close() {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    changed_.notify_all();
}

} // namespace riposte::client

#include "tests/sim/sim_client.h"

#include "daemon/tcp/buffer_relief.h"
#include "tests/sim/sim_answers.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace riposte::sim {

Script honest_script(Random& random, ServiceKind kind) {
    Script script;
    script.send = random.chance(30) ? random.below(100) : random.below(20'001);
    script.chunk_max = random.between(1, random.chance(50) ? 100 : 5000);
    script.pause_ms = random.chance(20) ? random.below(20) : 0;
    script.start_ms = random.chance(70) ? 0 : random.below(200);
    script.read_max = random.between(1, random.chance(30) ? 200 : 8000);
    // Few and short pauses: they must stay far below every timeout.
    if (random.chance(20)) {
        script.read = random.chance(50) ? Script::Read::late : Script::Read::slow;
        script.read_pause_ms = random.between(1, script.read == Script::Read::late ? 300 : 20);
        script.read_max = std::max(script.read_max, 200U);
    }
    if (script.pause_ms > 0)
        script.chunk_max = std::max(script.chunk_max, 200U);
    if (random.chance(20)) {
        script.stall_percent = random.between(1, 20);
        script.stall_ms = random.between(1, BufferRelief::stalled_ms / 2);
    }
    if (kind == ServiceKind::chargen) {
        script.want = random.between(1, 20'000);
        script.end = Script::End::enough;
        script.send = random.below(200);
    } else if (kind != ServiceKind::echo && kind != ServiceKind::discard && random.chance(50)) {
        script.end = Script::End::on_eof;
        script.send = std::max(script.send, 1U); // hello replies only to a request
    }
    return script;
}

Script hostile_script(Random& random) {
    Script script;
    script.honest = false;
    script.send = random.chance(20) ? 0 : random.below(20'001);
    script.chunk_max = random.between(1, 5000);
    script.pause_ms = random.chance(30) ? random.below(400) : 0;
    script.start_ms = random.below(500);
    script.read = static_cast<Script::Read>(random.below(4));
    script.read_max = random.between(1, 8000);
    script.read_pause_ms = random.below(3000);
    script.read_total_max = 50'000; // chargen is endless
    script.want = random.below(20'000);
    script.end = static_cast<Script::End>(random.below(6));
    script.stall_percent = random.chance(30) ? random.between(1, 20) : 0;
    script.stall_ms = random.between(1, 10'000);
    script.reset_percent = random.chance(40) ? random.between(1, 10) : 0;
    return script;
}

std::string SimClient::describe() const {
    return fmt::format(
        "client {} of {} (listener {}): sent {} of {} bytes, got {}, {}{}{}", number_,
        to_string(kind_), listener_id_, sent_, script_.send, got_bytes_,
        connected_ ? "connected, " : "", finished_ ? "finished, " : "",
        over_ ? "over" : "still active");
}

void SimClient::step(World& world, Random& random) {
    if (over_ || world.now_ms < std::max(script_.start_ms, stalled_until_ms_))
        return;
    if (!tried_)
        connect(world);
    if (over_)
        return;
    if (script_.reset_percent > 0 && random.chance(script_.reset_percent)) {
        reset(world);
        return;
    }
    if (stalled_until_ms_ == 0 && script_.stall_percent > 0 &&
        random.chance(script_.stall_percent)) {
        world.network.faults().add(Fault::stalled_peer);
        stalled_until_ms_ = world.now_ms + script_.stall_ms;
        return;
    }
    send(world, random);
    if (!over_)
        read(world, random);
}

uint64_t SimClient::next_ms(const World& world) const {
    uint64_t next = never_ms;
    if (over_)
        return next;
    if (!tried_)
        return script_.start_ms;
    if (stalled_until_ms_ > world.now_ms)
        return stalled_until_ms_;
    if (sent_ < script_.send && next_send_ms_ > world.now_ms)
        next = std::min(next, next_send_ms_);
    if (script_.read != Script::Read::never && next_read_ms_ > world.now_ms)
        next = std::min(next, next_read_ms_);
    return next;
}

void SimClient::connect(World& world) {
    tried_ = true;
    over_ = world.closed_listeners.contains(listener_id_);
    if (over_)
        return;
    const auto source =
        script_.source != 0 ? script_.source : static_cast<uint8_t>(1 + number_ % 5);
    const auto port = static_cast<uint16_t>(1024 + number_);
    const SocketAddress peer = number_ % 3 == 0 && script_.source == 0 ? ipv6_address(source, port)
                                                                       : ipv4_address(source, port);
    const std::optional<StreamId> stream = world.network.connect(listener_, peer);
    denied_ = acl_ != nullptr && !acl_->permits(source_key(peer));
    connected_ = stream.has_value();
    stream_ = stream.value_or(0);
    first_message_ = world.messages.size() - 1;
    connected_at_ = world.wall_place();
    if (script_.read == Script::Read::late)
        next_read_ms_ = world.now_ms + script_.read_pause_ms;
    over_ = !connected_; // refused
}

void SimClient::reset(World& world) {
    world.network.faults().add(Fault::peer_reset);
    world.network.peer_reset(stream_);
    over_ = true;
}

void SimClient::acl_changed(const World& world, const SimListener& listener) {
    acl_ = listener.acl;
    if (denied_)
        denied_ = connected_ && listener.denies(world.network.stream(stream_).peer);
}

void SimClient::send(World& world, Random& random) {
    if (sent_ < script_.send && world.now_ms >= next_send_ms_) {
        const uint32_t most = std::min(script_.chunk_max, script_.send - sent_);
        std::vector<std::byte> bytes(1 + random.below(most));
        for (size_t i = 0; i < bytes.size(); ++i)
            bytes[i] = sent_byte(number_, sent_ + i);
        sent_ += static_cast<uint32_t>(world.network.peer_send(stream_, bytes));
        next_send_ms_ = world.now_ms + script_.pause_ms;
    }
    if (sent_ == script_.send && !finished_)
        end(world);
}

void SimClient::end(World& world) {
    switch (script_.end) {
    case Script::End::half_close:
        world.network.peer_finish(stream_);
        finished_ = true;
        break;
    case Script::End::close:
        world.network.peer_close(stream_);
        over_ = true;
        break;
    case Script::End::reset:
        reset(world);
        break;
    case Script::End::on_eof:
    case Script::End::enough:
    case Script::End::stay:
        break;
    }
}

void SimClient::read(World& world, Random& random) {
    if (script_.read == Script::Read::never || world.now_ms < next_read_ms_)
        return;
    std::vector<std::byte> bytes(1 + random.below(script_.read_max));
    const int32_t result = world.network.peer_receive(stream_, bytes);
    if (result == -EAGAIN)
        return;
    if (script_.read == Script::Read::slow)
        next_read_ms_ = world.now_ms + script_.read_pause_ms;
    if (result > 0)
        return took(world, std::span(bytes).first(static_cast<size_t>(result)));
    if (result == 0)
        return at_eof(world);
    over_ = true; // reset; complete() stays false
}

void SimClient::took(World& world, std::span<const std::byte> bytes) {
    const size_t before = got_.size();
    if (kind_ == ServiceKind::chargen) {
        for (size_t i = 0; i < bytes.size(); ++i)
            if (bytes[i] != chargen_byte(got_bytes_ + i) && fault_.empty())
                fault_ = fmt::format("wrong character at {}", got_bytes_ + i);
    } else {
        got_.insert(got_.end(), bytes.begin(), bytes.end());
    }
    got_bytes_ += bytes.size();
    check(world, before);
    if (got_bytes_ >= script_.read_total_max)
        next_read_ms_ = never_ms;
    if (script_.end == Script::End::enough && got_bytes_ >= script_.want) {
        complete_ = true;
        over_ = true;
        world.network.peer_close(stream_);
    }
}

void SimClient::at_eof(World& world) {
    complete_ = answered(world);
    if (script_.end == Script::End::on_eof || finished_ || script_.honest) {
        world.network.peer_close(stream_);
        over_ = true;
    } else if (script_.end != Script::End::stay || sent_ == script_.send) {
        next_read_ms_ = never_ms; // nothing more to read; it may continue to send
    }
}

void SimClient::check(const World& world, size_t from) {
    const std::string_view got = text_of(got_);
    bool right = false;
    switch (kind_) {
    case ServiceKind::chargen:
        return;
    case ServiceKind::discard:
    case ServiceKind::stamp: // over UDP alone
        break;
    case ServiceKind::echo:
        right = got_.size() <= sent_;
        for (size_t i = from; right && i < got_.size(); ++i)
            right = got_[i] == sent_byte(number_, i);
        break;
    case ServiceKind::hello:
        for (size_t i = first_message_; !right && i < world.messages.size(); ++i)
            right = world.messages[i].starts_with(got);
        break;
    case ServiceKind::daytime:
        right = std::ranges::any_of(world.wall_since(connected_at_), [&](int64_t seconds) {
            return daytime_line(seconds).starts_with(got);
        });
        break;
    case ServiceKind::time:
        right = std::ranges::any_of(world.wall_since(connected_at_), [&](int64_t seconds) {
            return time_bytes(seconds).starts_with(got);
        });
        break;
    }
    if (!right && fault_.empty())
        fault_ = fmt::format("wrong bytes from {} to {}", from, got_.size());
}

std::string SimClient::check_written(const World& world) {
    if (!connected_)
        return "";
    const Stream& stream = world.network.stream(stream_);
    const uint64_t from = std::exchange(checked_, stream.written);
    const std::span<const std::byte> waiting = stream.to_peer.bytes();
    if (kind_ == ServiceKind::discard && stream.written > 0)
        return "discard has replied";
    if (kind_ == ServiceKind::echo && stream.written > stream.read)
        return fmt::format("{} bytes echoed of {}", stream.written, stream.read);
    if (stream.written - from > waiting.size())
        return ""; // a reset has discarded the bytes
    for (uint64_t at = from; at < stream.written; ++at) {
        const std::byte byte = waiting[waiting.size() - (stream.written - at)];
        if ((kind_ == ServiceKind::echo && byte != sent_byte(number_, at)) ||
            (kind_ == ServiceKind::chargen && byte != chargen_byte(at)))
            return fmt::format("wrong byte written at {}", at);
    }
    return "";
}

/// Whether the reply is complete; check() has verified that it is a prefix of a correct one.
bool SimClient::answered(const World& world) const {
    switch (kind_) {
    case ServiceKind::echo:
        return got_.size() == script_.send;
    case ServiceKind::discard:
    case ServiceKind::stamp:
        return true;
    case ServiceKind::hello:
        return std::ranges::find(world.messages, text_of(got_)) != world.messages.end();
    case ServiceKind::daytime:
        return text_of(got_).ends_with("\r\n");
    case ServiceKind::time:
        return got_.size() == 4;
    case ServiceKind::chargen:
        return false; // it never ends by itself
    }
    return false;
}

// Datagrams ---------------------------------------------------------------------------------------

namespace {

constexpr uint16_t first_port = 3000;

} // namespace

size_t SimAskers::Question::count() const {
    const size_t step = datagram.segment_bytes;
    return step == 0 ? 1 : (datagram.bytes.size() + step - 1) / step;
}

std::span<const std::byte> SimAskers::Question::at(size_t index) const {
    const std::span<const std::byte> all = datagram.bytes;
    const size_t step = datagram.segment_bytes;
    return step == 0 ? all : all.subspan(index * step, std::min(step, all.size() - index * step));
}

void SimAskers::ask(World& world, Random& random, const SimListener& listener) {
    constexpr std::array<uint32_t, 5> sizes = {0, 3, 4, 100, 2000};
    const uint32_t size =
        random.chance(30) ? sizes[random.below(sizes.size())] : random.below(2001);
    const auto number = static_cast<uint32_t>(questions_.size());
    const auto source = static_cast<uint8_t>(random.between(1, 5));
    const auto asked = static_cast<uint8_t>(random.between(100, 103));
    const auto port = static_cast<uint16_t>(first_port + number);
    const bool v6 = random.chance(30);
    Datagram datagram{
        .peer = v6 ? ipv6_address(source, port) : ipv4_address(source, port),
        .local = v6 ? ipv6_address(asked, served_port) : ipv4_address(asked, served_port),
        .bytes = std::vector<std::byte>(size)};
    if (size > 1 && random.chance(40))
        datagram.segment_bytes = static_cast<uint16_t>(
            random.between(std::max(1U, size / 100), std::min(size - 1, 700U)));
    for (size_t i = 0; i < size; ++i)
        datagram.bytes[i] = sent_byte(number, i);
    const bool forged = random.chance(20);
    if (forged)
        forge(random, datagram);
    const bool refused = forged || listener.denies(datagram.peer);
    uint32_t deliveries = 0;
    for (uint32_t i = random.chance(10) ? 2 : 1; i > 0; --i) {
        const bool lost = random.chance(5);
        world.network.faults().add(Fault::datagram_lost, lost);
        const uint32_t overtakes = random.chance(20) ? random.between(1, 5) : 0;
        deliveries += !lost && world.network.ask(listener.fd, datagram, overtakes);
    }
    if (deliveries == 0)
        return;
    trains_ += datagram.segment_bytes != 0;
    questions_.push_back(
        {.datagram = std::move(datagram),
         .kind = listener.kind,
         .asked_at = world.wall_place(),
         .listener_id = listener.id,
         .forged = forged,
         .refused = refused,
         .deliveries = deliveries});
    asked_ += deliveries * questions_.back().count();
    world.network.faults().add(Fault::forged_datagram, forged ? deliveries : 0);
    world.network.faults().add(
        Fault::cut_datagram, questions_.back().datagram.cut ? deliveries : 0);
    world.network.faults().add(Fault::datagram_twice, deliveries > 1);
    refused_ += refused ? deliveries * questions_.back().count() : 0;
}

void SimAskers::acl_changed(const SimListener& listener) {
    for (Question& question : questions_)
        if (question.listener_id == listener.id && question.refused && !question.forged)
            question.refused = listener.denies(question.datagram.peer);
}

void SimAskers::forge(Random& random, Datagram& datagram) {
    const uint16_t port = datagram.peer.port();
    const auto from = [&](const char* host, uint16_t forged_port) {
        const Endpoint endpoint{Transport::udp, host, forged_port};
        datagram.peer = resolve(endpoint, Transport::udp, Family::any, false)->front();
    };
    constexpr std::array<uint16_t, 6> ports{0, 1, served_port, 1023, 2049, 19};
    switch (random.below(9)) {
    case 0:
        return from("192.0.2.1", ports[random.below(ports.size())]);
    case 1:
        return from("2001:db8::1", ports[random.below(ports.size())]);
    case 2:
        return from("224.0.0.1", port);
    case 3:
        return from("255.255.255.255", port);
    case 4:
        return from("ff02::1", port);
    case 5:
        return from("::ffff:192.0.2.1", port);
    case 6:
        datagram.peer = {}; // the kernel reported no address, or one of an unknown family
        return;
    case 7:
        datagram.cut = true;
        return;
    default:
        datagram.to_group = true;
    }
}

void SimAskers::check_answers(World& world) {
    for (std::deque<Datagram>& answers = world.network.answers(); !answers.empty();
         answers.pop_front()) {
        const Datagram& answer = answers.front();
        const size_t number = static_cast<size_t>(answer.peer.port()) - first_port;
        if (!fault_.empty())
            continue;
        if (number < questions_.size() && questions_[number].refused)
            fault_ = fmt::format("a reply to {}, which must get none", to_string(answer.peer));
        else if (number >= questions_.size())
            fault_ = fmt::format("a reply to {}, which sent no request", to_string(answer.peer));
        else if (!take(world, questions_[number], answer))
            fault_ = fmt::format(
                "a wrong reply of {} bytes to request {} of {} ({} bytes by {}), after {} of {} "
                "datagrams",
                answer.bytes.size(), number, to_string(questions_[number].kind),
                questions_[number].datagram.bytes.size(), questions_[number].datagram.segment_bytes,
                questions_[number].next, questions_[number].count());
    }
}

/// Whether `answer` is the reply to one of the remaining datagrams. Those before it got no reply,
/// in this delivery of the request.
bool SimAskers::take(const World& world, Question& question, const Datagram& answer) const {
    for (; question.delivery < question.deliveries; ++question.delivery, question.next = 0) {
        for (size_t index = question.next; index < question.count(); ++index) {
            if (!right(world, question, question.at(index), answer))
                continue;
            question.next = index + 1;
            ++question.answers;
            return true;
        }
    }
    return false;
}

bool SimAskers::right(
    const World& world, const Question& question, std::span<const std::byte> asked,
    const Datagram& answer) {
    if (!same(answer.peer, question.datagram.peer) ||
        !same(answer.local, question.datagram.local) || answer.bytes.size() > asked.size())
        return false;
    const std::string_view text = text_of(answer.bytes);
    switch (question.kind) {
    case ServiceKind::hello:
    case ServiceKind::echo:
        return std::ranges::equal(answer.bytes, asked);
    case ServiceKind::discard:
    case ServiceKind::stamp:
        return false;
    case ServiceKind::chargen:
        for (size_t i = 0; i < text.size(); ++i)
            if (answer.bytes[i] != chargen_byte(i))
                return false;
        return text.size() == std::min<size_t>(asked.size(), 512);
    case ServiceKind::daytime:
        return std::ranges::any_of(world.wall_since(question.asked_at), [&](int64_t seconds) {
            return text == daytime_line(seconds);
        });
    case ServiceKind::time:
        return std::ranges::any_of(world.wall_since(question.asked_at), [&](int64_t seconds) {
            return text == time_bytes(seconds);
        });
    }
    return false;
}

uint32_t SimAskers::unanswered(const World& world) const {
    uint32_t count = 0;
    for (const Question& question : questions_) {
        uint32_t due = 0;
        if (question.refused)
            continue;
        size_t line = 0; // the longest, because the time of the reply is not known
        if (question.kind == ServiceKind::daytime)
            for (const int64_t seconds : world.wall_since(question.asked_at))
                line = std::max(line, daytime_line(seconds).size());
        for (size_t index = 0; index < question.count(); ++index) {
            const size_t size = question.at(index).size();
            const bool too_short = (question.kind == ServiceKind::daytime && size < line) ||
                                   (question.kind == ServiceKind::time && size < 4);
            due += question.kind != ServiceKind::discard && !too_short ? question.deliveries : 0;
        }
        count += due - std::min(due, question.answers);
    }
    return count;
}

uint64_t SimAskers::answers_to_ipv6() const {
    uint64_t count = 0;
    for (const Question& question : questions_)
        count += question.datagram.peer.family() == AF_INET6 ? question.answers : 0;
    return count;
}

} // namespace riposte::sim

#include "daemon/telemetry/openmetrics.h"

#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace riposte;

namespace {

/// The figures of an echo on TCP and UDP.
Snapshot small() {
    Counters metrics;
    metrics.add(ServiceKind::echo, Counter::connections_accepted, 3);
    metrics.add(ServiceKind::echo, Counter::connections_closed, 1);
    metrics.add(ServiceKind::echo, Counter::stream_received_bytes, 100);
    metrics.add(ServiceKind::echo, Counter::stream_sent_bytes, 90);
    metrics.add(ServiceKind::echo, Counter::datagrams_received, 7);
    metrics.add(ServiceKind::echo, Counter::datagrams_sent, 4);
    metrics.add(ServiceKind::echo, Counter::datagrams_source_port, 2);
    metrics.add(ServiceKind::echo, Counter::datagrams_too_long, 1);
    metrics.add(ServiceKind::echo, Counter::accept_emfile, 5);
    metrics.answered(ServiceKind::echo, Transport::udp, 1000, 3);
    metrics.answered(ServiceKind::echo, Transport::udp, 60'000'000'000);
    Snapshot snapshot{.version = "1.2.3", .backend = "mixed", .workers_on_uring = 1, .workers = 2};
    snapshot.listeners.push_back({ServiceKind::echo, Transport::tcp, "tcp://192.0.2.1:7"});
    snapshot.listeners.push_back({ServiceKind::echo, Transport::udp, "udp://192.0.2.1:7"});
    snapshot.totals.add(metrics);
    snapshot.scrapes = {{"200", 9}};
    snapshot.process.cpu_seconds = 1.5;
    return snapshot;
}

std::vector<std::string> lines(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);)
        lines.push_back(line);
    return lines;
}

bool has(const std::string& text, const std::string& line) {
    for (const std::string& each : lines(text))
        if (each == line)
            return true;
    return false;
}

std::string name_of_sample(const std::string& line) {
    return line.substr(0, line.find_first_of("{ "));
}

} // namespace

TEST_CASE("the text has the exact counts") {
    const std::string text = exposition(small(), ExpositionFormat::prometheus);
    for (const char* line :
         {R"(riposte_build_info{version="1.2.3",backend="mixed"} 1)",
          R"(riposte_workers 2)",
          R"(riposte_backend_workers{backend="io_uring"} 1)",
          R"(riposte_listeners{service="echo",transport="tcp"} 1)",
          R"(riposte_connections{service="echo"} 2)",
          R"(riposte_connections_accepted_total{service="echo"} 3)",
          R"(riposte_receive_bytes_total{service="echo",transport="tcp"} 100)",
          R"(riposte_transmit_bytes_total{service="echo",transport="tcp"} 90)",
          R"(riposte_datagrams_received_total{service="echo"} 7)",
          R"(riposte_datagrams_total{service="echo",result="answered"} 4)",
          R"(riposte_datagrams_total{service="echo",result="dropped"} 3)",
          R"(riposte_dropped_total{service="echo",transport="udp",reason="source_port"} 2)",
          R"(riposte_dropped_total{service="echo",transport="udp",reason="too_long"} 1)",
          R"(riposte_accept_errors_total{errno="EMFILE"} 5)",
          R"(riposte_answer_latency_seconds_bucket{service="echo",transport="udp",le="16.0"} 3)",
          R"(riposte_answer_latency_seconds_bucket{service="echo",transport="udp",le="+Inf"} 4)",
          R"(riposte_answer_latency_seconds_count{service="echo",transport="udp"} 4)",
          R"(riposte_answer_latency_seconds_sum{service="echo",transport="udp"} 60.000003)",
          R"(riposte_scrapes_total{code="200"} 9)",
          R"(process_cpu_seconds_total 1.5)",
          R"(# TYPE riposte_connections_accepted_total counter)",
          R"(# TYPE riposte_answer_latency_seconds histogram)"}) {
        CAPTURE(line);
        CHECK(has(text, line));
    }
    CHECK(text.find("process_open_fds") == std::string::npos); // unknown, not 0
    CHECK(text.find("EOF") == std::string::npos);
    CHECK(text.find("UNIT") == std::string::npos);
}

TEST_CASE("OpenMetrics names families of counters without their suffix, and has units and an end") {
    const std::string text = exposition(small(), ExpositionFormat::openmetrics);
    for (const char* line :
         {R"(# TYPE riposte_connections_accepted counter)",
          R"(riposte_connections_accepted_total{service="echo"} 3)",
          R"(# UNIT riposte_receive_bytes bytes)", R"(# UNIT riposte_start_time_seconds seconds)",
          R"(# UNIT process_cpu_seconds seconds)", R"(process_cpu_seconds_total 1.5)"}) {
        CAPTURE(line);
        CHECK(has(text, line));
    }
    CHECK(text.ends_with("\n# EOF\n"));
    CHECK(text.find("# EOF") == text.size() - 6);
}

TEST_CASE("each family has one HELP and one TYPE, before its samples, and no sample twice") {
    for (const auto format : {ExpositionFormat::prometheus, ExpositionFormat::openmetrics}) {
        std::map<std::string, int> helps;
        std::map<std::string, int> types;
        std::set<std::string> samples;
        std::string family;
        for (const std::string& line : lines(exposition(small(), format))) {
            CAPTURE(line);
            std::istringstream words(line);
            std::string hash;
            std::string word;
            std::string name;
            words >> hash >> word >> name;
            if (hash == "#" && word == "HELP") {
                CHECK(++helps[name] == 1);
                CHECK(line.ends_with("."));
                family = name;
            } else if (hash == "#" && word == "TYPE") {
                CHECK(++types[name] == 1);
                CHECK(name == family);
            } else if (hash != "#") {
                CHECK(name_of_sample(line).starts_with(family));
                CHECK(samples.insert(line.substr(0, line.rfind(' '))).second);
            }
        }
        CHECK(helps == types);
        CHECK(helps.size() > 25);
    }
}

TEST_CASE("buckets are cumulative, in order, and complete") {
    const std::string text = exposition(small(), ExpositionFormat::prometheus);
    double last = 0;
    size_t buckets = 0;
    const std::string start =
        R"(riposte_answer_latency_seconds_bucket{service="echo",transport="udp",le=")";
    uint64_t count = 0;
    for (const std::string& line : lines(text)) {
        if (!line.starts_with(start))
            continue;
        ++buckets;
        const uint64_t now = std::stoull(line.substr(line.rfind(' ') + 1));
        CHECK(now >= count);
        count = now;
        const std::string le = line.substr(start.size());
        if (!le.starts_with("+Inf")) {
            CHECK(std::stod(le) > last);
            last = std::stod(le);
        }
    }
    CHECK(buckets == latency_buckets);
    CHECK(count == 4);
}

TEST_CASE("the text has no address, not even of a listener") {
    const std::string text = exposition(small(), ExpositionFormat::prometheus);
    CHECK(text.find("192.0.2") == std::string::npos);
    CHECK(text.find("://") == std::string::npos);
}

TEST_CASE("a service without a listener is shown if it has counted something") {
    Snapshot snapshot = small();
    snapshot.listeners.clear();
    CHECK(
        has(exposition(snapshot, ExpositionFormat::prometheus),
            R"(riposte_connections_accepted_total{service="echo"} 3)"));
    snapshot.totals = {};
    const std::string text = exposition(snapshot, ExpositionFormat::prometheus);
    CHECK(text.find("service=") == std::string::npos);
}

TEST_CASE("sessions are those of stamp, if it has a listener") {
    Snapshot snapshot = small();
    snapshot.stamp_sessions = 7;
    snapshot.stamp_sessions_max = 4096;
    CHECK(!exposition(snapshot, ExpositionFormat::prometheus).contains("riposte_sessions{"));
    snapshot.listeners.push_back(
        {.kind = ServiceKind::stamp,
         .transport = Transport::udp,
         .address = "udp://127.0.0.1:862"});
    const std::string text = exposition(snapshot, ExpositionFormat::prometheus);
    CHECK(has(text, R"(riposte_sessions{service="stamp"} 7)"));
    CHECK(has(text, R"(riposte_sessions_limit{service="stamp"} 4096)"));
}

TEST_CASE("values of labels are escaped") {
    Snapshot snapshot = small();
    snapshot.version = "a\\b\"c\nd";
    CHECK(
        has(exposition(snapshot, ExpositionFormat::prometheus),
            R"(riposte_build_info{version="a\\b\"c\nd",backend="mixed"} 1)"));
}

TEST_CASE("each counter is in the text once, in its family, with the token of its row") {
    for (const CounterRow& row : counter_rows()) {
        Counters metrics;
        metrics.add(ServiceKind::echo, row.counter, 987);
        Snapshot snapshot;
        snapshot.totals.add(metrics);
        const CounterFamilyRow& family = family_rows()[static_cast<size_t>(row.family)];
        std::string labels = family.by_service ? R"(service="echo")" : "";
        if (family.by_transport)
            labels += fmt::format(R"(,transport="{}")", to_string(row.transport));
        if (!family.label.empty())
            labels +=
                fmt::format(R"({}{}="{}")", labels.empty() ? "" : ",", family.label, row.token);
        const std::string sample = fmt::format("{}_total{{{}}} 987", family.name, labels);
        CAPTURE(sample);
        size_t found = 0;
        for (const std::string& line : lines(exposition(snapshot, ExpositionFormat::prometheus)))
            found += line == sample;
        CHECK(found == 1);
    }
}

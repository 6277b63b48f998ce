#include "client/throughput/stream.h"

#include "client/throughput/datagram_stream.h"
#include "client/throughput/tcp_stream.h"

#include <utility>

namespace riposte::client {

Stream::Stream(StreamSetup given, EventLoop& its_loop, StreamResult& its_result)
    : setup_(std::move(given)), loop_(its_loop), result_(its_result) {
    result_.flow = setup_.flow;
    result_.name = setup_.target.name;
    result_.address = to_string(setup_.address);
    result_.transport = setup_.target.transport;
    result_.connections = setup_.connections;
    result_.chunk_bytes = setup_.chunk_bytes;
    result_.bitrate = setup_.bitrate;
}

std::unique_ptr<Stream> make_stream(StreamSetup setup, EventLoop& loop, StreamResult& result) {
    if (setup.target.transport == Transport::udp)
        return std::make_unique<DatagramStream>(std::move(setup), loop, result);
    if (setup.flow == Flow::upload)
        return std::make_unique<UploadStream>(std::move(setup), loop, result);
    return std::make_unique<DownloadStream>(std::move(setup), loop, result);
}

} // namespace riposte::client

// Node: pipe() pauses the reading while the writing has too much waiting. Node reads 64 KiB at a
// time, which a server cannot change.
'use strict';

const dgram = require('node:dgram');
const net = require('node:net');

const host = '127.0.0.1';
const backlog = 4096;
const greeting = "Hello, i'm server!";
const [mode, port] = [process.argv[2], Number(process.argv[3])];

function ready() {
  process.stdout.write('ready\n');
}

function echo(socket) {
  socket.pipe(socket);
}

function hello(socket) {
  socket.once('data', () => {
    socket.end(greeting);
    socket.resume(); // to the peer's end
  });
}

function serveStreams(serve) {
  const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    // A peer that resets is gone, and so is its socket.
    socket.on('error', () => {});
    serve(socket);
  });
  server.listen({ host, port, backlog }, ready);
}

function serveDatagrams() {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (data, peer) => socket.send(data, peer.port, peer.address, () => {}));
  socket.bind(port, host, ready);
}

if (process.argv.length !== 4 || !(port > 0 && port < 65536)) {
  process.stderr.write('usage: node node.js MODE PORT\n');
  process.exit(2);
}
if (mode === 'echo') {
  serveStreams(echo);
} else if (mode === 'hello') {
  serveStreams(hello);
} else if (mode === 'udp') {
  serveDatagrams();
} else {
  process.stderr.write(`node.js: there is no mode ${mode} here\n`);
  process.exit(2);
}

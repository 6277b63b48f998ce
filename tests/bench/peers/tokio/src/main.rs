// Tokio: the current-thread runtime, a task for each connection with a buffer of its own.
//
// write_all ends when the kernel has taken everything, so that reading stops meanwhile.
use std::net::{Ipv4Addr, SocketAddr};
use std::process::exit;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

const GREETING: &[u8] = b"Hello, i'm server!";
const STREAM_BUFFER_BYTES: usize = 64 * 1024;
const DATAGRAM_BUFFER_BYTES: usize = 64 * 1024;
const BACKLOG: u32 = 4096;

async fn echo(mut connection: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; STREAM_BUFFER_BYTES];
    loop {
        let size = connection.read(&mut buffer).await?;
        if size == 0 {
            return Ok(());
        }
        connection.write_all(&buffer[..size]).await?;
    }
}

async fn hello(mut connection: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; STREAM_BUFFER_BYTES];
    if connection.read(&mut buffer).await? == 0 {
        return Ok(());
    }
    connection.write_all(GREETING).await?;
    connection.shutdown().await?; // the sending side alone
    while connection.read(&mut buffer).await? > 0 {}
    Ok(())
}

async fn serve_streams(address: SocketAddr, greets: bool) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    println!("ready");
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        if greets {
            tokio::spawn(hello(connection));
        } else {
            tokio::spawn(echo(connection));
        }
    }
}

async fn serve_datagrams(address: SocketAddr) -> std::io::Result<()> {
    let socket = UdpSocket::bind(address).await?;
    println!("ready");
    let mut buffer = vec![0; DATAGRAM_BUFFER_BYTES];
    loop {
        let (size, peer) = socket.recv_from(&mut buffer).await?;
        // What the socket does not take is lost, as datagrams are.
        let _ = socket.send_to(&buffer[..size], peer).await;
    }
}

/// As many connections as this process may have.
fn raise_file_limit() {
    let mut files = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut files) == 0 {
            files.rlim_cur = files.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &files);
        }
    }
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let port = arguments.get(2).and_then(|text| text.parse().ok()).unwrap_or(0);
    if arguments.len() != 3 || port == 0 {
        eprintln!("usage: tokio MODE PORT");
        exit(2);
    }
    raise_file_limit();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    match arguments[1].as_str() {
        "echo" => runtime.block_on(serve_streams(address, false)),
        "hello" => runtime.block_on(serve_streams(address, true)),
        "udp" => runtime.block_on(serve_datagrams(address)),
        mode => {
            eprintln!("tokio: there is no mode {} here", mode);
            exit(2);
        }
    }
}

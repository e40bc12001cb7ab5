//! A small HTTP/1.1 server for stand-ins: one thread per connection, keep-alive, `Content-Length` bodies; it can also
//! misbehave on the wire as no HTTP library would.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a blocked thread looks whether the server has ended.
const TICK: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The first header `name` (lower case), or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }
}

pub(crate) enum Answer {
    /// Status, headers, body.
    Full(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The head promises this body, half of it is sent, and the connection ends.
    Truncated(Vec<u8>),
    /// The head promises this body, half of it is sent, and then nothing more.
    StalledBody(Vec<u8>),
    /// A body that never ends is sent, as fast as it is taken.
    Endless,
    /// Exactly these bytes are sent, and the connection ends.
    Raw(Vec<u8>),
    /// Exactly these bytes are sent, and the connection stays open.
    RawThenStall(Vec<u8>),
    /// Nothing is sent, and the connection stays open.
    Stall,
    /// The connection is reset.
    Reset,
}

/// Whether the server has ended; handlers that wait look at it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ended(Arc<AtomicBool>);

impl Ended {
    pub(crate) fn yet(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub(crate) struct HttpStub {
    pub(crate) address: SocketAddr,
    ended: Ended,
}

impl HttpStub {
    pub(crate) fn start(handler: impl Fn(Request, &Ended) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let ended = Ended::default();
        let seen = ended.clone();
        let handler = Arc::new(handler);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if seen.yet() {
                    return;
                }
                let (handler, ended) = (Arc::clone(&handler), seen.clone());
                std::thread::spawn(move || {
                    // A client that goes away in the middle is its own affair.
                    let _ = connection.and_then(|stream| serve(&stream, handler.as_ref(), &ended));
                });
            }
        });
        Self { address, ended }
    }
}

impl Drop for HttpStub {
    fn drop(&mut self) {
        self.ended.0.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: &TcpStream, handler: &dyn Fn(Request, &Ended) -> Answer, ended: &Ended) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        // Idle between requests: look now and then whether the server has ended.
        stream.set_read_timeout(Some(TICK))?;
        loop {
            match reader.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(_) => break,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
            if ended.yet() {
                return Ok(());
            }
        }
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let request = read_request(&mut reader)?;
        match handler(request, ended) {
            Answer::Full(status, headers, body) => write(stream, status, &headers, &body, body.len())?,
            Answer::Truncated(body) => return write(stream, 200, &[], &body, body.len() / 2),
            Answer::StalledBody(body) => {
                write(stream, 200, &[], &body, body.len() / 2)?;
                wait(ended);
                return Ok(());
            }
            Answer::Endless => return endless(stream, ended),
            Answer::Raw(bytes) => return (&*stream).write_all(&bytes),
            Answer::RawThenStall(bytes) => {
                (&*stream).write_all(&bytes)?;
                wait(ended);
                return Ok(());
            }
            Answer::Stall => {
                wait(ended);
                return Ok(());
            }
            Answer::Reset => {
                // Closing with zero linger sends RST instead of FIN.
                rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
                return Ok(());
            }
        }
        if ended.yet() {
            return Ok(());
        }
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> io::Result<Request> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, path, headers, body: Vec::new() };
    if request.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                return Ok(request);
            }
            request.body.extend_from_slice(&chunk[..size]);
        }
    }
    let length = request.header("content-length").parse().unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body)?;
    Ok(request)
}

/// Promises the whole `body` and sends its first `sent` bytes.
fn write(
    mut stream: &TcpStream,
    status: u16,
    headers: &[(&'static str, String)],
    body: &[u8],
    sent: usize,
) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} Stub\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(&[head.as_bytes(), &body[..sent]].concat())
}

fn endless(mut stream: &TcpStream, ended: &Ended) -> io::Result<()> {
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"HTTP/1.1 200 Stub\r\ntransfer-encoding: chunked\r\n\r\n")?;
    let chunk = [b"1000\r\n".as_slice(), &[b' '; 0x1000], b"\r\n"].concat();
    while !ended.yet() {
        stream.write_all(&chunk)?;
    }
    Ok(())
}

fn wait(ended: &Ended) {
    while !ended.yet() {
        std::thread::sleep(TICK);
    }
}

//! A TCP proxy that misbehaves on command: what lies between a service and its store.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a thread looks whether it is to do something else.
const TICK: Duration = Duration::from_millis(10);

/// How the line behaves. It holds for the connections there are and for later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LineFault {
    /// Everything passes.
    #[default]
    None,
    /// Each piece passes this much later, in both directions.
    Delay(Duration),
    /// Connections are accepted, and nothing passes.
    Stall,
    /// What the client says arrives; what the server answers does not.
    LoseAnswers,
    /// Connections are reset (RST).
    Reset,
    /// Of the answers so many more bytes pass (over all connections); then the connection is closed.
    Truncate(usize),
}

/// A proxy in front of one server of loopback. It ends with the test, and its connections with it.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    line: Arc<Line>,
}

#[derive(Debug)]
struct Line {
    fault: Mutex<LineFault>,
    left: AtomicUsize,
    /// Connections with a lower number are dead, and nobody told their ends.
    alive_from: AtomicUsize,
    accepted: AtomicUsize,
    over: AtomicBool,
}

impl TcpProxy {
    /// A proxy on a free port to `upstream` (a port of loopback).
    ///
    /// # Panics
    /// When loopback has no free port.
    #[must_use]
    pub fn to(upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("a listener that can be asked");
        let line = Arc::new(Line {
            fault: Mutex::default(),
            left: AtomicUsize::new(0),
            alive_from: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&line);
        std::thread::spawn(move || accepting.accept(&listener, SocketAddr::from(([127, 0, 0, 1], upstream))));
        Self { port, line }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on the line has this fault.
    ///
    /// # Panics
    /// Never in earnest.
    pub fn set(&self, fault: LineFault) {
        if let LineFault::Truncate(bytes) = fault {
            self.line.left.store(bytes, Ordering::SeqCst);
        }
        *self.line.fault.lock().unwrap() = fault;
    }

    /// The connections there are become half-open: both ends believe in them, and nothing passes any more. New ones work.
    pub fn half_open(&self) {
        self.line.alive_from.store(self.line.accepted.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.line.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.line.over.store(true, Ordering::SeqCst);
    }
}

impl Line {
    fn fault(&self) -> LineFault {
        *self.fault.lock().unwrap()
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener, upstream: SocketAddr) {
        while !self.over.load(Ordering::SeqCst) {
            match listener.accept() {
                Ok((client, _)) => self.open(client, upstream),
                Err(_) => std::thread::sleep(TICK),
            }
        }
    }

    fn open(self: &Arc<Self>, client: TcpStream, upstream: SocketAddr) {
        let number = self.accepted.fetch_add(1, Ordering::SeqCst);
        let Ok(server) = TcpStream::connect_timeout(&upstream, Duration::from_secs(1)) else { return };
        for stream in [&client, &server] {
            let _ = stream.set_nonblocking(false);
            let _ = stream.set_nodelay(true);
            let _ = stream.set_read_timeout(Some(TICK));
        }
        let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { return };
        let (up, down) = (Arc::clone(self), Arc::clone(self));
        std::thread::spawn(move || up.pump(number, client, server, false));
        std::thread::spawn(move || down.pump(number, server_too, client_too, true));
    }

    /// Carries what `from` says to `to`, as the fault of the moment wants it.
    fn pump(&self, number: usize, mut from: TcpStream, mut to: TcpStream, answers: bool) {
        let mut buffer = [0_u8; 16_384];
        while !self.over.load(Ordering::SeqCst) {
            let dead = number < self.alive_from.load(Ordering::SeqCst);
            match self.fault() {
                _ if dead => {
                    std::thread::sleep(TICK);
                    continue;
                }
                LineFault::Stall => {
                    std::thread::sleep(TICK);
                    continue;
                }
                LineFault::Reset => {
                    for stream in [&from, &to] {
                        // To linger for no time is to reset.
                        let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
                    }
                    return;
                }
                _ => {}
            }
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => break,
            };
            let mut passed = &buffer[..read];
            let mut last = false;
            match self.fault() {
                LineFault::Delay(delay) => std::thread::sleep(delay),
                // What came while the fault began is lost too.
                LineFault::LoseAnswers if answers => continue,
                LineFault::Truncate(_) if answers => {
                    let left = self.left.load(Ordering::SeqCst);
                    last = left <= read;
                    passed = &passed[..read.min(left)];
                    self.left.store(left.saturating_sub(read), Ordering::SeqCst);
                }
                _ => {}
            }
            if to.write_all(passed).is_err() || last {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::{LineFault, TcpProxy};

    /// A server that answers each piece with the same piece.
    fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut buffer = [0; 64];
                    while let Ok(read @ 1..) = stream.read(&mut buffer) {
                        stream.write_all(&buffer[..read]).unwrap();
                    }
                });
            }
        });
        port
    }

    fn ask(stream: &mut TcpStream) -> Result<usize, std::io::ErrorKind> {
        stream.write_all(b"hello").map_err(|error| error.kind())?;
        stream.read(&mut [0; 64]).map_err(|error| error.kind())
    }

    fn connect(proxy: &TcpProxy) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream
    }

    #[test]
    fn faults_come_and_go() {
        let proxy = TcpProxy::to(echo());
        let mut stream = connect(&proxy);
        assert_eq!(ask(&mut stream), Ok(5));
        for fault in [LineFault::Stall, LineFault::LoseAnswers] {
            proxy.set(fault);
            std::thread::sleep(Duration::from_millis(50));
            assert!(ask(&mut stream).is_err(), "{fault:?}");
            proxy.set(LineFault::None);
            stream = connect(&proxy);
            assert_eq!(ask(&mut stream), Ok(5), "after {fault:?}");
        }
        proxy.set(LineFault::Truncate(2));
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(ask(&mut stream), Ok(2));
        assert_eq!(stream.read(&mut [0; 64]).unwrap_or(0), 0, "closed after the cut");
        proxy.set(LineFault::None);
        let mut old = connect(&proxy);
        assert_eq!(ask(&mut old), Ok(5));
        proxy.half_open();
        std::thread::sleep(Duration::from_millis(50));
        assert!(ask(&mut old).is_err(), "half-open");
        assert_eq!(ask(&mut connect(&proxy)), Ok(5));
        proxy.set(LineFault::Reset);
        let mut reset = connect(&proxy);
        std::thread::sleep(Duration::from_millis(100));
        assert!(ask(&mut reset).is_err() || ask(&mut reset).is_err(), "reset");
    }
}

//! Somebody on the path: holds a signed request, changes it, sends it on.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use token_testkit::{Curl, Reply};

/// How long either side may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request as it was on the wire.
#[derive(Clone, Debug)]
pub struct Captured(String);

impl Captured {
    /// What curl would have sent; it never arrives where it is addressed to.
    ///
    /// # Panics
    /// When curl sends nothing.
    #[must_use]
    pub fn from(request: Curl) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let receiver = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut received = Vec::new();
            let mut part = [0_u8; 4096];
            while !is_whole(&received) {
                let read = stream.read(&mut part).unwrap();
                assert!(read > 0, "curl sends a whole request");
                received.extend_from_slice(&part[..read]);
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
            String::from_utf8(received).unwrap()
        });
        assert_eq!(request.argument("--connect-to").argument(&format!("::127.0.0.1:{port}")).send().status, 204);
        Self(receiver.join().unwrap())
    }

    /// The same, with `from` replaced wherever it stands.
    ///
    /// # Panics
    /// When it stands nowhere.
    #[must_use]
    pub fn replace(&self, from: &str, to: &str) -> Self {
        assert!(self.0.contains(from), "{from:?} is not in {}", self.0);
        Self(self.0.replace(from, to))
    }

    /// The same with one more header line.
    #[must_use]
    pub fn with_header(&self, line: &str) -> Self {
        Self(self.0.replacen("\r\n", &format!("\r\n{line}\r\n"), 1))
    }

    /// The same without the lines of that header.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn without_header(&self, name: &str) -> Self {
        let (head, body) = self.0.split_once("\r\n\r\n").unwrap();
        let begins = format!("{}:", name.to_ascii_lowercase());
        let kept: Vec<&str> =
            head.split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with(&begins)).collect();
        assert!(kept.len() < head.split("\r\n").count(), "{name} is not in {head}");
        Self(format!("{}\r\n\r\n{body}", kept.join("\r\n")))
    }

    /// The value of a header.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).unwrap()
    }

    /// Sends it to `url`, whatever host it names.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn send(&self, url: &str) -> Reply {
        let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(self.with_header("Connection: close").0.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Reply::parse(&answer)
    }
}

/// Whether the head and as much body as it announces are there.
fn is_whole(received: &[u8]) -> bool {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    received.len() >= end + 4 + length.unwrap_or(0)
}

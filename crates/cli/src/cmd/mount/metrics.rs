//! Counts over HTTP: any request gets the same page.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use dunnage_tree::fuse::Metrics;

/// Where requests for metrics arrive.
pub(super) struct Listener(TcpListener);

impl Listener {
    pub(super) fn bind(address: SocketAddr) -> Result<Self> {
        TcpListener::bind(address).map(Self).with_context(|| format!("cannot listen at {address}"))
    }

    /// Answers in a thread of its own; the address, with the port that was chosen if none was given.
    pub(super) fn serve(self, metrics: &Arc<Metrics>) -> Result<SocketAddr> {
        let address = self.0.local_addr().context("cannot find the address")?;
        let metrics = Arc::clone(metrics);
        let serve = move || {
            for connection in self.0.incoming() {
                match connection {
                    // A failed answer concerns its client alone. Requests are rare, so one at a time is enough.
                    Ok(connection) => drop(answer(&mut Hurried::new(connection), &metrics)),
                    // With no descriptor left for it, it waits, and would be tried again at once.
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        };
        thread::Builder::new().name("metrics".to_owned()).spawn(serve).context("cannot start a thread")?;
        Ok(address)
    }
}

/// A connection with a deadline for all its reads and writes together.
struct Hurried {
    connection: TcpStream,
    until: Option<Instant>,
}

impl Hurried {
    fn new(connection: TcpStream) -> Self {
        Self { connection, until: Instant::now().checked_add(PATIENCE) }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Hurried {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.connection.set_read_timeout(self.left()?)?;
        self.connection.read(buf)
    }
}

impl Write for Hurried {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.connection.set_write_timeout(self.left()?)?;
        self.connection.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection.flush()
    }
}

fn answer(connection: &mut Hurried, metrics: &Metrics) -> io::Result<()> {
    // The end of the request's head: closing before it was read could take the answer with it.
    let (mut head, mut block) = (Vec::new(), [0; 1024]);
    while head.len() < HEAD_MAX && !head.ends_with(b"\r\n\r\n") {
        match connection.read(&mut block)? {
            0 => break,
            len => head.extend_from_slice(block.get(..len).unwrap_or_default()),
        }
    }
    let page = metrics.to_string();
    let len = page.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{page}"
    );
    connection.write_all(answer.as_bytes())
}

/// How long one request may hold up the next.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);
const HEAD_MAX: usize = 16 << 10;

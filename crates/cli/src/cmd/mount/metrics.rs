//! Counts over HTTP, for whoever collects them: any request gets the same page.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
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
                // One that fails is the loss of the one who made it. They come once in a while, so one at a time will do.
                let _ = connection.and_then(|connection| answer(connection, &metrics));
            }
        };
        thread::Builder::new().name("metrics".to_owned()).spawn(serve).context("cannot start a thread")?;
        Ok(address)
    }
}

fn answer(mut connection: TcpStream, metrics: &Metrics) -> std::io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
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
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{page}"
    )
}

/// How long one request may hold up the next.
const PATIENCE: Duration = Duration::from_secs(2);
const HEAD_MAX: usize = 16 << 10;

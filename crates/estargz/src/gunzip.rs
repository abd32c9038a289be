//! Inflating inputs with somebody else's code: a faster library, or another program.
//!
//! The foreign code runs on a thread of its own. The thread that reads the output hands it the input block by
//! block, so the input itself never changes threads and need not live longer than the call.

use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
    thread,
};

use crossbeam_channel::{Receiver, Sender, bounded, select};

type Inflate = dyn Fn(Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> + Send + Sync;

/// Inflates gzip inputs in the place of the decoder of this crate: the reference's `WithGzipHelperFunc`.
///
/// ```
/// use dunnage_estargz::{Build, WriteOptions, input::Gunzip};
/// use flate2::read::{GzEncoder, MultiGzDecoder};
/// use std::io::Read;
///
/// let mut input = Vec::new();
/// GzEncoder::new(&[0; 1024][..], flate2::Compression::fast()).read_to_end(&mut input)?;
/// let gunzip = Gunzip::new(|input| Ok(Box::new(MultiGzDecoder::new(input))));
/// let write = WriteOptions { gunzip: Some(gunzip), ..WriteOptions::default() };
/// let (_, built) = Build { write, ..Build::default() }.from_source(input, Vec::new())?;
/// assert_eq!(built.summary.entries, 1); // the landmark
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Gunzip(Arc<Inflate>);

impl Gunzip {
    /// Inflates with `inflate`, which is given the compressed input and returns a reader of all of its members. Damage,
    /// trailing bytes among it, is for that reader to report as an error.
    pub fn new(
        inflate: impl Fn(Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(inflate))
    }

    /// The output for `input`.
    pub(crate) fn inflated<'a, R: Read + 'a>(&self, input: R) -> io::Result<Box<dyn Read + 'a>> {
        let (send, blocks) = bounded(AHEAD);
        let (done, plain) = bounded(AHEAD);
        let inflate = Arc::clone(&self.0);
        let work = move || {
            let last = run(&*inflate, Blocks { blocks, block: Vec::new(), at: 0 }, &done);
            // Nobody waits for it any more: there is nothing to do with it.
            let _ = done.send(last.map(|()| Vec::new()));
        };
        thread::Builder::new().name("dunnage-gunzip".to_owned()).spawn(work)?;
        Ok(Box::new(Inflated { input, send: Some(send), next: None, plain, block: Vec::new(), at: 0, ended: false }))
    }
}

impl fmt::Debug for Gunzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gunzip")
    }
}

/// Bytes that are handed on at a time.
const BLOCK: usize = 256 << 10;
/// Blocks on the way in each direction.
const AHEAD: usize = 4;

/// The thread of the foreign code.
fn run(inflate: &Inflate, input: Blocks, done: &Sender<io::Result<Vec<u8>>>) -> io::Result<()> {
    let mut plain = inflate(Box::new(input))?;
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        plain.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        // An empty block is the end, which is sent by the caller; a closed lane means that nobody reads on.
        if block.is_empty() || done.send(Ok(block)).is_err() {
            return Ok(());
        }
    }
}

/// The compressed input, as the foreign code sees it.
struct Blocks {
    blocks: Receiver<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
}

impl Read for Blocks {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            // Blocks are never empty; a closed lane is the end.
            let Ok(block) = self.blocks.recv() else { return Ok(0) };
            (self.block, self.at) = (block, 0);
        }
        Ok(copy(&self.block, &mut self.at, buf))
    }
}

/// The output of the foreign code. Reading it also feeds the other end.
struct Inflated<R> {
    input: R,
    /// Where blocks of the input go, until it ends.
    send: Option<Sender<Vec<u8>>>,
    /// A block that was read and not yet taken.
    next: Option<Vec<u8>>,
    plain: Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read> Inflated<R> {
    /// Reads the next block of the input, if the one before was taken.
    fn read_ahead(&mut self) -> io::Result<()> {
        if self.send.is_none() || self.next.is_some() {
            return Ok(());
        }
        let mut block = Vec::with_capacity(BLOCK);
        self.input.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            self.send = None;
        } else {
            self.next = Some(block);
        }
        Ok(())
    }

    /// Hands blocks on until one comes back.
    fn exchange(&mut self) -> io::Result<Vec<u8>> {
        let died = || io::Error::other("the thread that inflates the input died");
        loop {
            self.read_ahead()?;
            let Some(send) = &self.send else { return self.plain.recv().map_err(|_| died())? };
            select! {
                recv(self.plain) -> block => return block.map_err(|_| died())?,
                send(send, self.next.take().unwrap_or_default()) -> sent => if sent.is_err() {
                    // The rest of the input is not wanted; the output says why.
                    self.send = None;
                },
            }
        }
    }
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() && !self.ended {
            // After an error there is nothing more to come.
            self.ended = true;
            (self.block, self.at) = (self.exchange()?, 0);
            self.ended = self.block.is_empty();
        }
        Ok(copy(&self.block, &mut self.at, buf))
    }
}

/// Copies the rest of `block` from `at` on.
fn copy(block: &[u8], at: &mut usize, buf: &mut [u8]) -> usize {
    let rest = block.get(*at..).unwrap_or_default();
    let len = rest.len().min(buf.len());
    if let (Some(to), Some(from)) = (buf.get_mut(..len), rest.get(..len)) {
        to.copy_from_slice(from);
    }
    *at = at.saturating_add(len);
    len
}

#[cfg(test)]
mod tests {
    use flate2::read::{GzEncoder, MultiGzDecoder};

    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 21) as u8).collect()
    }

    fn inflate(gunzip: &Gunzip, input: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        gunzip.inflated(input)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn whatever_its_size_the_input_goes_through() {
        let gunzip = Gunzip::new(|input| Ok(Box::new(MultiGzDecoder::new(input))));
        for len in [0, 1, BLOCK, 5 << 20] {
            let (plain, mut packed) = (noise(len), Vec::new());
            GzEncoder::new(plain.as_slice(), flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
            assert!(inflate(&gunzip, &packed).unwrap() == plain, "{len}");
            let error = inflate(&gunzip, packed.get(..packed.len() - 1).unwrap()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{len}");
        }
        // It may as well become shorter, or be left alone half-way.
        let front = Gunzip::new(|input| Ok(Box::new(input.take(3))));
        assert_eq!(inflate(&front, &noise(9 << 20)).unwrap().len(), 3);
        let mut some = [0; 10];
        Gunzip::new(Ok).inflated(noise(9 << 20).as_slice()).unwrap().read_exact(&mut some).unwrap();
        assert_eq!(some, noise(10).as_slice());
    }

    #[test]
    fn what_goes_wrong_on_either_side_is_an_error() {
        let refuse = Gunzip::new(|_| Err(io::Error::other("no such program")));
        assert_eq!(inflate(&refuse, &noise(9 << 20)).unwrap_err().to_string(), "no such program");
        let panicking = Gunzip::new(|_| panic!("in foreign code"));
        let error = inflate(&panicking, b"").unwrap_err();
        assert_eq!(error.to_string(), "the thread that inflates the input died");
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let mut reader = Gunzip::new(Ok).inflated(Failing).unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap_err().to_string(), "the disk is gone");
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }
}

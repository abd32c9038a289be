//! Writes or reads a state file and prints the time of it as JSON. `cargo xtask bench statefile` runs it.
//!
//!     state_bench write COMPRESSION KEYFILE IN OUT   (KEYFILE `-`: no key)
//!     state_bench read KEYFILE IN
//!     state_bench copy IN OUT                        (the baseline of `write` and `read`)
//!     state_bench drain IN

#![allow(clippy::print_stdout, reason = "a program that reports")]

use std::{
    error::Error,
    fs::File,
    io::{Read, Write},
    time::Instant,
};

#[cfg(feature = "libdeflate")]
use dunnage_statefile::Codec;
use dunnage_statefile::{Key, Metadata, ReadOptions, Reader, Timestamp, WriteOptions, Writer};

/// Bytes of one read and one write.
const CALL: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let start = Instant::now();
    let bytes = match args.as_slice() {
        ["write", compression, key, from, to] => {
            let options = WriteOptions {
                compression: Some(compression.parse()?),
                #[cfg(feature = "libdeflate")]
                codec: Codec::Libdeflate,
                ..WriteOptions::default()
            };
            let (key, to) = (read_key(key)?, File::create(to)?);
            let mut writer = Writer::new(to, key.as_ref(), &Metadata::new(), Timestamp::EPOCH, &options)?;
            writer.read_from(&mut File::open(from)?)?;
            writer.finish()?.1.payload_len
        }
        ["read", key, from] => {
            let key = read_key(key)?;
            drain(&mut Reader::open(File::open(from)?, key.as_ref(), &ReadOptions::default())?)?
        }
        ["copy", from, to] => copy(&mut File::open(from)?, &mut File::create(to)?)?,
        ["drain", from] => drain(&mut File::open(from)?)?,
        _ => {
            return Err(
                "usage: state_bench write COMPRESSION KEYFILE IN OUT | read KEYFILE IN | copy IN OUT | drain IN".into(),
            );
        }
    };
    println!("{{\"seconds\": {}, \"bytes\": {bytes}}}", start.elapsed().as_secs_f64());
    Ok(())
}

fn read_key(path: &str) -> Result<Option<Key>, Box<dyn Error>> {
    if path == "-" { Ok(None) } else { Ok(Some(Key::new(std::fs::read(path)?)?)) }
}

/// Reads all bytes and drops them.
fn drain(from: &mut impl Read) -> Result<u64, Box<dyn Error>> {
    copy(from, &mut std::io::sink())
}

/// Copies through a buffer, as a plain program does.
fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<u64, Box<dyn Error>> {
    let mut block = vec![0; CALL];
    let mut bytes = 0_u64;
    loop {
        let len = from.read(&mut block)?;
        if len == 0 {
            return Ok(bytes);
        }
        to.write_all(block.get(..len).unwrap_or_default())?;
        bytes = bytes.saturating_add(len as u64);
    }
}

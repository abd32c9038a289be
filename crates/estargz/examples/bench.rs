//! Opens, verifies or reads a blob and prints how long exactly that took, as JSON; `cargo xtask bench estargz` calls it.
//!
//!     bench open BLOB
//!     bench verify BLOB THREADS
//!     bench random BLOB LIST     (a list has one JSON object a line: path, offset, length)

#![allow(clippy::print_stdout, reason = "a program that reports")]

use std::{error::Error, fs::File, time::Instant};

use dunnage_digest::{Algorithm, Digest, Offset, Progress, ReadAt};
use dunnage_estargz::{OpenOptions, Reader};
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let start = Instant::now();
    match args.as_slice() {
        ["open", blob] => {
            let reader = Reader::open(File::open(blob)?, &OpenOptions::default())?;
            println!("{{\"seconds\": {}, \"toc_digest\": \"{}\"}}", start.elapsed().as_secs_f64(), reader.toc_digest());
        }
        ["verify", blob, threads] => {
            let threads = threads.parse()?;
            let reader = Reader::open(File::open(blob)?, &OpenOptions { threads, ..OpenOptions::default() })?;
            reader.verify_toc(reader.toc_digest())?;
            let verified = reader.verify(threads, Progress::none())?;
            let seconds = start.elapsed().as_secs_f64();
            println!("{{\"seconds\": {seconds}, \"chunks\": {}, \"bytes\": {}}}", verified.chunks, verified.bytes);
        }
        ["random", blob, list] => random(blob, list)?,
        _ => return Err("usage: bench open BLOB | bench verify BLOB THREADS | bench random BLOB LIST".into()),
    }
    Ok(())
}

/// Reads places of files, each verified before it is handed out. The clock stands while the blob is opened.
fn random(blob: &str, list: &str) -> Result<(), Box<dyn Error>> {
    let mut reads = Vec::new();
    for line in std::fs::read_to_string(list)?.lines() {
        let read: Value = serde_json::from_str(line)?;
        let number = |key: &str| read.get(key).and_then(Value::as_u64).ok_or_else(|| format!("no {key} in {line}"));
        let path = read.get("path").and_then(Value::as_str).ok_or_else(|| format!("no path in {line}"))?;
        reads.push((path.to_owned(), number("offset")?, usize::try_from(number("length")?)?));
    }
    let reader = Reader::open(File::open(blob)?, &OpenOptions { threads: 1, ..OpenOptions::default() })?;
    let mut all = vec![0; reads.iter().map(|(_, _, length)| length).sum()];
    let mut rest = all.as_mut_slice();
    let start = Instant::now();
    for (path, offset, length) in &reads {
        let (buf, behind) = std::mem::take(&mut rest).split_at_mut(*length);
        reader.open_file(path)?.read_exact_at(Offset::new(*offset), buf)?;
        rest = behind;
    }
    let (seconds, reads, bytes) = (start.elapsed().as_secs_f64(), reads.len(), all.len());
    let sha256 = Digest::of(Algorithm::Sha256, &all).to_hex();
    println!("{{\"seconds\": {seconds}, \"reads\": {reads}, \"bytes\": {bytes}, \"sha256\": \"{sha256}\"}}");
    Ok(())
}

//! Opens or verifies a blob and prints how long exactly that took, as JSON; `cargo xtask bench estargz` calls it.
//!
//!     bench open BLOB
//!     bench verify BLOB THREADS

#![allow(clippy::print_stdout, reason = "a program that reports")]

use std::{error::Error, fs::File, time::Instant};

use dunnage_digest::Cancel;
use dunnage_estargz::{OpenOptions, Reader};

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
            let verified = reader.verify(threads, &Cancel::new(), &|_| ())?;
            let seconds = start.elapsed().as_secs_f64();
            println!("{{\"seconds\": {seconds}, \"chunks\": {}, \"bytes\": {}}}", verified.chunks, verified.bytes);
        }
        _ => return Err("usage: bench open BLOB | bench verify BLOB THREADS".into()),
    }
    Ok(())
}

//! Writes a file again with another key, dialect or compression.
//!
//! A MAC covers the compressed bytes of a chunk, so a change of keys hashes and copies the chunks and inflates none.
//! Workers compare the old MAC of each unit and start the new one. The calling thread finishes each new MAC with the
//! MAC before it, in order.

use std::{
    io::{BufWriter, Read, Write},
    sync::Arc,
};

use dunnage_digest::{Ordered, error_inside};

use crate::{
    Body, Compression, Dialect, Error, Key, Macs, Metadata, Part, Reader, WriteOptions, Writer, Written,
    header::Header,
    key::{Mac, Running, Tag},
    options,
    unit::{Checker, Done, Job},
};

/// Header, key, dialect and compression of the file to write.
#[derive(Clone, Copy)]
struct Output<'a> {
    header: &'a Header,
    key: Option<&'a Key>,
    dialect: Dialect,
    compression: Compression,
}

/// Writes the file of `source` to `sink` with another key, with a first key, or with none.
///
/// It keeps the header byte for byte, and the compressed bytes of all chunks, so it costs little more than a copy and
/// two hashes. It compares every old MAC, but it does not inflate: a chunk that is no deflate stream stays one. The
/// output has the newest dialect that the file fits. The result is whole only if this returns `Ok`.
///
/// `source` must be at the start of the payload.
///
/// # Errors
///
/// The errors of reading, the first by its position in the file; [`Error::WeakKey`]; [`Error::Write`] if the sink
/// fails; [`Error::Misuse`] if `source` was read from. Discard the output then.
pub fn rekey<R: Read, W: Write>(source: Reader<R>, sink: W, key: Option<&Key>) -> Result<(W, Written), Error> {
    let header = source.header().clone();
    let dialect = source.encoding().dialects.newest();
    let output = Output { header: &header, key, dialect, compression: source.encoding().compression };
    let options = WriteOptions { dialect, threads: source.options().threads, ..WriteOptions::default() };
    transcode(source, sink, output, &options)
}

/// Writes the file of `source` to `sink` as another dialect or with another compression, and with `key`.
///
/// Use it to make a file for an older gVisor, or to compress or inflate one. Without a compression in the options, the
/// file keeps its compression, and the chunks of a deflate body are copied and not inflated. The metadata keep all
/// values, also `_timestamp`, but for `compression`, if it changes or was missing, and [`Metadata::LENGTH`], if the
/// options give a length.
///
/// `source` must be at the start of the payload.
///
/// # Errors
///
/// Those of [`rekey`] and [`Writer::new`].
pub fn convert<R: Read, W: Write>(
    source: Reader<R>,
    sink: W,
    key: Option<&Key>,
    options: &WriteOptions,
) -> Result<(W, Written), Error> {
    let encoding = source.encoding();
    let compression = options.compression.unwrap_or(encoding.compression);
    let mut metadata = source.metadata().clone();
    let is_same = encoding.compression_is_named && compression == encoding.compression;
    if !is_same {
        compression.write_to_metadata(&mut metadata);
    }
    if let Some(len) = options.payload_len {
        metadata.insert(Metadata::LENGTH, len.to_string());
    }
    let header = match is_same && options.payload_len.is_none() {
        true => source.header().clone(),
        false => Header::new(&metadata.to_json(), &options.limits)?,
    };
    if matches!(options.dialect, Dialect::P | Dialect::L) {
        return Err(Error::Misuse(format!("dialect {} is not written: expected A, B, C or D", options.dialect)));
    }
    transcode(source, sink, Output { header: &header, key, dialect: options.dialect, compression }, options)
}

fn transcode<R: Read, W: Write>(
    mut source: Reader<R>,
    sink: W,
    output: Output<'_>,
    options: &WriteOptions,
) -> Result<(W, Written), Error> {
    if source.delivered() > 0 {
        let message = format!("expected a reader at the start of the payload, got one at byte {}", source.delivered());
        return Err(Error::Misuse(message));
    }
    let mac = output.key.map(Key::for_writing).transpose()?.map(Mac::new);
    let body = output.dialect.body(mac.is_some(), output.compression);
    let copies_units = match (source.encoding().body, body) {
        (Body::Chunks(_), Body::Chunks(_)) => true,
        // Frames keep their sizes, whatever these are.
        (Body::Frames(from), Body::Frames(to)) => from != Macs::None && to != Macs::None,
        _ => false,
    };
    // A length to compare needs the inflated payload.
    if copies_units && options.payload_len.is_none() {
        return copy_units(source, sink, output, mac, body);
    }
    let mut writer = Writer::with_header(sink, output.key, output.header, output.compression, options)?;
    match (source.encoding().body, writer.raw_sink()?) {
        (Body::Raw, Some(sink)) => {
            let copied = source.copy_to(sink)?;
            writer.count_raw(copied)?;
        }
        (Body::Raw, None) => drop(writer.read_from(&mut source).map_err(unwrapped)?),
        _ => drop(source.copy_to(&mut writer).map_err(unwrapped)?),
    }
    writer.finish()
}

/// The original error, if a reader and a writer that were connected wrapped it as an error of their sink or source.
fn unwrapped(error: Error) -> Error {
    let (Error::Write { source, .. } | Error::Read { source, .. }) = &error else { return error };
    error_inside::<Error>(source).cloned().unwrap_or(error)
}

/// A job after its worker, and the started MACs of its units: they lack the length and the MAC before.
type Begun = (Done, Vec<Running>);

fn copy_units<R: Read, W: Write>(
    mut reader: Reader<R>,
    sink: W,
    output: Output<'_>,
    mac: Option<Mac>,
    body: Body,
) -> Result<(W, Written), Error> {
    let chunk_size = reader.chunk_size();
    let (threads, cancel) = (options::threads(reader.options().threads), reader.options().cancel.clone());
    let Some((feed, source)) = reader.units_mut() else { return Err(Error::Worker) };
    let (rules, data_part) = (Arc::clone(&feed.rules), feed.rules.data_part(1));
    let mut sink = BufWriter::with_capacity(64 << 10, sink);
    let mut written = Written::default();
    let mut write = |bytes: &[u8], part: Part, written: &mut Written| {
        written.file_len = written.file_len.saturating_add(bytes.len() as u64);
        sink.write_all(bytes).map_err(Error::write(part))
    };
    write(output.header.bytes(), Part::Header, &mut written)?;
    if output.dialect.has_header_mac(mac.is_some()) {
        let tag = mac.clone().unwrap_or_else(Mac::unkeyed).whole(output.header.bytes());
        write(&tag, Part::HeaderMac, &mut written)?;
    }
    let mut chain = Tag::default();
    if let Some(size) = chunk_size {
        write(&size.to_be_bytes(), Part::ChunkSize, &mut written)?;
        if let Some(mac) = &mac {
            chain = mac.whole(&size.to_be_bytes());
            write(&chain, Part::ChunkSizeMac, &mut written)?;
        }
    }
    let mut pool: Ordered<Job, Begun> = Ordered::new(threads, || {
        let mut checker = Checker::macs_alone(&rules);
        let mac = mac.clone();
        move |job| {
            let done = checker.check(job);
            let begin = |unit| mac.as_ref().map(|mac| mac.start(done.job.data(unit)));
            let begun = done.job.units.iter().filter_map(begin).collect();
            (done, begun)
        }
    });
    loop {
        cancel.check()?;
        while feed.end.is_none() && pool.in_flight() < rules.jobs_in_flight(threads) {
            let job = feed.read_job(source);
            if !job.units.is_empty() {
                pool.submit(job)?;
            }
        }
        if pool.in_flight() == 0 {
            feed.end.clone().unwrap_or(Ok(()))?;
            break;
        }
        let (done, begun) = pool.take()?;
        let mut begun = begun.into_iter();
        done.result?;
        for unit in &done.job.units {
            let part = rules.data_part(unit.index);
            let len = u32::try_from(unit.len).unwrap_or(u32::MAX).to_be_bytes();
            write(&len, part, &mut written)?;
            write(done.job.data(unit), part, &mut written)?;
            if let Some(mut running) = begun.next() {
                running.update(&len);
                if body.macs() == Macs::Chained {
                    running.update(&chain);
                }
                chain = running.tag();
                write(&chain, part, &mut written)?;
            }
            written.units = unit.index;
            if chunk_size.is_none() {
                written.payload_len = written.payload_len.saturating_add(unit.len as u64);
            }
        }
        feed.spare.push(done.job);
    }
    sink.flush().map_err(Error::write(data_part))?;
    let sink = sink.into_inner().map_err(|error| Error::write(data_part)(error.into_error()))?;
    Ok((sink, written))
}

//! The layout as text.

use std::fmt;

use dunnage_estargz::report::{GroupShare, LayoutReport, Measured, SizeClass, StreamFacts};

use super::{
    Report,
    words::{group_name, landmark_name, plain, shown},
};
use crate::print::{bytes, count, counted, percent, row};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = &self.layout;
        writeln!(f, "{}: {}", self.source, self.format)?;
        row(f, "size", format_args!("{} ({} bytes)", bytes(layout.blob_len), count(layout.blob_len)))?;
        if let Some(digests) = &self.digests {
            row(f, "blob", &digests.blob)?;
            row(f, "diff id", &digests.diff_id)?;
        }
        row(f, "toc digest", &self.toc_digest)?;
        parts(f, layout)?;
        row(f, "content", format_args!("{} in {}", bytes(layout.content_len), files(layout.counts.files)))?;
        self.streams(f)?;
        self.prefetch(f)?;
        self.cost(f)?;
        shares(f, "directories of the root", &layout.top_level, layout.payload_len)?;
        if self.has_deeper_areas() {
            shares(f, "where the bytes are", &layout.areas, layout.payload_len)?;
        }
        biggest(f, layout)?;
        classes(f, "sizes of files", "files", &layout.file_sizes)?;
        classes(f, "compressed sizes of streams", "streams", &layout.stream_sizes)
    }
}

impl Report {
    fn streams(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (layout, (one, many)) = (&self.layout, self.stream_words());
        let streams = &layout.streams;
        let chunks = counted(layout.chunks, "chunk", "chunks");
        row(f, "streams", format_args!("{} with content, {chunks}", counted(streams.with_content, one, many)))?;
        for (label, stream) in
            [("smallest", &streams.smallest), ("median", &streams.median), ("largest", &streams.largest)]
        {
            if let Some(stream) = stream {
                row(f, label, of_stream(stream))?;
            }
            if label == "median" && streams.with_content > 0 {
                row(f, "mean", bytes(streams.mean))?;
            }
        }
        match &layout.shared.largest {
            None => row(f, "shared", "no stream holds more than one file"),
            Some(largest) => {
                let (some, held) = (counted(layout.shared.streams, "stream", "streams"), files(layout.shared.files));
                row(f, "shared", format_args!("{some} with {held}; the largest: {}", of_stream(largest)))
            }
        }
    }

    fn prefetch(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(prefetch) = self.layout.prefetch else { return row(f, "prefetch", "no landmark") };
        let (size, share) = (bytes(prefetch.len), percent(prefetch.len, self.layout.blob_len));
        let (in_front, name) = (files(prefetch.files), landmark_name(prefetch.kind));
        row(f, "prefetch", format_args!("{size}, {share} of the blob; {in_front} before {name} at {}", prefetch.offset))
    }

    fn cost(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = &self.layout;
        row(f, "framing", format_args!("{}, estimated", bytes(layout.framing_len)))?;
        let Some(measured) = self.measured else { return Ok(()) };
        row(f, "tar", self.unpacked(&measured))?;
        let (kind, level) = plain(measured.plain);
        let len = bytes(measured.plain_len);
        row(f, &format!("plain {kind}"), format_args!("{len} at level {level}: {}", self.overhead()))
    }

    /// The tar stream, and how many streams it is in.
    pub(super) fn unpacked(&self, measured: &Measured) -> String {
        let (one, many) = self.stream_words();
        let streams = measured.streams.map(|streams| format!(" in {}", counted(streams, one, many)));
        format!("{}{}", bytes(measured.uncompressed_len), streams.unwrap_or_default())
    }

    /// How the layer compares with one ordinary stream.
    pub(super) fn overhead(&self) -> String {
        let Some(measured) = self.measured else { return String::new() };
        let overhead = measured.overhead(&self.layout);
        let size = u64::try_from(overhead.unsigned_abs()).unwrap_or(u64::MAX);
        let word = if overhead < 0 { "smaller" } else { "larger" };
        let size_text = bytes(size);
        // Of a layer of next to nothing, the rest is a multiple that says nothing.
        if size / 10 > measured.plain_len {
            return format!("the layer is {size_text} {word}");
        }
        format!("the layer is {size_text} ({}) {word}", percent(size, measured.plain_len))
    }
}

fn parts(f: &mut fmt::Formatter<'_>, layout: &LayoutReport) -> fmt::Result {
    let share = |part| percent(part, layout.blob_len);
    row(f, "payload", format_args!("{}, {}", bytes(layout.payload_len), share(layout.payload_len)))?;
    let (toc, json) = (bytes(layout.toc_len), bytes(layout.toc_json_len));
    let entries = counted(layout.toc_entries, "entry", "entries");
    row(f, "toc", format_args!("{toc}, {}; {json} of JSON, {entries}", share(layout.toc_len)))?;
    if layout.tar_split_len > 0 {
        row(f, "tar headers", format_args!("{}, {}", bytes(layout.tar_split_len), share(layout.tar_split_len)))?;
    }
    row(f, "footer", format_args!("{} bytes", layout.footer_len))
}

fn files(number: u64) -> String {
    counted(number, "file", "files")
}

/// `27 B at 0x417, d/a and 2 more files`.
fn of_stream(stream: &StreamFacts) -> String {
    let others = match stream.files {
        0 => return format!("{} at {}, replaced content", bytes(stream.len), stream.offset),
        1 => String::new(),
        files => format!(" and {} more", count(files.saturating_sub(1))),
    };
    format!("{} at {}, {}{others}", bytes(stream.len), stream.offset, shown(&stream.path))
}

fn shares(f: &mut fmt::Formatter<'_>, title: &str, shares: &[GroupShare], whole: u64) -> fmt::Result {
    if shares.iter().all(|share| share.files == 0) {
        return Ok(());
    }
    writeln!(f, "\n{title}\n  {:>10}  {:>7}  {:>10}  {:>10}", "stored", "share", "content", "files")?;
    for share in shares.iter().filter(|share| share.files > 0) {
        let (stored, len) = (bytes(share.stored).to_string(), bytes(share.len).to_string());
        let (part, files) = (percent(share.stored, whole), count(share.files).to_string());
        writeln!(f, "  {stored:>10}  {part:>7}  {len:>10}  {files:>10}  {}", group_name(&share.group))?;
    }
    Ok(())
}

fn biggest(f: &mut fmt::Formatter<'_>, layout: &LayoutReport) -> fmt::Result {
    if layout.biggest.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nbiggest files\n  {:>10}  {:>7}  {:>10}  {:>10}", "stored", "share", "content", "chunks")?;
    for file in &layout.biggest {
        let (stored, len) = (bytes(file.stored).to_string(), bytes(file.len).to_string());
        let (part, chunks) = (percent(file.stored, layout.payload_len), count(file.chunks).to_string());
        let shared = if file.shared { " (shared)" } else { "" };
        writeln!(f, "  {stored:>10}  {part:>7}  {len:>10}  {chunks:>10}  {}{shared}", shown(&file.path))?;
    }
    Ok(())
}

fn classes(f: &mut fmt::Formatter<'_>, title: &str, what: &str, classes: &[SizeClass]) -> fmt::Result {
    if classes.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}\n  {:>19}  {what:>10}  {:>10}", "", "bytes")?;
    for class in classes {
        let (number, bytes) = (count(class.count).to_string(), bytes(class.bytes).to_string());
        writeln!(f, "  {:>19}  {number:>10}  {bytes:>10}", range(class))?;
    }
    Ok(())
}

/// `4 to 7 KiB`, or `512 to 1023 B`.
pub(super) fn range(class: &SizeClass) -> String {
    if class.from < 2 {
        return format!("{} B", class.from);
    }
    let (number, unit) = binary(class.from);
    if unit == "B" {
        return format!("{number} to {} B", class.to());
    }
    format!("{number} to {} {unit}", number.saturating_mul(2))
}

/// A power of two with its unit.
pub(super) const fn binary(size: u64) -> (u64, &'static str) {
    match size {
        0..1024 => (size, "B"),
        1024..1_048_576 => (size >> 10, "KiB"),
        1_048_576..1_073_741_824 => (size >> 20, "MiB"),
        1_073_741_824..1_099_511_627_776 => (size >> 30, "GiB"),
        _ => (size >> 40, "TiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_in_powers_of_1024() {
        for (size, wanted) in [
            (0, (0, "B")),
            (512, (512, "B")),
            (1024, (1, "KiB")),
            (512 << 10, (512, "KiB")),
            (1 << 20, (1, "MiB")),
            (1 << 39, (512, "GiB")),
            (1 << 63, (1 << 23, "TiB")),
        ] {
            assert_eq!(binary(size), wanted, "{size}");
        }
    }
}

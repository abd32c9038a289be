//! Output for people and programs: text, JSON with a schema, and where both go.

mod mode;
mod name;
mod time;

use std::{
    error::Error,
    fmt,
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    os::fd::AsFd,
};

use serde::Serialize;

pub(crate) use self::{
    mode::mode,
    name::{JsonName, printable},
    time::utc,
};

/// The value of `schema` in each JSON object: its name, and the version of its shape.
pub(crate) fn schema(name: &str) -> String {
    format!("dunnage.{name}/1")
}

/// Standard output or standard error could not be written to.
#[derive(Debug)]
pub(crate) struct OutputError {
    name: &'static str,
    is_product: bool,
    source: io::Error,
}

impl OutputError {
    /// `is_product` says that the output was asked for as data, not for looking at.
    pub(crate) const fn new(name: &'static str, is_product: bool, source: io::Error) -> Self {
        Self { name, is_product, source }
    }

    /// The error of standard output as a product.
    pub(crate) const fn of_product(source: io::Error) -> Self {
        Self::new(STDOUT, true, source)
    }

    /// Whether the reader is gone, and lost nothing that it asked for as data.
    pub(crate) fn is_closed_while_looking(&self) -> bool {
        !self.is_product && self.source.kind() == io::ErrorKind::BrokenPipe
    }
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write to {}", self.name)
    }
}

impl Error for OutputError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl From<OutputError> for io::Error {
    fn from(error: OutputError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

const STDOUT: &str = "standard output";

/// Where results go that people or scripts look at.
pub(crate) struct Out {
    name: &'static str,
    to: BufWriter<File>,
    /// Whether it is a terminal.
    pub(crate) is_terminal: bool,
}

impl Out {
    pub(crate) fn stdout() -> io::Result<Self> {
        let to = BufWriter::with_capacity(64 << 10, stdout_file()?);
        Ok(Self { name: STDOUT, to, is_terminal: io::stdout().is_terminal() })
    }

    /// Standard output, or standard error if the former carries data.
    pub(crate) fn beside_data(data_on_stdout: bool) -> io::Result<Self> {
        if !data_on_stdout {
            return Self::stdout();
        }
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Ok(Self { name: "standard error", to: BufWriter::new(stderr), is_terminal: io::stderr().is_terminal() })
    }

    /// One JSON object on a line of its own.
    pub(crate) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        serde_json::to_writer(&mut *self, value)?;
        self.write_all(b"\n")
    }

    /// The JSON form if `json`, else the text.
    pub(crate) fn either<T: Serialize + fmt::Display>(&mut self, json: bool, value: &T) -> io::Result<()> {
        if json { self.json(value) } else { write!(self, "{value}") }
    }

    /// Writes the bytes that are still in memory. Without it, an error at the end would go unnoticed.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        Write::flush(&mut self)
    }

    /// The error with the name of the output.
    fn named(name: &'static str, error: io::Error) -> io::Error {
        OutputError::new(name, false, error).into()
    }
}

impl Write for Out {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.to.write(buf).map_err(|error| Self::named(self.name, error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush().map_err(|error| Self::named(self.name, error))
    }
}

/// Standard output for data that is the product of the run. Errors name it.
#[derive(Debug)]
pub(crate) struct Product(File);

impl Product {
    pub(crate) fn stdout() -> io::Result<Self> {
        stdout_file().map(Self)
    }
}

impl Write for Product {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => OutputError::of_product(error).into(),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(|error| OutputError::of_product(error).into())
    }
}

/// Standard output without the line buffer of the standard library.
pub(crate) fn stdout_file() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// A line of a page: a word, and what it stands for.
pub(crate) fn row(f: &mut fmt::Formatter<'_>, label: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "  {label:<14}{value}")
}

/// A number of bytes for people: `65.40 MB`.
pub(crate) fn bytes(bytes: u64) -> impl fmt::Display {
    indicatif::DecimalBytes(bytes)
}

/// A number for people: `200,000`.
pub(crate) fn count(count: u64) -> impl fmt::Display {
    indicatif::HumanCount(count)
}

/// A number and the noun it counts: `1 file`, `2 files`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A part of a whole, to a tenth of a percent: `12.5 %`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let tenths =
        u128::from(part).saturating_mul(2000).checked_div(u128::from(whole)).unwrap_or(0).saturating_add(1) / 2;
    match (part, tenths) {
        (1.., 0) => "<0.1 %".to_owned(),
        (_, tenths) => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

/// Bytes in one second, whole numbers being exact enough.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for people; the cast saturates"
)]
pub(crate) fn rate(bytes: u64, seconds: f64) -> u64 {
    if seconds > 0.0 { (bytes as f64 / seconds) as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_rounded_and_never_shown_as_nothing() {
        for (part, whole, wanted) in [
            (0, 0, "0.0 %"),
            (0, 5, "0.0 %"),
            (1, 8, "12.5 %"),
            (2, 3, "66.7 %"),
            (1, 10_000, "<0.1 %"),
            (5, 10_000, "0.1 %"),
            (u64::MAX, u64::MAX, "100.0 %"),
        ] {
            assert_eq!(percent(part, whole), wanted, "{part} of {whole}");
        }
    }
}

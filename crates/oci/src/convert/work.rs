//! What all jobs of a conversion need, and the copy of a blob.

use std::io::{self, Read as _, Write as _};

use dunnage_digest::VerifyingReader;
use dunnage_estargz::WriteOptions;

use super::{ImageOptions, Mode};
use crate::{
    Descriptor, Destination, Error, Images,
    destination::write_failed,
    images::{blob_name, read_failed},
    progress::{Share, Watch},
};

/// The parameters of all jobs.
#[derive(Debug)]
pub(super) struct Work<'w> {
    pub(super) source: &'w dyn Images,
    pub(super) to: &'w dyn Destination,
    pub(super) options: &'w ImageOptions,
    pub(super) mode: Mode,
    pub(super) write: WriteOptions,
    pub(super) watch: &'w Watch<'w>,
}

/// Makes sure that the destination has a blob of the source, compared with its descriptor.
pub(super) fn copy_blob(work: &Work<'_>, descriptor: &Descriptor, share: &Share<'_>) -> Result<(), Error> {
    let (digest, size) = (descriptor.digest(), descriptor.size());
    if work.to.has_blob(&digest, size)? {
        return Ok(());
    }
    let stream = work.source.stream(descriptor)?;
    let failed = |error: io::Error| match work.watch.check() {
        Err(cancelled) => cancelled.into(),
        Ok(()) => read_failed(digest, &blob_name(work.source, descriptor), error),
    };
    let mut from = VerifyingReader::new(share.reader(stream), digest, size);
    let mut blob = work.to.begin(digest.algorithm())?;
    let mut block = vec![0; 1 << 20];
    loop {
        let len = from.read(&mut block).map_err(failed)?;
        if len == 0 {
            return blob.commit(&digest, size);
        }
        blob.write_all(block.get(..len).unwrap_or_default()).map_err(|error| write_failed(work.to, error))?;
    }
}

//! Errors of a source keep their kind through everything that reads images.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dunnage_digest::{ErrorKind, Offset, Progress, ReadAt, SourceError};
use dunnage_oci::{
    Blob, Contents, Conversion, CopyOptions, Copying, Depth, Descriptor, Error, ImageOptions, Images, Layout, Limits,
    Store, Verification, VerifyOptions,
};

use crate::make::*;

/// A layout whose blobs fail after so many bytes were read from it in all.
#[derive(Debug)]
struct Failing {
    layout: Layout,
    kind: ErrorKind,
    left: Arc<AtomicU64>,
}

struct FailingBlob {
    blob: Blob,
    kind: ErrorKind,
    left: Arc<AtomicU64>,
}

impl ReadAt for FailingBlob {
    fn size(&self) -> io::Result<u64> {
        self.blob.size()
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        let len = buf.len() as u64;
        let took = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(len));
        if took.is_err() {
            self.left.store(0, Ordering::Relaxed);
            return Err(SourceError::new(self.kind, format!("the source fails: {}", self.kind)).into());
        }
        self.blob.read_exact_at(at, buf)
    }
}

impl Images for Failing {
    fn name(&self) -> &str {
        "failing"
    }

    fn limits(&self) -> &Limits {
        self.layout.limits()
    }

    fn resolve(&self, name: Option<&str>) -> Result<Descriptor, Error> {
        self.layout.resolve(name)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        let blob = self.layout.blob(descriptor)?;
        let place = format!("https://registry.example/{}", descriptor.digest());
        Ok(Blob::new(place, FailingBlob { blob, kind: self.kind, left: Arc::clone(&self.left) }))
    }
}

#[test]
fn every_kind_survives_every_function() {
    let here = Here::new();
    three_layers(&here);
    here.convert(("in", None), ("in", Some("lazy")), &ImageOptions::default()).unwrap();
    type Call = fn(&Here, &Failing, &str) -> Result<(), Error>;
    let calls: &[(&str, Call)] = &[
        ("contents", |_, images, tag| Contents::read(images, Some(tag), &[]).map(drop)),
        ("tree", |_, images, tag| {
            let contents = Contents::read(images, Some(tag), &[])?;
            contents.images[0].tree(images, &Default::default()).map(drop)
        }),
        ("open", |_, images, tag| {
            let contents = Contents::read(images, Some(tag), &[])?;
            contents.images[0].layers.iter().try_for_each(|layer| layer.open(images, &Default::default()).map(drop))
        }),
        ("verify", |_, images, tag| {
            let options = VerifyOptions { depth: Depth::Audit, threads: 1, ..VerifyOptions::default() };
            Verification::plan(images, Some(tag), options)?.run(Progress::none()).map(drop)
        }),
        ("convert", |here, images, tag| {
            let options = ImageOptions { threads: 1, ..ImageOptions::default() };
            let to = Layout::create(&here.path("out"), &Limits::default())?;
            Conversion::plan(images, Some(tag), options)?.run(&to, None, Progress::none()).map(drop)
        }),
        ("copy to a layout", |here, images, tag| {
            let to = Layout::create(&here.path("out"), &Limits::default())?;
            Copying::plan(images, Some(tag), CopyOptions::default())?.run(&to, None, Progress::none()).map(drop)
        }),
        ("copy to an archive", |here, images, tag| {
            let to =
                dunnage_oci::Reference::to(Store::DockerArchive, &here.path("out.tar")).create(&Limits::default())?;
            Copying::plan(images, Some(tag), CopyOptions::default())?.run(&*to, None, Progress::none()).map(drop)
        }),
    ];
    let mut shown = 0;
    for (name, call) in calls {
        for tag in ["latest", "lazy"] {
            let images = |kind, left| Failing { layout: here.open("in"), kind, left: Arc::new(AtomicU64::new(left)) };
            let enough = images(ErrorKind::Io, u64::MAX);
            let _ = std::fs::remove_dir_all(here.path("out"));
            call(&here, &enough, tag).unwrap();
            let needed = u64::MAX - enough.left.load(Ordering::Relaxed);
            for kind in ErrorKind::ALL {
                // In the first document, in the last one, and at three places of the layers.
                for left in [0, needed / 8, needed / 2, needed - needed / 8, needed - 1] {
                    let _ = std::fs::remove_dir_all(here.path("out"));
                    let _ = std::fs::remove_file(here.path("out.tar"));
                    let error = call(&here, &images(*kind, left), tag).expect_err(name);
                    assert!(!here.path("out/index.json").exists() && !here.path("out.tar").exists());
                    let text = told(&error);
                    assert_eq!(error.kind(), *kind, "{name} of {tag}, after {left} of {needed} bytes: {text}");
                    assert!(
                        text.contains(&format!("the source fails: {kind}")) || *kind == ErrorKind::Cancelled,
                        "{text}"
                    );
                    shown += 1;
                }
            }
        }
    }
    assert_eq!(shown, calls.len() * 2 * ErrorKind::ALL.len() * 5);
}

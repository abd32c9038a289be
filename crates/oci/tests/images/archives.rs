//! Images in archives: read, written, copied both ways, recognised.

use std::{fs, path::Path};

use dunnage_digest::Progress;
use dunnage_inputs::{
    layout::digest,
    tarball::{Entry, Format, tarball as tar_of},
};
use dunnage_oci::{
    Contents, Conversion, Copied, CopyOptions, Copying, Depth, DockerArchive, Error, ImageOptions, Images, Limits,
    OciArchive, Reference, SameTag, Store, Target, Verification, VerifiedImage, VerifyOptions, detect,
};
use serde_json::{Value, json};

use crate::make::*;

pub(crate) fn reference(here: &Here, text: &str) -> Reference {
    let (store, rest) = text.split_once(':').unwrap();
    let text = format!("{store}:{}/{rest}", here.path("").display()).replace("//", "/");
    Reference::parse(text.as_ref()).unwrap().unwrap()
}

pub(crate) fn copy(here: &Here, from: &str, to: &str, options: &CopyOptions) -> Result<Copied, Error> {
    let (from, to) = (reference(here, from), reference(here, to));
    let source = from.open(&Limits::default())?;
    let plan = Copying::plan(&*source, from.name.as_deref(), options.clone())?;
    let done = std::sync::Mutex::new(0);
    let report = |now| *done.lock().unwrap() = now;
    let copied = plan.run(&*to.create(&Limits::default())?, to.name.as_deref(), Progress::to(&report))?;
    assert_eq!(*done.lock().unwrap(), plan.total_bytes());
    Ok(copied)
}

pub(crate) fn verify(here: &Here, text: &str) -> Result<VerifiedImage, Error> {
    let from = reference(here, text);
    let images = from.open(&Limits::default())?;
    let options = VerifyOptions { depth: Depth::Audit, ..VerifyOptions::default() };
    Verification::plan(&*images, from.name.as_deref(), options)?.run(Progress::none())
}

fn same_files(here: &Here, a: &str, b: &str) {
    let open = |text: &str| {
        let from = reference(here, text);
        let images = from.open(&Limits::default()).unwrap();
        let contents = Contents::read(&*images, from.name.as_deref(), &[]).unwrap();
        (images, contents)
    };
    let ((a, a_contents), (b, b_contents)) = (open(a), open(b));
    assert_same_files((&*a, &a_contents.images[0]), (&*b, &b_contents.images[0]));
}

#[test]
fn between_layouts_and_oci_archives_nothing_changes() {
    let here = Here::new();
    let mut making = three_layers(&here);
    let other = making.image("arm64", &[making.layer(GZIP, &three_tars()[1])]);
    let index = making.index(INDEX, &[entry(making.path(), "latest"), other]);
    making.tag("many", &index);
    for (tag, platforms) in [("latest", 1), ("many", 2)] {
        let first = copy(&here, &format!("oci:in:{tag}"), "oci-archive:a.tar", &CopyOptions::default()).unwrap();
        let again = copy(&here, "oci-archive:a.tar", "oci-archive:b.tar:named", &CopyOptions::default()).unwrap();
        let back = copy(&here, "oci-archive:b.tar:named", &format!("oci:back:{tag}"), &CopyOptions::default()).unwrap();
        let wanted = entry(making.path(), tag);
        for copied in [&first, &again, &back] {
            assert!(!copied.blobs_changed);
            assert_eq!(copied.image.digest.to_string(), wanted["digest"]);
            assert_eq!(copied.image.manifests.len(), platforms);
        }
        assert_eq!(entry(&here.path("back"), tag), wanted);
        let checked = ["oci:in", "oci-archive:a.tar", "oci:back"].map(|from| {
            verify(&here, &if from.contains("tar") { from.to_owned() } else { format!("{from}:{tag}") }).unwrap()
        });
        assert_eq!((checked[0], checked[1]), (checked[1], checked[2]));
        same_files(&here, &format!("oci:in:{tag}"), "oci-archive:b.tar");
    }
}

#[test]
fn an_archive_for_docker_keeps_configuration_and_diff_ids() {
    let here = Here::new();
    let making = three_layers(&here);
    let config = manifest(making.path(), "latest")["config"]["digest"].clone();
    let copied = copy(&here, "oci:in", "docker-archive:d.tar:busybox", &CopyOptions::default()).unwrap();
    assert!(copied.blobs_changed);
    assert_eq!(copied.image.tag.as_deref(), Some("busybox:latest"));
    for layer in &copied.image.manifests[0].layers {
        assert_eq!((layer.diff_id, *layer.diff_id.digest()), (layer.source_diff_id, layer.digest));
    }
    let back =
        copy(&here, "docker-archive:d.tar:docker.io/library/busybox", "oci:back:b", &CopyOptions::default()).unwrap();
    assert!(!back.blobs_changed);
    assert_eq!((back.image.source, back.image.digest), (copied.image.digest, copied.image.digest));
    assert_eq!(manifest(&here.path("back"), "b")["config"]["digest"], config);
    assert_eq!(verify(&here, "docker-archive:d.tar").unwrap().layers, 3);
    same_files(&here, "oci:in", "docker-archive:d.tar:@0");
    // Without a name that Docker would take, the image has none.
    let copied = copy(&here, "oci:in", "docker-archive:e.tar", &CopyOptions::default()).unwrap();
    assert_eq!(copied.image.tag, None);
    let error = copy(&here, "oci:in", "docker-archive:e.tar:Upper", &CopyOptions::default()).unwrap_err();
    assert_eq!(
        told(&error),
        "a name for Docker is REPOSITORY[:TAG], with a repository in lower case, got `Upper:latest`"
    );
}

#[test]
fn conversions_read_and_write_archives() {
    let here = Here::new();
    three_layers(&here);
    let convert = |from: &str, to: &str, options: ImageOptions| {
        let (from, to) = (reference(&here, from), reference(&here, to));
        let source = from.open(&Limits::default())?;
        let plan = Conversion::plan(&*source, from.name.as_deref(), options)?;
        plan.run(&*to.create(&Limits::default())?, to.name.as_deref(), Progress::none())
    };
    let wanted = convert("oci:in", "oci:lazy", ImageOptions::default()).unwrap();
    copy(&here, "oci:in", "docker-archive:d.tar", &CopyOptions::default()).unwrap();
    let mut archives = Vec::new();
    for threads in [1, 7] {
        let options = ImageOptions { threads, ..ImageOptions::default() };
        let done = convert("oci:in", "oci-archive:lazy.tar", options.clone()).unwrap();
        assert_eq!(done, wanted);
        archives.push(fs::read(here.path("lazy.tar")).unwrap());
        let from_docker = convert("docker-archive:d.tar", "oci-archive:d-lazy.tar:latest", options).unwrap();
        let digests = |done: &dunnage_oci::Converted| {
            done.manifests[0].layers.iter().map(|layer| layer.digest).collect::<Vec<_>>()
        };
        assert_eq!(digests(&from_docker), digests(&wanted));
    }
    assert!(archives[0] == archives[1], "the bytes depend on the number of threads");
    assert_eq!(verify(&here, "oci-archive:lazy.tar").unwrap().tocs, 3);
    let tar = ImageOptions { target: Target::Tar, ..ImageOptions::default() };
    convert("oci-archive:lazy.tar", "docker-archive:plain.tar", tar).unwrap();
    same_files(&here, "oci:in", "docker-archive:plain.tar");
    let error = convert("oci:in", "docker-archive:no.tar", ImageOptions::default()).unwrap_err();
    let path = here.path("no.tar");
    let wanted =
        format!("`{}` holds layers as plain tars: convert to tar, or write to oci-archive:FILE", path.display());
    assert_eq!(told(&error), wanted);
    assert!(!path.exists());
}

#[test]
fn an_archive_appears_whole_or_not_at_all() {
    let here = Here::new();
    let making = three_layers(&here);
    let layer = manifest(making.path(), "latest")["layers"][1]["digest"].as_str().unwrap().to_owned();
    let options = CopyOptions { same_tag: SameTag::Refuse, ..CopyOptions::default() };
    for to in ["oci-archive:a.tar", "docker-archive:d.tar"] {
        let name = to.split_once(':').unwrap().1;
        copy(&here, "oci:in", to, &options).unwrap();
        let first = fs::read(here.path(name)).unwrap();
        let error = copy(&here, "oci:in:latest", &format!("{to}:x"), &options).unwrap_err();
        assert!(matches!(error, Error::TagExists { .. }), "{error:?}");
        let error = copy(&here, "oci:in", to, &options).unwrap_err();
        assert!(matches!(error, Error::TagExists { .. } | Error::Exists { .. }), "{error:?}");
        copy(&here, "oci:in", to, &CopyOptions::default()).unwrap();
        assert!(fs::read(here.path(name)).unwrap() == first);
        let sound = fs::read(blob_path(making.path(), &layer)).unwrap();
        let mut damaged = sound.clone();
        damaged[700] ^= 1;
        fs::write(blob_path(making.path(), &layer), damaged).unwrap();
        let error = copy(&here, "oci:in", to, &CopyOptions::default()).unwrap_err();
        assert!(told(&error).starts_with(&format!("blob {layer}: digest mismatch")), "{}", told(&error));
        assert!(fs::read(here.path(name)).unwrap() == first);
        fs::write(blob_path(making.path(), &layer), sound).unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(here.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.tar", "d.tar", "in"]);
}

/// An archive as `docker save` of old wrote it: layers in folders, repeated ones as symlinks. And the variants of others.
struct Saved {
    members: Vec<Entry>,
    list: Vec<Value>,
}

impl Saved {
    fn new() -> Self {
        Self { members: Vec::new(), list: Vec::new() }
    }

    /// An image of layers that are `(name in the list, bytes of the tar)`.
    fn image(&mut self, tags: &[&str], layers: &[(&str, &[u8])]) -> Vec<u8> {
        let diff_ids: Vec<String> = layers.iter().map(|(_, tar)| digest(tar)).collect();
        let config =
            json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = config.to_string().into_bytes();
        let name = format!("{}.json", &digest(&config)[7..]);
        let layers: Vec<&str> = layers.iter().map(|(name, _)| *name).collect();
        self.list.push(json!({"Config": name, "RepoTags": tags, "Layers": layers}));
        self.members.push(Entry::file(&name, config.clone()));
        config
    }

    fn add(&mut self, entry: Entry) {
        self.members.push(entry);
    }

    fn bytes(&self) -> Vec<u8> {
        let mut members = self.members.clone();
        members.push(Entry::file("manifest.json", Value::from(self.list.clone()).to_string()));
        tar_of(Format::Pax, &members)
    }
}

#[test]
fn archives_of_all_writers_are_read() {
    let here = Here::new();
    let [one, two, three] = three_tars();
    let mut saved = Saved::new();
    let [a, b, c] = ["a", "b", "c"].map(|digit| format!("{}/layer.tar", digit.repeat(64)));
    saved.add(Entry::dir(a.strip_suffix("layer.tar").unwrap()));
    saved.add(Entry::file(&format!("./{a}"), one.clone()));
    saved.add(Entry::symlink(&b, &format!("../{a}")));
    saved.add(Entry::hardlink(&c, &a));
    saved.add(Entry::file("zipped.tar.gz", packed(GZIP, &two)));
    saved.add(Entry::file("zstd.tar", packed(ZSTD, &three)));
    saved.add(Entry::file("/absolute.tar", two.clone()));
    saved.image(&["one:latest", "also/one:2"], &[(&a, &one), ("zipped.tar.gz", &two), ("zstd.tar", &three)]);
    saved.image(&["two:latest"], &[(&b, &one), ("absolute.tar", &two), (&c, &one)]);
    saved.image(&[], &[(&a, &one)]);
    for (name, bytes) in [
        ("plain.tar", saved.bytes()),
        ("gz.tar", packed(GZIP, &saved.bytes())),
        ("zst.tar", packed(ZSTD, &saved.bytes())),
    ] {
        fs::write(here.path(name), bytes).unwrap();
        assert_eq!(detect(&here.path(name)).unwrap(), Some(Store::DockerArchive), "{name}");
        for (image, layers) in [("one", 3), ("also/one:2", 3), ("two:latest", 2), ("@2", 1), ("@0", 3)] {
            let from = format!("docker-archive:{name}:{image}");
            assert_eq!(verify(&here, &from).unwrap().layers, layers, "{from}");
        }
        same_files(&here, &format!("docker-archive:{name}:one"), &format!("docker-archive:{name}:@0"));
    }
    let archive = DockerArchive::open(&here.path("plain.tar"), &Limits::default()).unwrap();
    let digest = archive.resolve(Some("two")).unwrap().digest();
    assert_eq!(archive.resolve(Some(&format!("@{digest}"))).unwrap().digest(), digest);
    let path = here.path("plain.tar").display().to_string();
    for (name, wanted) in [
        (None, format!("`{path}` holds 3 images and no tag says which: there is `one:latest`, `two:latest`, `@2`")),
        (Some("three"), format!("no tag `three` in `{path}`: there is `one:latest`, `two:latest`, `@2`")),
        (Some("@3"), format!("no image `@3` in `{path}`: there is `one:latest`, `two:latest`, `@2`")),
    ] {
        assert_eq!(told(&archive.resolve(name).unwrap_err()), wanted);
    }
}

#[test]
fn layouts_and_archives_are_recognised() {
    let here = Here::new();
    three_layers(&here);
    copy(&here, "oci:in", "oci-archive:oci.tar", &CopyOptions::default()).unwrap();
    copy(&here, "oci:in", "docker-archive:docker.tar:x", &CopyOptions::default()).unwrap();
    // `docker save` since Docker 25 writes both forms into one file.
    let layer = tarball(&[("a", "x")]);
    let mut both = Saved::new();
    both.add(Entry::file("blobs/sha256/a", layer.clone()));
    both.image(&[], &[("blobs/sha256/a", &layer)]);
    both.add(Entry::file("index.json", r#"{"schemaVersion":2,"manifests":[]}"#));
    both.add(Entry::file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#));
    fs::write(here.path("both.tar"), both.bytes()).unwrap();
    let write = |name: &str, entries: &[Entry]| fs::write(here.path(name), tar_of(Format::Ustar, entries)).unwrap();
    write("layer.tar", &[Entry::dir("./"), Entry::dir("./etc/"), Entry::file("./etc/motd", "x")]);
    write("app.tar", &[Entry::file("manifest.json", r#"{"name":"x"}"#)]);
    write("half.tar", &[Entry::file("index.json", "{}")]);
    write("empty.tar", &[]);
    fs::write(here.path("text"), "no tar").unwrap();
    fs::write(here.path("nothing"), "").unwrap();
    fs::create_dir(here.path("folder")).unwrap();
    for (name, wanted) in [
        ("in", Some(Store::Layout)),
        ("oci.tar", Some(Store::OciArchive)),
        ("docker.tar", Some(Store::DockerArchive)),
        ("both.tar", Some(Store::OciArchive)),
        ("layer.tar", None),
        ("app.tar", None),
        ("half.tar", None),
        ("empty.tar", None),
        ("text", None),
        ("nothing", None),
        ("folder", None),
    ] {
        assert_eq!(detect(&here.path(name)).unwrap(), wanted, "{name}");
    }
    assert!(detect(&here.path("missing")).is_err());
    let wrong = |result: Result<(), Error>| told(&result.unwrap_err());
    let path = |name: &str| here.path(name).display().to_string();
    let oci = |name: &str| wrong(OciArchive::open(&here.path(name), &Limits::default()).map(drop));
    let docker = |name: &str| wrong(DockerArchive::open(&here.path(name), &Limits::default()).map(drop));
    let none = |name: &str, member: &str, advice: &str| {
        format!("`{}` is no archive of images: it has no member `{member}`{advice}", path(name))
    };
    assert_eq!(oci("docker.tar"), none("docker.tar", "oci-layout", ": name it as docker-archive:FILE"));
    assert_eq!(docker("oci.tar"), none("oci.tar", "manifest.json", ": name it as oci-archive:FILE"));
    assert_eq!(oci("layer.tar"), none("layer.tar", "oci-layout", ""));
    assert_eq!(oci("folder"), format!("`{}` is no archive of images: it is a directory", path("folder")));
    assert_eq!(
        oci("text"),
        format!("archive `{}`: cannot read tar header at offset 0x6: unexpected end of file", path("text"))
    );
}

#[test]
fn images_of_a_layout_are_named_by_digest_and_by_place() {
    let here = Here::new();
    let mut making = three_layers(&here);
    let other = making.image("arm64", &[]);
    making.tag("", &other);
    making.tag("latest", &other);
    let layout = here.open("in");
    let first = entry(making.path(), "latest")["digest"].as_str().unwrap().to_owned();
    let other = other["digest"].as_str().unwrap();
    for (name, wanted) in [
        ("@0", first.as_str()),
        ("@1", other),
        ("@2", other),
        (&format!("@{other}"), other),
        (&format!("@{first}"), &first),
    ] {
        assert_eq!(layout.resolve(Some(name)).unwrap().digest().to_string(), wanted, "{name}");
    }
    // Each name that a message advises leads to an image.
    for name in [None, Some("latest"), Some("nope"), Some("@3"), Some("@x")] {
        let message = told(&layout.resolve(name).unwrap_err());
        let advised = message.split_once("there is ").unwrap().1;
        for name in advised.split(", ").map(|name| name.trim_matches('`')) {
            layout.resolve(Some(name)).unwrap();
        }
    }
}

pub(crate) fn write_saved(path: &Path, tar: &[u8]) {
    let mut saved = Saved::new();
    saved.add(Entry::file("layer.tar", tar));
    saved.image(&["x:latest"], &[("layer.tar", tar)]);
    fs::write(path, saved.bytes()).unwrap();
}

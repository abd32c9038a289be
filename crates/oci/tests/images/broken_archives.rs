//! Archives that are wrong in one place, and archives that try to reach outside.

use std::{fs, io::Write, time::Instant};

use dunnage_inputs::{
    layout::digest,
    tarball::{self, Entry, EntryKind, Format, tarball as tar_of},
};
use dunnage_oci::{CopyOptions, DockerArchive, Images, Limits, OciArchive};
use serde_json::{Value, json};

use crate::{
    archives::{copy, verify},
    make::*,
};

/// The members of an archive for Docker with one image of one layer, before a test changes them.
fn members() -> Vec<Entry> {
    let layer = tarball(&[("a", "content")]);
    let config =
        json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]}});
    let list = json!([{"Config": "config.json", "RepoTags": ["x:latest"], "Layers": ["layer.tar"]}]);
    vec![
        Entry::file("layer.tar", layer),
        Entry::file("config.json", config.to_string()),
        Entry::file("manifest.json", list.to_string()),
    ]
}

/// All that reading, checking and copying an archive say: the same, and nothing is written.
fn refused(here: &Here, form: &str) -> String {
    let before = listing(here);
    let from = format!("{form}:in.tar");
    let verified = told(&verify(here, &from).expect_err("it is wrong"));
    for to in ["oci:out", "docker-archive:out.tar", "oci-archive:out.tar"] {
        let copied = copy(here, &from, to, &CopyOptions::default()).expect_err("it is wrong");
        assert_eq!(told(&copied), verified, "{to}");
        assert!(!here.path("out/index.json").exists());
        assert!(!here.path("out.tar").exists(), "{to}");
    }
    let _ = fs::remove_dir_all(here.path("out"));
    assert_eq!(listing(here), before);
    verified
}

fn listing(here: &Here) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(here.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn archives_for_docker_that_are_wrong_in_one_place() {
    type Change = fn(&mut Vec<Entry>);
    let cases: &[(Change, &str)] = &[
        (
            |members| drop(members.remove(0)),
            "archive `IN`: member `layer.tar` at offset 0x0: expected a member of this name, as `manifest.json` says, got none",
        ),
        (
            |members| drop(members.remove(1)),
            "archive `IN`: member `config.json` at offset 0x0: expected a member of this name, as `manifest.json` says, got none",
        ),
        (|members| drop(members.pop()), "`IN` is no archive of images: it has no member `manifest.json`"),
        (
            |members| members[0] = Entry::symlink("layer.tar", "other.tar"),
            "archive `IN`: member `layer.tar` at offset 0x0: expected a link to another member, got a link to `other.tar`, which is missing",
        ),
        (
            |members| members[0] = Entry::symlink("layer.tar", "layer.tar"),
            "archive `IN`: member `layer.tar` at offset 0x0: expected a file, got a chain of more than 16 links",
        ),
        (
            |members| {
                members[0] = Entry::symlink("layer.tar", "b.tar");
                members.push(Entry::symlink("b.tar", "layer.tar"));
            },
            "archive `IN`: member `layer.tar` at offset 0x0: expected a file, got a chain of more than 16 links",
        ),
        (
            |members| members[0] = Entry::symlink("layer.tar", "../../etc/passwd"),
            "archive `IN`: member `layer.tar` at offset 0x200: expected a link to another member, got a link to `../../etc/passwd`",
        ),
        (
            |members| members[0] = Entry::symlink("layer.tar", "/etc/passwd"),
            "archive `IN`: member `layer.tar` at offset 0x0: expected a link to another member, got a link to `etc/passwd`, which is missing",
        ),
        (
            |members| members[0] = Entry::hardlink("layer.tar", "/etc/passwd"),
            "archive `IN`: member `layer.tar` at offset 0x0: expected a link to another member, got a link to `etc/passwd`, which is missing",
        ),
        (
            |members| members[0] = Entry::dir("layer.tar/"),
            "archive `IN`: member `layer.tar` at offset 0x200: expected a file, got a directory, a device or a sparse file",
        ),
        (
            |members| members[0] = Entry::special(EntryKind::Char, "layer.tar", 1, 5),
            "archive `IN`: member `layer.tar` at offset 0x200: expected a file, got a directory, a device or a sparse file",
        ),
        (
            |members| members.insert(0, Entry::file("../outside", "x")),
            "archive `IN`: member `../outside` at offset 0x200: expected a name inside of the archive, got a name that leads out of it",
        ),
        (
            |members| members.push(members[2].clone()),
            "archive `IN`: member `manifest.json` at offset AT: expected one member of this name, since readers differ in which one they take, got several",
        ),
        (
            |members| members.push(Entry::file("./config.json", "{}")),
            "archive `IN`: member `config.json` at offset AT: expected one member of this name, since readers differ in which one they take, got several",
        ),
        (
            |members| members[2] = Entry::file("manifest.json", "{}"),
            "malformed manifest.json: expected a list of images, got JSON with an error: invalid type: map, expected a sequence at line 1 column 0",
        ),
        (
            |members| members[2] = Entry::file("manifest.json", r#"[{"Layers":[]}]"#),
            "malformed manifest.json: expected a name of a member as `Config`, got nothing",
        ),
        (
            |members| members[2] = Entry::file("manifest.json", r#"[{"config":"config.json","Layers":[]}]"#),
            "malformed manifest.json: expected a key `Config`, got `config`",
        ),
        (|members| members[2] = Entry::file("manifest.json", "[]"), "`IN` holds no image"),
        (
            |members| members[2] = Entry::file("manifest.json", r#"[{"Config":"../../etc/passwd","Layers":[]}]"#),
            "archive `IN`: member `../../etc/passwd` at offset 0x0: expected a name inside of the archive, got `../../etc/passwd`",
        ),
        (
            |members| {
                members[2] =
                    Entry::file("manifest.json", r#"[{"Config":"config.json","Layers":["layer.tar","layer.tar"]}]"#)
            },
            "inconsistent configuration CONFIG: expected 2 diff IDs, as layers in `manifest.json`, got 1",
        ),
        (
            |members| members[1] = Entry::file("config.json", "{}"),
            "malformed configuration CONFIG: expected an object as `rootfs`, got nothing",
        ),
        (|members| members[0].content[520] ^= 1, "blob LAYER: digest mismatch: expected LAYER, got GOT"),
        (
            |members| members[0].content = packed(GZIP, &tarball(&[("a", "other")])),
            "layer `layer.tar`: diff ID: digest mismatch: expected LAYER, got PLAIN",
        ),
        (|members| members[0].content = vec![0x1f, 0x8b, 8, 0, 7, 7, 7], "layer `layer.tar`: cannot read the input"),
    ];
    for (change, wanted) in cases {
        let here = Here::new();
        let mut members = members();
        let layer = digest(&members[0].content);
        change(&mut members);
        let tar = tar_of(Format::Pax, &members);
        fs::write(here.path("in.tar"), &tar).unwrap();
        let content = |name: &str| {
            members
                .iter()
                .find(|entry| entry.name == name.as_bytes())
                .map(|entry| entry.content.clone())
                .unwrap_or_default()
        };
        let last = tar.len() - 1024 - members.last().unwrap().content.len().next_multiple_of(512);
        let wanted = wanted
            .replace("PLAIN", &digest(&tarball(&[("a", "other")])))
            .replace("IN", &here.path("in.tar").display().to_string())
            .replace("CONFIG", &digest(&content("config.json")))
            .replace("LAYER", &layer)
            .replace("GOT", &digest(&content("layer.tar")))
            .replace("AT", &format!("{last:#x}"));
        let got = refused(&here, "docker-archive");
        assert!(got.starts_with(&wanted), "{got}\n instead of\n{wanted}");
    }
}

#[test]
fn oci_archives_that_are_wrong_in_one_place() {
    let here = Here::new();
    let making = three_layers(&here);
    let manifest_digest = entry(making.path(), "latest")["digest"].as_str().unwrap().to_owned();
    copy(&here, "oci:in", "oci-archive:sound.tar", &CopyOptions::default()).unwrap();
    let archive = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut members = vec![
            Entry::file("oci-layout", fs::read(making.path().join("oci-layout")).unwrap()),
            Entry::file("index.json", fs::read(making.path().join("index.json")).unwrap()),
        ];
        let mut blobs: Vec<_> =
            fs::read_dir(making.path().join("blobs/sha256")).unwrap().map(|blob| blob.unwrap().path()).collect();
        blobs.sort();
        for blob in blobs {
            let name = format!("blobs/sha256/{}", blob.file_name().unwrap().to_str().unwrap());
            members.push(Entry::file(&name, fs::read(blob).unwrap()));
        }
        change(&mut members);
        fs::write(here.path("in.tar"), tar_of(Format::Pax, &members)).unwrap();
    };
    let manifest_name = format!("blobs/sha256/{}", &manifest_digest[7..]);
    let find = |members: &Vec<Entry>| members.iter().position(|entry| entry.name == manifest_name.as_bytes()).unwrap();
    type Change<'c> = &'c dyn Fn(&mut Vec<Entry>);
    let cases: &[(Change<'_>, &str)] = &[
        (&|members| drop(members.remove(0)), "`IN` is no archive of images: it has no member `oci-layout`"),
        (&|members| drop(members.remove(1)), "`IN` is no archive of images: it has no member `index.json`"),
        (&|members| drop(members.remove(find(members))), "no blob MANIFEST in `IN`"),
        (
            &|members| {
                let at = find(members);
                members[at].content.push(b' ');
            },
            "blob MANIFEST: size mismatch: expected SIZE bytes, got ",
        ),
        (
            &|members| {
                let at = find(members);
                members[at].content[0] ^= 1;
            },
            "blob MANIFEST: digest mismatch",
        ),
        (&|members| members.push(Entry::file("/index.json", "{}")), "archive `IN`: member `index.json` at offset "),
        (
            &|members| members[1] = Entry::symlink("index.json", "oci-layout"),
            "malformed index.json: expected a number as `schemaVersion`, got nothing",
        ),
    ];
    let before = listing(&here);
    let name = here.path("in.tar").display().to_string();
    let size = fs::metadata(blob_path(making.path(), &manifest_digest)).unwrap().len().to_string();
    for (change, wanted) in cases {
        archive(change);
        let wanted = wanted.replace("IN", &name).replace("MANIFEST", &manifest_digest).replace("SIZE", &size);
        let got = told(&verify(&here, "oci-archive:in.tar").unwrap_err());
        assert!(got.starts_with(&wanted), "{got}\n instead of\n{wanted}");
        assert_eq!(
            told(&copy(&here, "oci-archive:in.tar", "oci-archive:out.tar", &CopyOptions::default()).unwrap_err()),
            got
        );
    }
    // A blob may be there twice: its digest tells whether the one that is read is right.
    archive(&|members| members.push(members[find(members)].clone()));
    verify(&here, "oci-archive:in.tar").unwrap();
    fs::remove_file(here.path("in.tar")).unwrap();
    assert_eq!(listing(&here), before);
}

#[test]
fn archives_cut_short_are_refused_everywhere() {
    let here = Here::new();
    three_layers(&here);
    copy(&here, "oci:in", "oci-archive:oci.tar", &CopyOptions::default()).unwrap();
    copy(&here, "oci:in", "docker-archive:docker.tar", &CopyOptions::default()).unwrap();
    for (form, name) in [("oci-archive", "oci.tar"), ("docker-archive", "docker.tar")] {
        let whole = fs::read(here.path(name)).unwrap();
        // The two blocks at the end may be missing.
        for len in (0..whole.len() - 1024).step_by(1021) {
            fs::write(here.path("in.tar"), &whole[..len]).unwrap();
            assert!(verify(&here, &format!("{form}:in.tar")).is_err(), "{form}, {len} of {} bytes", whole.len());
        }
    }
}

#[test]
fn an_archive_that_changes_is_never_read_as_another() {
    let here = Here::new();
    let layer = tarball(&[("a", "content")]);
    crate::archives::write_saved(&here.path("in.tar"), &layer);
    let archive = DockerArchive::open(&here.path("in.tar"), &Limits::default()).unwrap();
    let contents = dunnage_oci::Contents::read(&archive, None, &[]).unwrap();
    let tree = contents.images[0].tree(&archive, &Default::default()).unwrap();
    let node = dunnage_tree::resolve(&tree, b"a", dunnage_tree::Follow::Always).unwrap();
    let mut text = [0; 7];
    dunnage_tree::Tree::read_at(&tree, node, 0, &mut text).unwrap();
    assert_eq!(&text, b"content");
    std::thread::sleep(std::time::Duration::from_millis(20));
    let mut file = fs::OpenOptions::new().append(true).open(here.path("in.tar")).unwrap();
    file.write_all(b"more").unwrap();
    drop(file);
    let error = dunnage_tree::Tree::read_at(&tree, node, 0, &mut text).unwrap_err();
    assert_eq!(error.kind(), dunnage_digest::ErrorKind::Conflict);
    let blob = archive.blob(&contents.images[0].config).unwrap();
    let error = dunnage_digest::ReadAt::read_exact_at(&blob, dunnage_digest::Offset::ZERO, &mut [0]).unwrap_err();
    assert_eq!(dunnage_digest::kind_of(&error), dunnage_digest::ErrorKind::Conflict);
    assert!(error.to_string().starts_with("the file changed while it was read: expected "), "{error}");
}

#[test]
fn many_members_are_read() {
    many(100_000);
}

#[test]
#[ignore = "writes half a gigabyte"]
fn a_million_members_are_read() {
    many(1_000_000);
}

#[expect(clippy::print_stdout, reason = "the time is a result of the ignored test")]
fn many(count: u32) {
    let here = Here::new();
    let mut file = std::io::BufWriter::new(fs::File::create(here.path("in.tar")).unwrap());
    for number in 0..count {
        file.write_all(&tarball::file_header(&format!("blobs/sha256/{number:064x}"), 0, 0)).unwrap();
    }
    file.write_all(&tar_of(Format::Pax, &members())).unwrap();
    drop(file);
    let start = Instant::now();
    assert_eq!(verify(&here, "docker-archive:in.tar").unwrap().layers, 1);
    println!("{count} members: {:.2} s", start.elapsed().as_secs_f64());
    let limits = Limits { members: 1000, ..Limits::default() };
    let error = told(&DockerArchive::open(&here.path("in.tar"), &limits).unwrap_err());
    assert!(error.ends_with("1001 is over the limit of 1000"), "{error}");
    let limits = Limits { archive: 1 << 20, ..Limits::default() };
    fs::write(here.path("bomb.tar"), packed(GZIP, &vec![0; 2 << 20])).unwrap();
    let error = OciArchive::open(&here.path("bomb.tar"), &limits).unwrap_err();
    assert_eq!(error.kind(), dunnage_digest::ErrorKind::LimitExceeded, "{}", told(&error));
}

#[test]
fn documents_of_an_archive_are_limited() {
    let here = Here::new();
    let mut members = members();
    members[2] = Entry::file("manifest.json", vec![b' '; (4 << 20) + 1]);
    fs::write(here.path("in.tar"), tar_of(Format::Pax, &members)).unwrap();
    assert_eq!(refused(&here, "docker-archive"), "bytes of a document: 4194305 is over the limit of 4194304");
    let many = Value::from(vec![json!({"Config": "x", "Layers": []}); 4097]).to_string();
    members[2] = Entry::file("manifest.json", many);
    fs::write(here.path("in.tar"), tar_of(Format::Pax, &members)).unwrap();
    assert_eq!(refused(&here, "docker-archive"), "images of one archive: 4097 is over the limit of 4096");
}

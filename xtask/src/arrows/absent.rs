//! Crates that a crate of ours must not bring, however far down.

use anyhow::Result;

use crate::workspace::{capture, cargo};

/// A crate of ours, crates that its users must not have to build, and why.
const ABSENT: &[(&str, &[&str], &str)] = &[(
    "dunnage-oci",
    &[
        "fuser",
        "ureq",
        "reqwest",
        "hyper",
        "h2",
        "tokio",
        "rustls",
        "tiny_http",
        "curl",
        "attohttpc",
        "clap",
        "clap_builder",
        "indicatif",
        "console",
    ],
    "images are read and written without FUSE, HTTP and a command line",
)];

/// Asks cargo for the dependencies of each crate as its users get them: no features but the default ones, no tests.
pub(super) fn check() -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (name, absent, why) in ABSENT {
        let tree = capture(cargo().args(["tree", "--package", name, "--edges", "normal,build", "--prefix", "none"]))?;
        wrong.extend(found(&tree, absent).map(|found| format!("`{name}` brings `{found}`: {why}")));
    }
    Ok(wrong)
}

fn found<'a>(tree: &'a str, absent: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let is_there = |name: &str| tree.lines().any(|line| line.split_whitespace().next() == Some(name));
    absent.iter().copied().filter(move |name| is_there(name))
}

#[cfg(test)]
mod tests {
    use super::found;

    #[test]
    fn crates_are_found_by_their_whole_names() {
        let tree = "dunnage-oci v0.1.0 (/repo)\nhyper-util v1.0.0\nclap v4.6.9\nclap v4.6.9 (*)\n";
        assert_eq!(found(tree, &["hyper", "clap", "h2"]).collect::<Vec<_>>(), ["clap"]);
    }
}

//! Licences, versions and places of the crates that come with us, held against `.deny.toml`.
//!
//! The file is cargo-deny's, so that program reads it as well. This reads `cargo metadata` instead, which takes a second
//! and no installation: docs/decisions/0006-deny.md has the figures. Only advisories need cargo-deny, and a database that
//! not every machine can reach.

mod advisories;
mod config;
mod spdx;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context as _, Result, bail};

use self::config::{Bans, Config, Licenses, Sources};
use crate::workspace::{Metadata, Package, root};

/// `cargo xtask deny`.
pub(crate) fn run() -> Result<()> {
    let path = root().join(".deny.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let config: Config = toml::from_str(&text).with_context(|| format!("cannot read `{}`", path.display()))?;
    let metadata = Metadata::load_for(&config.graph.targets)?;
    let packages = used(&metadata);
    let mut wrong = licenses(&config.licenses, &packages);
    wrong.extend(bans(&config.bans, &packages));
    wrong.extend(features(&config.bans, &metadata));
    wrong.extend(sources(&config.sources, &packages));
    for line in &wrong {
        eprintln!("deny: {line}");
    }
    if !wrong.is_empty() {
        bail!("{} of {} crates' rules are broken", wrong.len(), packages.len());
    }
    println!("deny: {} crates; licences, versions, features and sources are as .deny.toml allows", packages.len());
    advisories::run()
}

/// The packages that the targets of `.deny.toml` resolve to; `cargo metadata` lists those of other systems as well.
fn used(metadata: &Metadata) -> Vec<&Package> {
    let resolved: BTreeSet<&str> =
        metadata.resolve.iter().flat_map(|resolve| &resolve.nodes).map(|node| node.id.as_str()).collect();
    metadata.packages.iter().filter(|package| resolved.contains(package.id.as_str())).collect()
}

/// Packages whose licence is not allowed, and licences that are allowed and not needed.
fn licenses(rules: &Licenses, packages: &[&Package]) -> Vec<String> {
    let (mut wrong, mut needed) = (Vec::new(), BTreeSet::new());
    for package in packages {
        let named = format!("`{} {}`", package.name, package.version);
        let Some(license) = &package.license else {
            wrong.push(format!("{named} names no licence"));
            continue;
        };
        match spdx::satisfied(license, &rules.allow) {
            Ok(Some(used)) => needed.extend(used),
            Ok(None) => {
                wrong.push(format!("{named} is licensed as `{license}`, expected one of {}", rules.allow.join(", ")))
            }
            Err(reason) => wrong.push(format!("{named}: cannot read the licence `{license}`: {reason}")),
        }
    }
    let unused = rules.allow.iter().filter(|id| !needed.contains(id.as_str()));
    wrong.extend(unused.map(|id| format!("the licence `{id}` is allowed and no crate needs it")));
    wrong
}

/// Crates that are denied, crates in several versions, and exceptions that are not needed.
fn bans(rules: &Bans, packages: &[&Package]) -> Vec<String> {
    let mut versions = BTreeMap::<&str, BTreeSet<&str>>::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    let mut wrong = Vec::new();
    for denied in &rules.deny {
        if versions.contains_key(denied.name()) {
            wrong.push(format!("`{}` is denied: {}", denied.name(), denied.reason));
        }
    }
    let mut used = BTreeSet::new();
    for (name, versions) in &versions {
        let left: Vec<&str> = versions
            .iter()
            .filter(|version| {
                let skip = rules.skip.iter().position(|skip| skip.matches(name, version));
                // An exception counts only where there is something to except.
                let skip = skip.filter(|_| versions.len() > 1);
                used.extend(skip);
                skip.is_none()
            })
            .copied()
            .collect();
        if left.len() > 1 {
            wrong.push(format!("`{name}` comes in {} versions: {}", left.len(), left.join(", ")));
        }
    }
    for (_, skip) in rules.skip.iter().enumerate().filter(|(at, _)| !used.contains(at)) {
        wrong.push(format!("the exception for `{}` is not needed any more", skip.krate));
    }
    wrong
}

/// Features that are denied and resolved all the same.
fn features(rules: &Bans, metadata: &Metadata) -> Vec<String> {
    let mut wrong = Vec::new();
    for rule in &rules.features {
        let ids: Vec<&str> = metadata
            .packages
            .iter()
            .filter(|package| package.name == rule.krate)
            .map(|package| package.id.as_str())
            .collect();
        let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
        for feature in nodes.filter(|node| ids.contains(&node.id.as_str())).flat_map(|node| &node.features) {
            if rule.deny.contains(feature) {
                wrong.push(format!("`{}` resolves with feature `{feature}`: {}", rule.krate, rule.reason));
            }
        }
    }
    wrong
}

/// Packages from elsewhere than the allowed registries and this repository.
fn sources(rules: &Sources, packages: &[&Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages {
        // Members of the workspace have no source.
        let Some(source) = &package.source else { continue };
        let allowed = source.strip_prefix("registry+").is_some_and(|url| rules.allow_registry.iter().any(|a| a == url));
        if !allowed {
            wrong.push(format!("`{} {}` comes from `{source}`, which is not allowed", package.name, package.version));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Node, Resolve};

    fn package(name: &str, version: &str, license: Option<&str>) -> Package {
        Package {
            id: format!("{name}@{version}"),
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.map(str::to_owned),
            ..Package::default()
        }
    }

    fn rules(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    const RULES: &str = r#"
        [graph]
        targets = []
        all-features = true
        [licenses]
        allow = ["MIT", "Zlib"]
        [bans]
        multiple-versions = "deny"
        skip = [{ crate = "syn@2", reason = "old derives" }]
        deny = [{ crate = "libz-sys", reason = "a C zlib" }]
        [[bans.features]]
        crate = "flate2"
        deny = ["zlib-ng"]
        reason = "other bytes"
        [sources]
        unknown-registry = "deny"
        unknown-git = "deny"
        allow-registry = ["https://index.example"]
        [advisories]
        ignore = []
    "#;

    #[test]
    fn licences_outside_of_the_list_are_named_and_unneeded_ones_too() {
        let packages = [
            package("a", "1.0.0", Some("MIT OR Apache-2.0")),
            package("b", "2.0.0", Some("GPL-3.0")),
            package("c", "3.0.0", None),
            package("d", "4.0.0", Some("(MIT")),
        ];
        assert_eq!(
            licenses(&rules(RULES).licenses, &packages.iter().collect::<Vec<_>>()),
            [
                "`b 2.0.0` is licensed as `GPL-3.0`, expected one of MIT, Zlib",
                "`c 3.0.0` names no licence",
                "`d 4.0.0`: cannot read the licence `(MIT`: expected `)` at the end",
                "the licence `Zlib` is allowed and no crate needs it",
            ]
        );
    }

    #[test]
    fn a_second_version_needs_an_exception_and_an_exception_a_second_version() {
        let versions = |list: &[(&str, &str)]| -> Vec<String> {
            let packages: Vec<Package> = list.iter().map(|(name, version)| package(name, version, None)).collect();
            bans(&rules(RULES).bans, &packages.iter().collect::<Vec<_>>())
        };
        assert!(versions(&[("syn", "2.0.1"), ("syn", "3.0.0")]).is_empty());
        assert_eq!(versions(&[("syn", "3.0.0")]), ["the exception for `syn@2` is not needed any more"]);
        assert_eq!(versions(&[("syn", "2.0.0")]), ["the exception for `syn@2` is not needed any more"]);
        assert_eq!(
            versions(&[("syn", "2.0.1"), ("syn", "3.0.0"), ("syn", "4.0.0")]),
            ["`syn` comes in 2 versions: 3.0.0, 4.0.0"]
        );
        // 20 is not 2.
        assert_eq!(
            versions(&[("syn", "20.0.1"), ("syn", "3.0.0")]),
            ["`syn` comes in 2 versions: 20.0.1, 3.0.0", "the exception for `syn@2` is not needed any more"]
        );
        assert_eq!(
            versions(&[("syn", "2.0.1"), ("syn", "3.0.0"), ("libz-sys", "1.0.0")]),
            ["`libz-sys` is denied: a C zlib"]
        );
    }

    #[test]
    fn a_denied_feature_is_named_only_for_its_crate() {
        let node = |id: &str| Node { id: id.to_owned(), features: vec!["zlib-ng".to_owned()] };
        let mut metadata = Metadata {
            packages: vec![package("flate2", "1.0.0", None), package("other", "1.0.0", None)],
            resolve: Some(Resolve { nodes: vec![node("other@1.0.0")] }),
            ..Metadata::default()
        };
        assert!(features(&rules(RULES).bans, &metadata).is_empty());
        metadata.resolve = Some(Resolve { nodes: vec![node("flate2@1.0.0")] });
        assert_eq!(features(&rules(RULES).bans, &metadata), ["`flate2` resolves with feature `zlib-ng`: other bytes"]);
    }

    #[test]
    fn only_listed_registries_and_the_workspace_are_sources() {
        let mut packages = [package("a", "1.0.0", None), package("b", "1.0.0", None), package("c", "1.0.0", None)];
        packages[1].source = Some("registry+https://index.example".to_owned());
        packages[2].source = Some("git+https://git.example/c".to_owned());
        assert_eq!(
            sources(&rules(RULES).sources, &packages.iter().collect::<Vec<_>>()),
            ["`c 1.0.0` comes from `git+https://git.example/c`, which is not allowed"]
        );
    }

    #[test]
    fn a_rule_that_is_not_known_here_is_an_error() {
        let text = RULES.replace("ignore = []", "ignore = []\nyanked = \"deny\"");
        let error = toml::from_str::<Config>(&text).unwrap_err().to_string();
        assert!(error.contains("unknown field `yanked`"), "{error}");
    }
}

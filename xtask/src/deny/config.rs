//! `.deny.toml`: the part of cargo-deny's configuration that we use.
//!
//! A key that is not here is an error, so that no rule in the file goes unread.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) graph: Graph,
    pub(super) licenses: Licenses,
    pub(super) bans: Bans,
    pub(super) sources: Sources,
    #[expect(dead_code, reason = "cargo-deny reads it")]
    advisories: Advisories,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Graph {
    /// Packages for other targets do not count.
    pub(super) targets: Vec<String>,
    #[serde(rename = "all-features")]
    _all_features: True,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Licenses {
    /// SPDX identifiers, `ID WITH EXCEPTION` where there is one.
    pub(super) allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bans {
    #[serde(rename = "multiple-versions")]
    _multiple_versions: Deny,
    pub(super) skip: Vec<Spec>,
    pub(super) deny: Vec<Spec>,
    pub(super) features: Vec<Features>,
}

/// A crate, with the start of a version after `@` where not all are meant, and the reason for the rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    #[serde(rename = "crate")]
    pub(super) krate: String,
    pub(super) reason: String,
}

impl Spec {
    pub(super) fn name(&self) -> &str {
        self.krate.split_once('@').map_or(&self.krate, |(name, _)| name)
    }

    pub(super) fn matches(&self, name: &str, version: &str) -> bool {
        let wanted = self.krate.split_once('@').map(|(_, version)| version);
        let starts =
            |wanted| version.strip_prefix(wanted).is_some_and(|rest: &str| rest.is_empty() || rest.starts_with('.'));
        self.name() == name && wanted.is_none_or(starts)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Features {
    #[serde(rename = "crate")]
    pub(super) krate: String,
    pub(super) deny: Vec<String>,
    pub(super) reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Sources {
    #[serde(rename = "unknown-registry")]
    _unknown_registry: Deny,
    #[serde(rename = "unknown-git")]
    _unknown_git: Deny,
    pub(super) allow_registry: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advisories {
    #[serde(rename = "ignore")]
    _ignore: Vec<String>,
}

/// The only answer that we know: `deny`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Deny {
    Deny,
}

/// The only answer that we know: `true`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "bool")]
struct True;

impl TryFrom<bool> for True {
    type Error = &'static str;

    fn try_from(value: bool) -> Result<Self, Self::Error> {
        if value { Ok(Self) } else { Err("expected true: `cargo xtask deny` always looks at all features") }
    }
}

//! Which steps there are.
//!
//! All combinations of features are checked; the tests run again only for crates whose code is another without a feature:
//! where `libdeflate` is off, the crates of [`OTHER_CODE`] inflate and compress with zlib-rs alone. Every other feature
//! adds modules and changes nothing that is there without it.

use anyhow::{Context as _, Result};

use super::{Lane, Stage, Step};
use crate::workspace::{Metadata, Package, cargo_program};

/// Crates whose code differs with their features off.
const OTHER_CODE: [&str; 2] = ["dunnage-estargz", "dunnage-statefile"];

/// Makes the steps.
pub(super) struct Steps {
    metadata: Metadata,
    /// This program.
    own: String,
    /// Whether a peer or an input that cannot be had is a failure.
    strict: bool,
}

impl Steps {
    pub(super) fn load(strict: bool) -> Result<Self> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let own = own.into_os_string().into_string().ok().context("the path of this program is not UTF-8")?;
        Ok(Self { metadata: Metadata::load()?, own, strict })
    }

    /// The steps of `ci`.
    pub(super) fn sampled(&self) -> Vec<Stage> {
        let mut checks = self.checks();
        checks.push(self.package(&["--no-verify"]));
        let mut beside = self.files();
        beside.push(self.conformance(&["--sample", "images", "archives", "statefile", "estargz", "storage"]));
        let mut timed = self.tests();
        timed.push(self.conformance(&["--sample", "mount"]));
        vec![vec![checks, beside], vec![timed]]
    }

    /// The steps of `deep`.
    pub(super) fn whole(&self) -> Vec<Stage> {
        let lanes = [self.checks(), vec![self.package(&[])], self.files(), self.tests()];
        let mut all: Lane = lanes.into_iter().flatten().collect();
        all.push(self.cargo("tests that ci leaves out", &[TESTS, &["--", "--ignored"]].concat()));
        all.push(self.conformance(&[]));
        all.push(self.own("mutate", &["mutate"]));
        all.push(self.own("fuzz", &["fuzz", "--seconds", "60"]));
        all.push(self.own("benches, one round", &["bench", "--rounds", "1", "--pipe-gib", "1"]));
        all.push(self.readme_for_real());
        vec![vec![all]]
    }

    /// Asks the compiler and rustdoc about all combinations of features, and builds all tests.
    fn checks(&self) -> Lane {
        let mut steps = vec![
            self.cargo("format", &["fmt", "--all", "--check"]),
            self.cargo("lints", &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]),
        ];
        for package in self.metadata.members().filter(|package| package.publish.is_none()) {
            steps.extend(combinations(package).iter().map(|features| self.check(&package.name, features)));
        }
        steps.push(self.cargo("tests, built", &[TESTS, &["--no-run"]].concat()));
        steps.push(self.cargo("tests with features off, built", &[&self.tests_without(), &["--no-run"][..]].concat()));
        let mut doc = self.cargo("documentation", &["doc", "--workspace", "--no-deps", "--quiet"]);
        doc.env.push(("RUSTDOCFLAGS", "-D warnings".to_owned()));
        steps.push(doc);
        steps.push(self.own("public items", &["api", "--check"]));
        steps
    }

    /// Compares committed files with freshly made ones, and checks the rules of the house.
    fn files(&self) -> Lane {
        vec![
            self.own("arrows", &["arrows"]),
            self.own("licences and versions", &["deny"]),
            self.own("fixtures", &["fixtures", "--check"]),
        ]
    }

    fn tests(&self) -> Lane {
        vec![
            self.cargo("tests", &[TESTS, &["--no-fail-fast"]].concat()),
            self.cargo("tests with features off", &[&self.tests_without(), &["--no-fail-fast"][..]].concat()),
            self.own("picture", &["picture", "--check"]),
        ]
    }

    fn tests_without(&self) -> Vec<&'static str> {
        let packages = OTHER_CODE.into_iter().flat_map(|name| ["--package", name]);
        ["test", "--quiet", "--no-default-features"].into_iter().chain(packages).collect()
    }

    fn check(&self, package: &str, features: &str) -> Step {
        let name = format!("{package} with {}", if features.is_empty() { "no features" } else { features });
        let args = ["check", "--quiet", "--package", package, "--all-targets", "--no-default-features"];
        self.cargo(&name, &[&args[..], &["--features", features]].concat())
    }

    /// Packs every crate that is published and, without `--no-verify`, builds each from its package: four minutes of a
    /// processor, because packages are built with another profile than the workspace.
    fn package(&self, how: &[&'static str]) -> Step {
        let kept = self.metadata.members().filter(|package| package.publish.is_some());
        let excluded = kept.flat_map(|package| ["--exclude", package.name.as_str()]);
        let args: Vec<&str> = ["package", "--workspace", "--allow-dirty", "--quiet"]
            .into_iter()
            .chain(how.iter().copied())
            .chain(excluded)
            .collect();
        self.cargo("package", &args)
    }

    fn conformance(&self, args: &[&str]) -> Step {
        let name = match args {
            [_, "mount"] => "conformance of mounts",
            _ => "conformance",
        };
        let strict: &[&str] = if self.strict { &["--no-skips"] } else { &[] };
        self.own(name, &[&["conformance", "--peers"], strict, args].concat())
    }

    /// README's commands as a person runs them: installed with `cargo install`, and with the toolchain's own libraries.
    fn readme_for_real(&self) -> Step {
        let args = ["test", "--workspace", "--test", "readme", "--", "--nocapture"];
        let mut step = self.cargo("README for real", &args);
        step.env.push(("DUNNAGE_README", "real".to_owned()));
        step
    }

    fn cargo(&self, name: &str, args: &[&str]) -> Step {
        step(name, &cargo_program(), args)
    }

    fn own(&self, name: &str, args: &[&str]) -> Step {
        step(name, &self.own, args)
    }
}

/// All tests. Quiet: a dot a test, and the names of those that fail.
const TESTS: &[&str] = &["test", "--quiet", "--workspace"];

fn step(name: &str, program: &str, args: &[&str]) -> Step {
    let command = [program].iter().chain(args).map(|part| (*part).to_owned()).collect();
    Step { name: name.to_owned(), command, env: Vec::new() }
}

/// Every choice of a crate's features but all of them at once, which the lints look at. A crate without features is checked
/// too: alone, so that it compiles without the features that others turn on.
fn combinations(package: &Package) -> Vec<String> {
    let features: Vec<&str> =
        package.features.keys().map(String::as_str).filter(|feature| *feature != "default").collect();
    let all = 1_usize << features.len();
    let chosen = |choice: usize| -> String {
        let on = features.iter().enumerate().filter(|(at, _)| choice & (1 << at) != 0);
        on.map(|(_, feature)| *feature).collect::<Vec<_>>().join(",")
    };
    (0..all.saturating_sub(1).max(1)).map(chosen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(features: &[&str]) -> Package {
        let features = features.iter().map(|name| ((*name).to_owned(), Vec::new())).collect();
        Package { features, ..Package::default() }
    }

    #[test]
    fn all_choices_of_features_are_checked_but_the_one_that_the_lints_look_at() {
        assert_eq!(combinations(&package(&[])), [""]);
        assert_eq!(combinations(&package(&["default", "fuse"])), [""]);
        assert_eq!(combinations(&package(&["a", "b"])), ["", "a", "b"]);
        assert_eq!(combinations(&package(&["a", "b", "c"])), ["", "a", "b", "a,b", "c", "a,c", "b,c"]);
    }

    #[test]
    fn what_ci_runs_deep_runs_too_and_samples_nothing() {
        let steps = Steps { metadata: Metadata::default(), own: "xtask".to_owned(), strict: true };
        let commands = |stages: Vec<Stage>| -> Vec<Vec<String>> {
            stages.into_iter().flatten().flatten().map(|step| step.command).collect()
        };
        let (sampled, whole) = (commands(steps.sampled()), commands(steps.whole()));
        assert!(whole.iter().flatten().all(|part| part != "--sample"));
        let left_out: Vec<_> = sampled.iter().filter(|command| !whole.contains(command)).collect();
        assert!(
            left_out.iter().all(|command| ["conformance", "package"].contains(&command[1].as_str())),
            "{left_out:?}"
        );
        assert!(whole.iter().flatten().all(|part| part != "--no-verify"));
        assert!(whole.iter().any(|command| command[1..] == ["conformance", "--peers", "--no-skips"]));
    }
}

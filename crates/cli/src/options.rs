//! Options that not everything can use, and the refusal of those that would have no effect.
//!
//! A kind of source, a target and a sort of destination each list the options that they alone can use. An option that is in
//! none of the lists works everywhere.

use anyhow::Result;

use crate::failure::usage;

/// The options that were given on the command line, by their long names without dashes. Defaults are not among them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given(pub(crate) Vec<String>);

impl Given {
    pub(crate) fn has(&self, option: &str) -> bool {
        self.0.iter().any(|given| given == option)
    }
}

/// The options that one member of a group can use.
#[derive(Debug)]
pub(crate) struct Uses {
    /// The member, as messages call it: a plural.
    pub(crate) name: &'static str,
    pub(crate) options: &'static [&'static str],
}

/// Refuses options that some member of `group` can use and none of `chosen`. `is` describes the chosen ones.
///
/// # Errors
///
/// A wrong call that names the option, the members that can use it, and the chosen ones.
pub(crate) fn check<'u>(
    given: &Given,
    group: impl Iterator<Item = &'u Uses> + Clone,
    chosen: &[&Uses],
    is: impl FnOnce() -> String,
) -> Result<()> {
    for option in &given.0 {
        let can_use = |uses: &&Uses| uses.options.contains(&option.as_str());
        let mut names: Vec<&str> = Vec::new();
        for uses in group.clone().filter(can_use) {
            if !names.contains(&uses.name) {
                names.push(uses.name);
            }
        }
        if names.is_empty() || chosen.iter().any(can_use) {
            continue;
        }
        return Err(usage(
            format!("--{option} is for {}, and {}", list(&names), is()),
            format!("leave --{option} out"),
        ));
    }
    Ok(())
}

/// `a`, `a and b`, `a, b and c`.
fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_refused_where_it_has_no_effect() {
        let group = [
            Uses { name: "apples", options: &["peel", "core"] },
            Uses { name: "pears", options: &["core"] },
            Uses { name: "nuts", options: &["crack"] },
        ];
        for (given, chosen, wanted) in [
            ("peel", &[0][..], ""),
            ("elsewhere", &[2], ""),
            ("core", &[1], ""),
            ("peel", &[1], "--peel is for apples, and it is a fruit"),
            ("core", &[2], "--core is for apples and pears, and it is a fruit"),
            ("crack", &[0, 1], "--crack is for nuts, and it is a fruit"),
            ("crack", &[0, 2], ""),
        ] {
            let chosen: Vec<&Uses> = chosen.iter().map(|at| &group[*at]).collect();
            let checked = check(&Given(vec![given.to_owned()]), group.iter(), &chosen, || "it is a fruit".to_owned());
            assert_eq!(checked.err().map(|error| error.to_string()).unwrap_or_default(), wanted, "{given}");
        }
    }
}

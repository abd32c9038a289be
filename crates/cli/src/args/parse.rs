//! From words to [`Args`], and errors of the grammar in one line.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
};

use anyhow::Result;
use clap::{ArgMatches, FromArgMatches, error::ErrorKind, parser::ValueSource};

use super::{Args, grammar};
use crate::{exit::Exit, failure::usage, options::Given, print::Out};

/// Reads the words of the command line. An `Err` holds the code to end with: help, a version or an error was printed.
pub(crate) fn parse(words: Vec<OsString>) -> Result<(Args, Given), Exit> {
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let mut grammar = grammar();
    let read = grammar.try_get_matches_from_mut(words).and_then(|matches| {
        let given = given(&grammar, &matches);
        Args::from_arg_matches(&matches).map(|args| (args, given))
    });
    read.map_err(|error| {
        let shown = match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => help(&error).map(|()| Exit::DONE),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !json => {
                // Help that standard error cannot take is lost: there is no other place for it.
                let _ = write!(io::stderr().lock(), "{}", error.render());
                Ok(Exit::USAGE)
            }
            _ => Err(wrong(&error)),
        };
        shown.unwrap_or_else(|error| crate::exit::report(json, &error))
    })
}

/// The long names of the options that were given, those of the subcommand included.
fn given(grammar: &clap::Command, matches: &ArgMatches) -> Given {
    let mut given = Given::default();
    let (mut command, mut matches) = (Some(grammar), matches);
    while let Some(now) = command {
        for argument in now.get_arguments() {
            let id = argument.get_id().as_str();
            let from = matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id));
            if let (Some(ValueSource::CommandLine), Some(long)) = (from, argument.get_long()) {
                given.0.push(long.to_owned());
            }
        }
        command = match matches.subcommand() {
            Some((name, inner)) => {
                matches = inner;
                now.find_subcommand(name)
            }
            None => None,
        };
    }
    given
}

/// Help or a version, to standard output.
fn help(error: &clap::Error) -> Result<()> {
    let mut out = Out::stdout()?;
    let text = error.render();
    if io::stdout().is_terminal() {
        write!(out, "{}", text.ansi())?
    } else {
        write!(out, "{text}")?
    }
    Ok(out.finish()?)
}

/// An error of the grammar as one of ours: the message in one line, and the help that explains the call.
fn wrong(error: &clap::Error) -> anyhow::Error {
    let (message, command) = one_line(&error.render().to_string());
    usage(message, format!("`{command} --help` explains the call"))
}

/// The message of the parser in one line, and the command that it is about.
fn one_line(text: &str) -> (String, String) {
    let mut command = "dunnage".to_owned();
    let mut parts: Vec<String> = Vec::new();
    for part in text.trim().split("\n\n") {
        if let Some(call) = part.trim().strip_prefix("Usage:") {
            let words = call.split_whitespace().take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
            command = words.collect::<Vec<_>>().join(" ");
        } else if !part.starts_with("For more information") {
            parts.push(part.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    let message = parts.join("; ");
    (message.strip_prefix("error: ").unwrap_or(&message).to_owned(), command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_parser_are_one_line() {
        for (words, message, command) in [
            ("ls", "the following required arguments were not provided: <SOURCE>", "dunnage ls"),
            ("state cat x --nothing", "unexpected argument '--nothing' found", "dunnage state cat"),
            ("ls a --progress loud", "invalid value 'loud' for '--progress <HOW>'", "dunnage"),
            ("nonsense", "unrecognized subcommand 'nonsense'", "dunnage"),
        ] {
            let words = ["dunnage"].into_iter().chain(words.split(' '));
            let error = grammar().try_get_matches_from(words).unwrap_err();
            let got = one_line(&error.render().to_string());
            assert!(got.0.starts_with(message) && !got.0.contains('\n'), "{got:?}");
            assert_eq!(got.1, command, "{got:?}");
        }
    }

    #[test]
    fn only_options_of_the_command_line_are_given() {
        let mut grammar = grammar();
        let words = ["dunnage", "convert", "a", "b", "--to", "estargz", "--level", "3", "-q", "--lossless"];
        let matches = grammar.try_get_matches_from_mut(words).unwrap();
        let mut given = given(&grammar, &matches).0;
        given.sort();
        given.dedup();
        assert_eq!(given, ["level", "lossless", "quiet", "to"]);
    }
}

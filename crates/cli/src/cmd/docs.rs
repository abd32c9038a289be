//! `dunnage completions` and `dunnage man`: both from the definitions that arguments are read with.

use std::{
    io::{self, Write},
    path::Path,
};

use anyhow::{Context as _, Result};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{
    args::{EXIT_CODES, examples, grammar},
    exit::Exit,
    print::Product,
};

pub(super) fn completions(shell: Shell) -> Result<Exit> {
    // The generator panics if its sink fails, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut grammar(), "dunnage", &mut script);
    Product::stdout()?.write_all(commands_first(&String::from_utf8_lossy(&script)).as_bytes())?;
    Ok(Exit::DONE)
}

/// The script with commands before options, where it lists both: in the words of one `opts=`, or one on a line.
fn commands_first(script: &str) -> String {
    let mut ordered: Vec<String> = Vec::new();
    let mut options: Vec<String> = Vec::new();
    for line in script.lines() {
        if let Some((before, words)) = line.split_once("opts=\"").filter(|(before, _)| before.trim().is_empty()) {
            let words = words.trim_end_matches('"').split(' ');
            let (dashed, plain): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with('-'));
            ordered.push(format!("{before}opts=\"{}\"", [plain, dashed].concat().join(" ")));
            continue;
        }
        let text = line.trim_start();
        let is_candidate = text.starts_with("cand ") || text.starts_with("[CompletionResult]::new(");
        if is_candidate && (text.starts_with("cand -") || text.starts_with("[CompletionResult]::new('-")) {
            options.push(line.to_owned());
            continue;
        }
        if !is_candidate {
            ordered.append(&mut options);
        }
        ordered.push(line.to_owned());
    }
    ordered.append(&mut options);
    ordered.join("\n") + "\n"
}

pub(super) fn man(dir: &Path) -> Result<Exit> {
    let failed = || format!("cannot write man pages into `{}`", dir.display());
    std::fs::create_dir_all(dir).with_context(failed)?;
    let mut grammar = grammar().disable_help_subcommand(true);
    grammar.build();
    pages(&grammar, "", dir).with_context(failed)?;
    Ok(Exit::DONE)
}

/// The pages of a command and of those below it; `path` is its words after `dunnage`.
fn pages(command: &clap::Command, path: &str, dir: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        let name = below.get_name();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path} {name}") };
        pages(below, &path, dir)?;
    }
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    let usage = command.clone().render_usage().to_string();
    write!(page, ".SH SYNOPSIS\n{}\n", roff(usage.trim().trim_start_matches("Usage:").trim()))?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    writeln!(page, ".SH EXAMPLES")?;
    for (purpose, line) in examples(path) {
        write!(page, ".TP\n{}\n.B {}\n", roff(purpose), roff(line))?;
    }
    writeln!(page, ".SH \"EXIT STATUS\"")?;
    for line in EXIT_CODES.lines().skip(1) {
        let (code, meaning) = line.trim().split_once("  ").unwrap_or((line, ""));
        write!(page, ".TP\n.B {}\n{}\n", roff(code), roff(meaning))?;
    }
    man.render_version_section(&mut page)?;
    std::fs::write(dir.join(man.get_filename()), page)
}

/// A line of text as roff writes it.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_before_options() {
        for (script, wanted) in [
            ("  opts=\"-h --json inspect ls\"\n", "  opts=\"inspect ls -h --json\"\n"),
            ("a\n cand -h 'x'\n cand ls 'y'\n}\n", "a\n cand ls 'y'\n cand -h 'x'\n}\n"),
            (
                "[CompletionResult]::new('--a')\n[CompletionResult]::new('b')\nend\n",
                "[CompletionResult]::new('b')\n[CompletionResult]::new('--a')\nend\n",
            ),
            ("nothing\n", "nothing\n"),
        ] {
            assert_eq!(commands_first(script), wanted);
        }
    }
}

//! Rules for comments and documents: they cite nothing that a reader of the repository does not have, and two turns of
//! phrase that hide their subject grow no more.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::workspace::root;

/// Documents outside of the repository, by the words that comments cited them with.
const ELSEWHERE: &[&str] = &["specs/", "reliability", "architecture rule", "../shared", "style.md", "house.md"];

/// A turn of phrase that leaves the reader to guess the thing that is meant, and the most lines that may have it.
///
/// Lower a ceiling when the count goes down; `cargo xtask arrows` says when that is possible.
struct Turn {
    name: &'static str,
    /// Words that stand one after the other; each place may be taken by any of several.
    words: &'static [&'static [&'static str]],
    ceiling: usize,
}

const TURNS: &[Turn] = &[
    Turn { name: "who", words: &[&["who", "whoever"]], ceiling: 2 },
    Turn { name: "what is/has/comes", words: &[&["what"], &["is", "has", "comes"]], ceiling: 3 },
];

/// Directories that hold nothing of ours.
const SKIPPED: &[&str] = &["target", ".git"];

/// Everything that is wrong with the prose of the repository.
pub(super) fn check() -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for path in files(&root())? {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let shown = path.strip_prefix(root()).unwrap_or(&path).to_path_buf();
        lines.extend(prose(&shown, &text));
    }
    let mut wrong = citations(&lines);
    wrong.extend(TURNS.iter().filter_map(|turn| over(turn, &lines)));
    Ok(wrong)
}

/// A line of prose and where it stands.
#[derive(Debug)]
struct Line {
    place: String,
    text: String,
}

/// The comments of a source, or all of a document.
fn prose(path: &Path, text: &str) -> Vec<Line> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let comment = |line: &str| -> Option<String> {
        match extension {
            "md" => Some(line.to_owned()),
            "toml" => line.split_once('#').map(|(_, comment)| comment.to_owned()),
            // Two slashes inside of a word belong to an address or a text.
            _ => {
                let at = line.match_indices("//").map(|(at, _)| at);
                let starts = |at: &usize| {
                    let before = line.get(..*at).unwrap_or_default();
                    before.is_empty() || before.ends_with(char::is_whitespace)
                };
                at.into_iter().find(starts).and_then(|at| line.get(at..)).map(str::to_owned)
            }
        }
    };
    let lines = text.lines().enumerate().filter_map(|(number, line)| Some((number + 1, comment(line)?)));
    lines.map(|(number, text)| Line { place: format!("{}:{number}", path.display()), text }).collect()
}

fn citations(lines: &[Line]) -> Vec<String> {
    let cited = |line: &Line| ELSEWHERE.iter().find(|name| line.text.to_lowercase().contains(**name)).copied();
    let cited = lines.iter().filter_map(|line| Some((line, cited(line)?)));
    cited.map(|(line, name)| format!("{}: cites `{name}`, which is not in the repository", line.place)).collect()
}

/// A sentence if more lines have the turn than may, or fewer than its ceiling says.
fn over(turn: &Turn, lines: &[Line]) -> Option<String> {
    let having: Vec<&Line> = lines.iter().filter(|line| has(turn, &line.text)).collect();
    let (count, ceiling, name) = (having.len(), turn.ceiling, turn.name);
    if count > ceiling {
        let last: Vec<&str> = having.iter().rev().take(5).map(|line| line.place.as_str()).collect();
        return Some(format!(
            "\"{name}\" in {count} lines of prose, expected at most {ceiling}: {}, ...",
            last.join(", ")
        ));
    }
    if count < ceiling {
        println!("arrows: \"{name}\" in {count} lines of prose: its ceiling can go down from {ceiling}");
    }
    None
}

fn has(turn: &Turn, text: &str) -> bool {
    let lower = text.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    let mut windows = words.windows(turn.words.len());
    windows.any(|window| window.iter().zip(turn.words).all(|(word, any)| any.contains(word)))
}

/// All sources and documents below a directory.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut left) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list `{}`", dir.display()))? {
            let path = entry?.path();
            let is_skipped = path.file_name().is_some_and(|name| SKIPPED.iter().any(|skipped| name == *skipped));
            if path.is_dir() && !path.is_symlink() {
                left.extend((!is_skipped).then_some(path));
            } else if path
                .extension()
                .is_some_and(|found| ["rs", "md", "toml", "go"].iter().any(|wanted| found == *wanted))
            {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<Line> {
        prose(Path::new(path), text)
    }

    #[test]
    fn prose_is_comments_in_sources_and_everything_in_documents() {
        let texts =
            |path: &str, text: &str| -> Vec<String> { lines(path, text).into_iter().map(|line| line.text).collect() };
        assert_eq!(texts("a.rs", "let a = 1; // why\nlet b = \"https://x\";\n/// doc\n"), ["// why", "/// doc"]);
        assert_eq!(texts("a.toml", "a = 1 # why\nb = 2\n"), [" why"]);
        assert_eq!(texts("a.md", "one\ntwo\n"), ["one", "two"]);
    }

    #[test]
    fn a_citation_from_elsewhere_is_named_with_its_line() {
        let found = citations(&lines("a.rs", "//! First.\n//! See Reliability, section 3.\nlet a = \"specs/\";\n"));
        assert_eq!(found, ["a.rs:2: cites `reliability`, which is not in the repository"]);
    }

    #[test]
    fn a_turn_is_found_by_its_words_and_refused_over_its_ceiling() {
        let turn = |ceiling| Turn { name: "what is", words: &[&["what"], &["is", "has"]], ceiling };
        let two = lines("a.rs", "// What is there.\n// It is what it is.\n// Somewhat is left.\n// what has been\n");
        assert!(over(&turn(2), &two).is_none());
        assert_eq!(
            over(&turn(1), &two).unwrap(),
            "\"what is\" in 2 lines of prose, expected at most 1: a.rs:4, a.rs:1, ..."
        );
    }
}

//! Examples of every command, for `--help` and for the man pages.

/// The examples of a command: its words after `dunnage`, and for each example a purpose and the whole line.
type Examples = (&'static str, &'static [(&'static str, &'static str)]);

/// All examples. A line ends for the grammar where the shell takes over: at `>`, `<` or `|`.
pub(crate) const EXAMPLES: &[Examples] = &[
    (
        "",
        &[
            ("Make a layer of a directory", "dunnage convert ./rootfs layer.esgz --to estargz"),
            ("See what it is, and that it is sound", "dunnage verify layer.esgz --deep"),
            ("Look into it with any program", "dunnage mount layer.esgz /mnt --daemon"),
        ],
    ),
    (
        "inspect",
        &[
            ("A layer in ten lines", "dunnage inspect layer.esgz"),
            ("A page with a picture of its bytes", "dunnage inspect layer.esgz --report layer.html --digest"),
            ("The same for every layer of an image", "dunnage inspect oci:images:v1 --report image.html"),
        ],
    ),
    (
        "ls",
        &[
            ("As ls -lR does", "dunnage ls layer.esgz -lR"),
            ("One directory of an image", "dunnage ls oci:images:v1 /etc --platform linux/arm64"),
        ],
    ),
    ("cat", &[("One file out of a layer", "dunnage cat layer.esgz etc/os-release")]),
    (
        "extract",
        &[
            ("Everything, owned by the caller", "dunnage extract layer.esgz out"),
            ("As root, with owners and devices", "dunnage extract oci:images:v1 rootfs --owners --devices --set-id"),
        ],
    ),
    ("diff", &[("Whether a layer still is what a directory was", "dunnage diff layer.esgz rootfs --ignore-owner")]),
    (
        "verify",
        &[
            ("Every chunk, and the tar against its table of contents", "dunnage verify layer.esgz --deep"),
            ("Every blob of an image", "dunnage verify oci:images:v1"),
            ("A state file with its key", "dunnage verify checkpoint.img --key-file state.key"),
        ],
    ),
    (
        "convert",
        &[
            ("A directory into a layer", "dunnage convert ./rootfs layer.esgz --to estargz"),
            ("A tar out of a pipe", "dunnage convert - layer.zst --to zstd-chunked < rootfs.tar"),
            ("All layers of an image", "dunnage convert oci:images:v1 oci:images:v1-lazy --to estargz"),
        ],
    ),
    (
        "copy",
        &[
            ("Out of an archive of docker save", "dunnage copy docker-archive:saved.tar oci:images:v1"),
            ("Into one for docker load", "dunnage copy oci:images:v1 docker-archive:v1.tar:name:v1"),
        ],
    ),
    ("state", &[("What a state file is", "dunnage state show checkpoint.img")]),
    ("state show", &[("Dialect, compression, metadata", "dunnage state show checkpoint.img --key-file state.key")]),
    ("state verify", &[("Every MAC and every chunk", "dunnage state verify checkpoint.img --key-file state.key")]),
    ("state cat", &[("The payload", "dunnage state cat checkpoint.img > payload")]),
    ("state pack", &[("A state file of a payload", "dunnage state pack payload checkpoint.img --key-file state.key")]),
    (
        "state convert",
        &[("The same payload for an older release", "dunnage state convert new.img old.img --dialect c")],
    ),
    ("state rekey", &[("Another key", "dunnage state rekey a.img b.img --key-file old.key --new-key-file new.key")]),
    #[cfg(feature = "fuse")]
    (
        "mount",
        &[
            ("In the background", "dunnage mount layer.esgz /mnt --daemon"),
            ("An image, layers stacked", "dunnage mount oci:images:v1 /mnt --platform linux/amd64"),
        ],
    ),
    #[cfg(feature = "fuse")]
    ("umount", &[("Take it off", "dunnage umount /mnt")]),
    ("completions", &[("For the running shell", "dunnage completions bash > dunnage.bash")]),
    ("man", &[("All man pages", "dunnage man ./man1")]),
];

/// The examples of a command.
pub(crate) fn examples(command: &str) -> &'static [(&'static str, &'static str)] {
    EXAMPLES.iter().find(|(name, _)| *name == command).map_or(&[], |(_, examples)| examples)
}

/// `grammar` with the examples after the long help of each command; `path` is the command's words after `dunnage`.
pub(super) fn with_examples(grammar: clap::Command, path: &str) -> clap::Command {
    let names: Vec<String> = grammar.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let mut grammar = grammar;
    for name in names {
        let below = if path.is_empty() { name.clone() } else { format!("{path} {name}") };
        grammar = grammar.mut_subcommand(&name, |command| with_examples(command, &below));
    }
    let examples = examples(path);
    if examples.is_empty() {
        return grammar;
    }
    let mut text = String::from("Examples:");
    for (purpose, line) in examples {
        text.push_str(&format!("\n  {purpose}:\n    {line}"));
    }
    if let Some(after) = grammar.get_after_long_help() {
        text = format!("{text}\n\n{after}");
    }
    grammar.after_long_help(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Args;

    fn paths(command: &clap::Command, path: &str, all: &mut Vec<String>) {
        all.push(path.to_owned());
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            let name = below.get_name();
            paths(below, &if path.is_empty() { name.to_owned() } else { format!("{path} {name}") }, all);
        }
    }

    #[test]
    fn every_command_has_examples_that_the_grammar_reads() {
        let mut all = Vec::new();
        paths(&Args::command(), "", &mut all);
        for path in all {
            assert!(!examples(&path).is_empty(), "`{path}` has no example");
        }
        for (path, examples) in EXAMPLES {
            for (_, line) in *examples {
                assert!(line.starts_with(format!("dunnage {path}").trim_end()), "{line}");
                let words = line.split_whitespace().take_while(|word| !["<", ">", "|"].contains(word));
                let read = Args::command().try_get_matches_from(words);
                assert!(read.is_ok(), "{line}: {:?}", read.err());
            }
        }
    }
}

//! Where output goes and how failures are told: text for people, one JSON value a line for programs.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};

use crate::render;

/// Writes what a command has to say to standard output.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Whether JSON was asked for.
    pub json: bool,
}

impl Output {
    /// Prints a line of text, or the value if JSON was asked for.
    pub fn say(&self, text: impl Display, value: Value) -> io::Result<()> {
        if self.json { self.line(value) } else { self.line(text) }
    }

    /// Prints a line.
    pub fn line(&self, line: impl Display) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }

    /// Tells whether a person is likely to watch: progress bars and hints make sense.
    pub fn is_watched(&self) -> bool {
        !self.json && io::stdout().is_terminal() && io::stderr().is_terminal()
    }
}

/// Tells a person something beside the output.
pub fn note(sentence: impl Display) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "note: {sentence}");
}

/// Prints why the program fails, in one sentence.
pub fn failure(error: &anyhow::Error, as_json: bool) {
    let sentence = Sentence(error).to_string();
    let line = if as_json { json!({ "error": sentence }).to_string() } else { format!("error: {sentence}") };
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints to a program what is wrong with its arguments: the sentence, and how the command is used.
pub fn misuse(error: &clap::Error) {
    let text = error.render().to_string();
    let (sentence, more) = text.split_once("\n\n").unwrap_or((&text, ""));
    let sentence = sentence.strip_prefix("error: ").unwrap_or(sentence);
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "{}", json!({ "error": sentence.trim_end(), "usage": more.trim_end() }));
}

/// Tells whether the reader of standard output went away, as `head` does.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let of_kind = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(of_kind))
}

/// An error with its causes; what an error says of its cause is not said twice.
pub struct Sentence<'e>(pub &'e anyhow::Error);

impl Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sentence = String::new();
        for cause in self.0.chain() {
            let cause = cause.to_string();
            // SQLite's codes stand below the message they belong to, and say less.
            if sentence.contains(&cause) || (!sentence.is_empty() && cause.starts_with("Error code ")) {
                continue;
            }
            if !sentence.is_empty() {
                sentence.push_str(": ");
            }
            sentence.push_str(&cause);
        }
        // What a peer wrote may be part of it.
        f.write_str(&render::visible(&sentence))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn causes_are_said_once_and_on_one_line() {
        let error = Err::<(), _>(anyhow!("disk full")).context("a.db cannot be opened: disk full").context("no demo\n");
        assert_eq!(Sentence(&error.unwrap_err()).to_string(), "no demo\\n: a.db cannot be opened: disk full");
    }

    #[test]
    fn broken_pipe_is_found_below_other_errors() {
        let error = Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe)).context("rows").unwrap_err();
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&anyhow!("other")));
    }
}

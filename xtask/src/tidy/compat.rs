//! Rows of docs/COMPAT.md name tests that there are.
//!
//! A row's last cell, under the heading `test`, names a file between backticks, or the end of its path, and the tests in it that show what
//! the row says.

use std::collections::BTreeSet;

/// The document that is judged.
pub const DOCUMENT: &str = "docs/COMPAT.md";

/// Returns the rows that name no test, or one that is not there; `read` gives the text of a file.
pub fn findings(document: &str, paths: &BTreeSet<String>, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut findings = Vec::new();
    let mut is_judged = false;
    for (number, line) in (1..).zip(document.lines()) {
        let Some(cell) = last_cell(line) else {
            is_judged = false;
            continue;
        };
        match cell {
            "test" => is_judged = true,
            _ if !is_judged || cell.contains("---") => {}
            _ => findings.extend(judge(cell, paths, &read).map(|what| format!("{DOCUMENT}:{number}: {what}"))),
        }
    }
    findings
}

/// Returns what is wrong with a cell, if anything is.
fn judge(cell: &str, paths: &BTreeSet<String>, read: impl Fn(&str) -> Option<String>) -> Option<String> {
    let (mut texts, mut has_file) = (String::new(), false);
    for span in spans(cell) {
        let files = files_of(span, paths);
        if !files.is_empty() {
            texts = files.iter().filter_map(|path| read(path)).collect::<Vec<_>>().concat().replace("\\'", "'");
            has_file = true;
        } else if !span.contains(' ') && (span.contains('/') || span.ends_with(".rs") || span.ends_with(".js")) {
            return Some(format!("there is no file `{span}`"));
        } else if !has_file {
            return Some(format!("name the file of the test `{span}` before it"));
        } else if !has_test(&texts, span) {
            return Some(format!("the file before it has no test `{span}`"));
        }
    }
    (!has_file).then(|| "the row names no file with a test".to_owned())
}

/// The files that a name stands for: one, by its path or the end of it, or those of a folder.
fn files_of<'p>(name: &str, paths: &'p BTreeSet<String>) -> Vec<&'p String> {
    let (end, folder) = (format!("/{name}"), format!("{name}/"));
    paths.iter().filter(|path| *path == name || path.ends_with(&end) || path.starts_with(&folder)).collect()
}

fn has_test(text: &str, name: &str) -> bool {
    text.contains(&format!("fn {name}("))
        || ["'", "`", "\""].iter().any(|quote| text.contains(&[quote, name, quote].concat()))
}

/// The last cell of a table's row.
fn last_cell(line: &str) -> Option<&str> {
    let row = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(row.rsplit_once(" |").map_or(row, |(_, cell)| cell).trim())
}

/// What stands between backticks, of which there may be two where the text holds one.
fn spans(cell: &str) -> Vec<&str> {
    let mut spans = Vec::new();
    let mut rest = cell;
    while let Some(start) = rest.find('`') {
        let ticks: &str = if rest[start..].starts_with("``") { "``" } else { "`" };
        let after = &rest[start + ticks.len()..];
        let Some(end) = after.find(ticks) else { break };
        spans.push(after[..end].trim());
        rest = &after[end + ticks.len()..];
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rows: &str) -> Vec<String> {
        let paths = ["docs/COMPAT.md", "a/test/1.b.test.js", "core/c.rs"].map(str::to_owned);
        let read = |path: &str| match path {
            "a/test/1.b.test.js" => Some("it('is b', f); it('is ${x} of `y`', f); it('is b\\'s', f)".to_owned()),
            "core/c.rs" => Some("fn c_is_kept() {}".to_owned()),
            _ => None,
        };
        findings(
            &format!("| what | test |\n|---|---|\n{rows}\n\ntext\n| other | word |\n|---|---|\n| a | b |\n"),
            &BTreeSet::from(paths),
            read,
        )
    }

    #[test]
    fn tests_that_there_are_may_be_named() {
        assert!(check("| a | `1.b.test.js` `is b` `is b's`; in `core/c.rs` `c_is_kept` |").is_empty());
        assert!(check("| a | `` 1.b.test.js `` `` is ${x} of `y` `` |\n| `b | c` | `core` |").is_empty());
    }

    #[test]
    fn what_is_not_there_is_found_with_its_line() {
        assert_eq!(check("| a | `1.b.test.js` `is c` |"), ["docs/COMPAT.md:3: the file before it has no test `is c`"]);
        assert_eq!(check("| a | `2.b.test.js` |"), ["docs/COMPAT.md:3: there is no file `2.b.test.js`"]);
        assert_eq!(check("| a | `core/c.rs` `c_is` |").len(), 1);
    }

    #[test]
    fn every_row_names_a_file() {
        assert_eq!(check("| a | `core/c.rs` |\n| b | - |"), ["docs/COMPAT.md:4: the row names no file with a test"]);
        assert_eq!(check("| a | the same |").len(), 1);
        assert_eq!(check("| a | `c_is_kept` |").len(), 1);
    }
}

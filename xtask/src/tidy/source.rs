//! Rules about one file's text.

/// The most lines of a file that gives no reason for more.
const LINES_MAX: usize = 800;

/// The names of files that people write and read; data and lock files may be of any length.
const WRITTEN: [&str; 9] = [".rs", ".md", ".sh", ".ts", ".js", ".mjs", ".svelte", ".css", ".sql"];

/// Returns what is wrong with one file.
pub fn findings(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if path.ends_with(".rs") {
        if !text.starts_with("//!") {
            findings.push(format!("{path}: starts without a `//!` header that says what lives here"));
        }
        for (number, line) in (1..).zip(text.lines()) {
            for (forbidden, reason) in forbidden_in_rust() {
                if line.contains(&forbidden) {
                    findings.push(format!("{path}:{number}: `{forbidden}`: {reason}"));
                }
            }
        }
    }
    let lines = text.lines().count();
    let is_written = WRITTEN.iter().any(|ending| path.ends_with(ending));
    if is_written && lines > LINES_MAX && !text.contains(&long_reason()) {
        findings.push(format!("{path}: {lines} lines; split it, or say why not in a line `// {}…`", long_reason()));
    }
    for (number, line) in (1..).zip(text.lines()) {
        for folder in one_machine_folders() {
            if line.contains(&folder) {
                findings.push(format!("{path}:{number}: `{folder}` is a folder of one machine"));
            }
        }
    }
    findings
}

// The strings below are put together here, so that this file does not break its own rules.

fn forbidden_in_rust() -> [(String, &'static str); 2] {
    [
        (["#[", "ignore"].concat(), "a test runs or goes"),
        (["to", "do!"].concat(), "what is not there yet is not called"),
    ]
}

fn long_reason() -> String {
    ["tidy: long ", "because "].concat()
}

fn one_machine_folders() -> [String; 2] {
    ["work", "root"].map(|name| format!("/{name}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_comes_first() {
        assert!(findings("a.rs", "//! Says what lives here.\n").is_empty());
        assert_eq!(findings("a.rs", "use std::fs;\n//! Late.\n").len(), 1);
        assert!(findings("a.toml", "[package]\n").is_empty());
    }

    #[test]
    fn skipped_test_and_unwritten_code_are_found_with_their_line() {
        let text = format!("//! A.\n{}]\nfn a() {{ {}() }}\n", forbidden_in_rust()[0].0, forbidden_in_rust()[1].0);
        let found = findings("a.rs", &text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("a.rs:2: ") && found[1].starts_with("a.rs:3: "), "{found:?}");
    }

    #[test]
    fn long_file_needs_a_reason() {
        let long = format!("//! A.\n{}", "\n".repeat(LINES_MAX));
        assert_eq!(findings("a.rs", &long).len(), 1);
        assert_eq!(findings("Cargo.lock", &long).len(), 0);
        let reasoned = format!("{long}// {}one table is one file\n", long_reason());
        assert!(findings("a.rs", &reasoned).is_empty());
    }

    #[test]
    fn folder_of_one_machine_is_found_in_any_text() {
        let found = findings("notes.txt", &format!("cd {}main\n", one_machine_folders()[0]));
        assert_eq!(found.len(), 1);
        assert!(findings("notes.txt", "core/network/a and /home/me\n").is_empty());
    }
}

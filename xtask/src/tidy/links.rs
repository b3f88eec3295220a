//! Relative links of Markdown files lead to a file or folder of the clone.

use std::collections::BTreeSet;

/// Returns the links of one file that lead nowhere.
pub fn findings(path: &str, text: &str, paths: &BTreeSet<String>) -> Vec<String> {
    let mut findings = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
            continue;
        }
        if in_code {
            continue;
        }
        for target in targets(line) {
            if !leads_somewhere(path, &target, paths) {
                findings.push(format!("{path}:{number}: the link to `{target}` is dead"));
            }
        }
    }
    findings
}

/// The targets of `[text](target)` and `[label]: target`, without those between backticks.
fn targets(line: &str) -> Vec<String> {
    let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let mut targets = Vec::new();
    let mut rest = prose.as_str();
    while let Some((_, after)) = rest.split_once("](") {
        let Some((target, tail)) = after.split_once(')') else { break };
        targets.push(target);
        rest = tail;
    }
    if let Some((label, target)) = prose.split_once("]: ")
        && label.trim_start().starts_with('[')
    {
        targets.push(target);
    }
    // A title may follow the target.
    targets.iter().filter_map(|target| target.split_whitespace().next()).map(str::to_owned).collect()
}

fn leads_somewhere(path: &str, target: &str, paths: &BTreeSet<String>) -> bool {
    let target = target.trim_start_matches('<').trim_end_matches('>');
    let file = target.split('#').next().unwrap_or_default();
    if file.is_empty() || target.contains(':') {
        // A place in the same file, or an address such as https: or mailto:.
        return true;
    }
    let mut folders: Vec<&str> = path.split('/').collect();
    folders.pop();
    for step in file.split('/') {
        match step {
            "" | "." => {}
            ".." if folders.pop().is_none() => return false,
            ".." => {}
            name => folders.push(name),
        }
    }
    let wanted = folders.join("/");
    let folder = format!("{wanted}/");
    wanted.is_empty()
        || paths.contains(&wanted)
        || paths.range(folder.clone()..).next().is_some_and(|next| next.starts_with(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        let paths = ["README.md", "docs/FORMAT.md", "docs/adr/0001-a.md"].map(str::to_owned);
        findings(path, text, &BTreeSet::from(paths))
    }

    #[test]
    fn links_to_files_and_folders_lead_somewhere() {
        assert!(check("README.md", "[a](docs/FORMAT.md#bytes \"title\") and [b](docs/) [c](./docs/adr)").is_empty());
        assert!(check("docs/adr/0001-a.md", "[up](../FORMAT.md), [top](../..)\n[l]: ../../README.md").is_empty());
        assert!(check("README.md", "[x](https://a.example/b) [y](#here) [z](mailto:a@b.example)").is_empty());
    }

    #[test]
    fn dead_link_is_found_with_its_line() {
        let found = check("docs/FORMAT.md", "fine\n[a](README.md) [b](../README.md)\n");
        assert_eq!(found, ["docs/FORMAT.md:2: the link to `README.md` is dead"]);
        assert_eq!(check("README.md", "[a](../outside.md)").len(), 1);
        assert_eq!(check("README.md", "[l]: docs/FORM.md").len(), 1);
    }

    #[test]
    fn code_is_not_a_link() {
        assert!(check("README.md", "`[a](b)` and\n```\n[a](b)\n```\n").is_empty());
    }
}

//! The help texts, as committed.

mod common;

use common::Place;

const COMMANDS: [&str; 17] = [
    "init",
    "sql",
    "search",
    "embed",
    "invite",
    "join",
    "members",
    "sync",
    "status",
    "log",
    "conflicts",
    "peers",
    "verify",
    "graph",
    "doctor",
    "demo",
    "completions",
];

#[test]
fn help_begins_with_three_examples() {
    let help = Place::new().ok(&["--help"]);
    let examples: Vec<_> = help.lines().skip_while(|line| *line != "Examples:").skip(1).take(3).collect();
    assert!(examples.len() == 3 && examples.iter().all(|line| line.starts_with("  kith ")), "{help}");
    insta::assert_snapshot!("kith", help);
}

#[test]
fn every_command_has_help_with_an_example() {
    let place = Place::new();
    for command in COMMANDS {
        let help = place.ok(&[command, "--help"]);
        assert!(help.contains(&format!("Example:\n  kith {command}")), "{help}");
        insta::assert_snapshot!(command, help);
    }
}

#[test]
fn listed_commands_are_those_with_a_snapshot() {
    let help = Place::new().ok(&["--help"]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let listed: Vec<_> = listed.filter_map(|line| line.split_whitespace().next()).collect();
    for command in COMMANDS {
        assert!(listed.contains(&command), "{command}");
    }
    assert!(listed.contains(&"help"));
    assert_eq!(listed.len(), COMMANDS.len() + 1, "{listed:?}");
}

#[test]
fn help_is_a_command_too() {
    let place = Place::new();
    assert_eq!(place.ok(&["help"]), place.ok(&["--help"]));
    assert_eq!(place.ok(&["help", "init"]), place.ok(&["init", "--help"]));
}

#[test]
fn wrong_usage_has_exit_code_2() {
    let place = Place::new();
    for arguments in [
        &["nonsense"][..],
        &["sql"],
        &["invite", "a.db", "--role", "king"],
        &["log", "a.db", "-n", "x"],
        &["invite", "a.db", "--role", "writer", "--address", "foo"],
        &["sync", "a.db", "--peer", "foo"],
        &["sync", "a.db", "--listen", "10.0.0.1:4700"],
        &["join", "a.db", "-", "--peer", "foo"],
    ] {
        assert_eq!(place.kith(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn examples_of_the_first_help_run() {
    let place = Place::new();
    place.ok(&["init", "notes.db"]);
    assert_eq!(place.sql("notes.db", "SELECT kith_version()"), env!("CARGO_PKG_VERSION"));
}

#[test]
fn completions_are_made_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        assert!(place.ok(&["completions", shell]).contains("kith"), "{shell}");
    }
}

//! The tour of README.md, run as it is printed: what a reader pastes is what runs here.

#![cfg(unix)]

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Place, text};

/// One block of commands: the terminal it is typed into, and its lines.
struct Block {
    terminal: String,
    lines: Vec<String>,
}

fn blocks(readme: &str) -> Vec<Block> {
    let (_, tour) = readme.split_once("\n## A two-minute tour\n").expect("README.md has the tour");
    let (tour, _) = tour.split_once("\n## ").expect("something follows the tour");
    let code = tour.split("```sh\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    code.map(|code| {
        let mut lines = code.lines().map(str::to_owned);
        Block { terminal: lines.next().unwrap(), lines: lines.collect() }
    })
    .collect()
}

/// Types a line into a shell; the long-running `kith sync` is left running once it listens.
fn shell(place: &Place, line: &str) -> Command {
    let bin = Path::new(env!("CARGO_BIN_EXE_kith")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    // `exec` makes the child the program itself, so that Ctrl-C reaches it.
    command.arg("-c").arg(line).current_dir(place.folder()).env("PATH", path).env("HOME", place.folder());
    command
}

fn start(place: &Place, line: &str) -> Child {
    let mut child = shell(place, &format!("exec {line}")).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("listening at") {
        assert!(out.read_line(&mut said).unwrap() > 0, "{line}: {said}");
    }
    // Somebody must read the rest, or the peer would wait.
    std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    child
}

fn interrupt(mut child: Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

fn free_port() -> u16 {
    UdpSocket::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn tour_of_the_readme_works_as_printed() {
    let readme = std::fs::read_to_string("../README.md").unwrap();
    // What is changed: another test may hold the port, and tests keep to this machine.
    let port = free_port().to_string();
    let readme = readme.replace("/udp/4700/", &format!("/udp/{port}/"));
    let readme = readme.replace("kith join other.db", "kith join other.db --no-mdns");
    let here = "kith sync other.db --no-mdns --listen /ip4/127.0.0.1/udp/0/quic-v1";
    let readme = readme.replace("kith sync other.db", here);
    let place = Place::new();
    let has_sqlite = Command::new("sqlite3").arg("--version").output().is_ok();
    let mut running: HashMap<String, Child> = HashMap::new();
    let mut shown = Vec::new();
    let mut commands = 0;
    for block in blocks(&readme) {
        for line in &block.lines {
            if line == "# press Ctrl-C" {
                interrupt(running.remove(&block.terminal).expect("something runs in that terminal"));
                continue;
            }
            assert!(!running.contains_key(&block.terminal), "{line}: {} is busy", block.terminal);
            commands += 1;
            if line.starts_with("kith sync") && !line.contains("--once") {
                running.insert(block.terminal.clone(), start(&place, line));
                continue;
            }
            if line.starts_with("sqlite3") && !has_sqlite {
                eprintln!("not run: the sqlite3 shell is not installed (`cargo xtask test` installs it)");
                continue;
            }
            let output = shell(&place, line).stdin(Stdio::null()).output().unwrap();
            let said = text(&output.stdout);
            assert!(output.status.success(), "{line}: {}\n{said}{}", output.status, text(&output.stderr));
            if line.contains("SELECT * FROM notes") {
                shown.push(said);
            }
        }
    }
    running.into_values().for_each(interrupt);
    assert!(commands >= 15, "only {commands} commands were found");

    assert!(shown[0].contains("milk  buy milk  0"), "{}", shown[0]);
    let merged = "id    body          done\n----  ------------  ----\nmilk  buy oat milk  1\nrye   rye bread     0\n";
    assert_eq!(shown[1..3], [merged, merged]);
    if has_sqlite {
        assert_eq!(shown[3], "milk|buy oat milk|1\nrye|rye bread|0\n");
    }
}

#[test]
fn commands_in_the_guide_exist() {
    let root = Path::new("..");
    let place = Place::new();
    for document in ["README.md", "docs/USER-GUIDE.md", "docs/SECURITY.md"] {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        // What follows `kith` in code: a command or an option.
        for piece in text.split(['`', '\n']).filter_map(|piece| piece.trim().strip_prefix("kith ")) {
            let command = piece.split_whitespace().next().unwrap_or_default();
            assert!(place.kith(&[command, "--help"]).status.success(), "{document}: kith {piece}");
        }
    }
}

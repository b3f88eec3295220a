//! Runs the built `kith` as its users do: as a process, with files in a folder of the test.

// Each test binary uses another part of this.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// No peer of a test takes longer to say what the test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Listening addresses that other tests cannot hold.
pub const LOOPBACK: [&str; 4] = ["--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0"];

/// A folder in which commands run.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kith"));
        // Help is wrapped at this width whatever the terminal.
        command.args(arguments).current_dir(self.folder.path()).env("COLUMNS", "100").env_remove("KITH_LOG");
        command.env("HOME", self.folder.path());
        command
    }

    pub fn kith(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that must succeed and returns what it printed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.kith(arguments);
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "kith {arguments:?}: {}\n{out}{error}", output.status);
        out
    }

    /// Runs a command that must succeed with `--json` and returns the value that it printed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let out = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("kith {arguments:?}: {error}: {out}"))
    }

    /// Runs a command that must fail with exit code 1 and returns its message.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.kith(arguments);
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "kith {arguments:?}:\n{out}{error}");
        error.trim_end().replace(&self.folder.path().canonicalize().unwrap().display().to_string(), "FOLDER")
    }

    /// Runs SQL with one result and returns its rows, values between bars.
    #[track_caller]
    pub fn sql(&self, file: &str, sql: &str) -> String {
        self.ok(&["sql", file, sql, "--mode", "list"]).trim_end().to_owned()
    }

    /// Founds a workspace with one synced table.
    pub fn init_notes(&self, file: &str) {
        self.ok(&["init", file, "--name", "laptop"]);
        self.ok(&[
            "sql",
            file,
            "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT, done INT); SELECT kith_sync('notes')",
        ]);
    }

    /// Lets a second file join through a running peer.
    pub fn join(&self, inviter: &str, joiner: &str, address: &str) {
        let ticket = self.json(&["invite", inviter, "--role", "writer"])["ticket"].as_str().unwrap().to_owned();
        self.ok(&["join", joiner, &ticket, "--name", "phone", "--peer", address, "--no-mdns"]);
    }

    /// Starts `kith sync --json` on loopback.
    pub fn sync(&self, file: &str, more: &[&str]) -> Peer {
        let mut command = self.command(&["sync", file, "--no-mdns", "--json"]);
        command.args(more).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let line = line.unwrap();
                let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        Peer { child, events, file: file.to_owned(), seen: Vec::new() }
    }

    /// Runs a command with this standard input.
    pub fn with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

/// A running `kith sync`.
pub struct Peer {
    child: Child,
    events: Receiver<Value>,
    file: String,
    seen: Vec<Value>,
}

impl Peer {
    /// Waits for an event that is as wanted.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        loop {
            let Ok(event) = self.events.recv_timeout(PATIENCE) else {
                panic!("{} never said `{what}`, only {:#?}", self.file, self.seen);
            };
            self.seen.push(event.clone());
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Waits for an event of this name.
    #[track_caller]
    pub fn wait(&mut self, name: &str) -> Value {
        self.wait_until(name, |event| event["event"] == name)
    }

    /// Waits for the address at which the peer listens over QUIC.
    #[track_caller]
    pub fn address(&mut self) -> String {
        let is_quic = |event: &Value| event["event"] == "listening" && event["address"].to_string().contains("quic-v1");
        self.wait_until("listening", is_quic)["address"].as_str().unwrap().to_owned()
    }

    /// Interrupts the peer as Ctrl-C does and waits for its end.
    #[cfg(unix)]
    #[track_caller]
    pub fn interrupt(mut self) -> Value {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let stopped = self.wait("stopped");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{}: {status}", self.file);
        stopped
    }

    /// Waits for the peer to end by itself.
    pub fn end(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // One that has ended needs neither.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

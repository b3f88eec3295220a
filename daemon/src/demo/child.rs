//! The demo's processes: this very program, started again.
//!
//! Invariants:
//! 1. A child that keeps running ends when its standard input does, so it never outlives the demo; only own children are ended, by their handle.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// How long a peer may be silent before the demo gives up.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Runs `kith` with these arguments to its end and returns the JSON that it printed; `input` is its standard input.
pub fn kith(arguments: &[&str], input: &str) -> Result<Value> {
    let mut child =
        command(arguments)?.stderr(Stdio::piped()).spawn().context("this program cannot be started again")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that reads none of it may be gone already; its exit code tells.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if let Ok(value) = serde_json::from_slice(&output.stdout) {
        // `kith verify` has something to say when it fails, too.
        return Ok(value);
    }
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = serde_json::from_str::<Value>(complaint.lines().last().unwrap_or_default()).unwrap_or_default();
        bail!("`kith {}` failed: {}", arguments.join(" "), complaint["error"].as_str().unwrap_or("it gave no reason"));
    }
    bail!("`kith {}` printed something else than JSON", arguments.join(" "))
}

fn command(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program's own path is unknown")?);
    command.args(arguments).arg("--json").stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

/// Which of the two peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The one that had the data first.
    Laptop,
    /// The one that joined.
    Phone,
}

impl Side {
    /// Its device name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Laptop => "laptop",
            Self::Phone => "phone",
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Laptop => Self::Phone,
            Self::Phone => Self::Laptop,
        }
    }
}

/// A running `kith sync`.
pub struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    side: Side,
}

/// What running peers say.
pub struct Said {
    sender: Sender<(Side, Option<Value>)>,
    events: Receiver<(Side, Option<Value>)>,
}

impl Said {
    /// Listens to nobody yet.
    pub fn new() -> Self {
        let (sender, events) = channel();
        Self { sender, events }
    }

    /// Waits for the next event of any peer; a peer that ends without having been stopped is an error.
    pub fn next(&self) -> Result<(Side, Value)> {
        let (side, event) = self
            .events
            .recv_timeout(SILENCE_MAX)
            .map_err(|_| anyhow!("the peers have said nothing for {} s", SILENCE_MAX.as_secs()))?;
        let event = event.ok_or_else(|| anyhow!("the peer `{}` ended by itself", side.name()))?;
        if event["event"] == "failed" {
            bail!("the peer `{}` failed: {}", side.name(), event["reason"].as_str().unwrap_or_default());
        }
        Ok((side, event))
    }

    /// Waits for an event of one peer.
    pub fn wait_for(&self, side: Side, name: &str) -> Result<Value> {
        loop {
            let (from, event) = self.next()?;
            if from == side && event["event"] == name {
                return Ok(event);
            }
        }
    }
}

impl Peer {
    /// Starts `kith sync` on loopback, without mDNS.
    pub fn start(side: Side, file: &Path, peer: Option<&str>, said: &Said) -> Result<Self> {
        let file = file.to_str().context("the path of the demo's folder is not UTF-8; choose another with --folder")?;
        let mut arguments = vec!["sync", file, "--no-mdns", "--until-eof"];
        arguments.extend(["--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--listen", "/ip4/127.0.0.1/tcp/0"]);
        if let Some(peer) = peer {
            arguments.extend(["--peer", peer]);
        }
        let mut child = command(&arguments)?.spawn().context("this program cannot be started again")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the peer has no output")?;
        let sender = said.sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Some(event) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { break };
                if sender.send((side, Some(event))).is_err() {
                    return;
                }
            }
            // Nobody listens any more when the demo is over.
            let _ = sender.send((side, None));
        });
        Ok(Self { child, stdin, side })
    }

    /// Ends the peer as Ctrl-C would and returns its last words.
    pub fn stop(mut self, said: &Said) -> Result<Value> {
        drop(self.stdin.take());
        let last = said.wait_for(self.side, "stopped")?;
        // What follows is the end of the output.
        while let (side, Some(_)) = said.events.recv_timeout(SILENCE_MAX)? {
            if side != self.side {
                continue;
            }
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the peer `{}` ended with {status}", self.side.name());
        }
        Ok(last)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // One that has ended already needs neither; one that hangs must not stay behind.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

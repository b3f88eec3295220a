//! Running other programs, and the times they took.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, PipeReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fmt, thread};

use anyhow::{Context, Result, bail, ensure};

/// Lines of a command that failed which are shown once more at the end.
const LAST_LINES: usize = 300;
/// How long the rest of a command's output is waited for: what it has left running may hold its output open.
const REST: Duration = Duration::from_secs(5);

/// The clone and its target folder.
pub struct Workspace {
    /// The folder with the workspace's Cargo.toml.
    pub root: PathBuf,
    /// Where cargo puts what it builds.
    pub target: PathBuf,
}

impl Workspace {
    /// Finds the workspace that this xtask belongs to.
    pub fn locate() -> Result<Self> {
        // Cargo sets the variable when it runs us; the path of the build serves a binary started by hand.
        let manifest =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().context("xtask has no folder above it")?.to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(target) => root.join(target),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// Starts a cargo command in the workspace's root.
    pub fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        // What the outer cargo says of xtask: build scripts that look at it (ring's does) would otherwise build their
        // crate, and everything on top of it, anew each time cargo is called with and without xtask in turn.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&name);
            }
        }
        cargo
    }
}

/// A command that failed.
#[derive(Debug)]
struct Failed {
    line: String,
    status: ExitStatus,
    /// What it wrote last, where that was no terminal.
    last_lines: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` failed ({})", self.line, self.status)
    }
}

impl std::error::Error for Failed {}

/// Runs a command with our terminal, or passes on what it writes; a status other than 0 is an error that names the command.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    let could_not = || format!("could not start `{line}`");
    let (status, last_lines) = if io::stdout().is_terminal() {
        (command.status().with_context(could_not)?, String::new())
    } else {
        let (output, writer) = io::pipe().with_context(could_not)?;
        command.stdout(writer.try_clone().with_context(could_not)?).stderr(writer);
        let child = command.spawn();
        // The command holds the ends to write to.
        command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
        pass_on(child.with_context(could_not)?, output)?
    };
    if status.success() { Ok(()) } else { Err(Failed { line, status, last_lines }.into()) }
}

/// Writes what a command writes until it has ended, and returns the last of it.
fn pass_on(mut child: std::process::Child, output: PipeReader) -> Result<(ExitStatus, String)> {
    let last = Arc::new(Mutex::new(VecDeque::new()));
    let kept = Arc::clone(&last);
    let (ended, is_ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(io::Result::ok) {
            let mut to = io::stdout().lock();
            // Whoever reads what we write may have gone.
            let _ = to.write_all(&line).and_then(|()| to.write_all(b"\n"));
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == LAST_LINES {
                kept.pop_front();
            }
            kept.push_back(String::from_utf8_lossy(&line).into_owned());
        }
        drop(ended);
    });
    let status = child.wait()?;
    // Disconnected once all is read.
    let _ = is_ended.recv_timeout(REST);
    let last = last.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((status, last.iter().map(String::as_str).collect::<Vec<_>>().join("\n")))
}

/// Runs a command and returns what it wrote to its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("could not start `{}`", line(command)))?;
    if !output.status.success() {
        bail!("`{}` failed ({}): {}", line(command), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` wrote something other than UTF-8", line(command)))
}

/// Tells whether a command can be started and succeeds, without showing what it prints.
pub fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|it| it.success())
}

/// Writes a command as one would type it.
pub fn line(command: &Command) -> String {
    let words: Vec<_> =
        [command.get_program()].into_iter().chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

/// The folder for what is kept outside the clone.
pub fn cache_folder() -> Result<PathBuf> {
    if let Some(cache) = env::var_os("XDG_CACHE_HOME").filter(|it| Path::new(it).is_absolute()) {
        return Ok(PathBuf::from(cache));
    }
    let home = env::home_dir().context("neither XDG_CACHE_HOME nor a home folder is set")?;
    Ok(home.join(".cache"))
}

/// Steps that all run, whatever fails, and a table of their times at the end.
#[derive(Default)]
pub struct Stages {
    done: Vec<(&'static str, Duration, Result<()>)>,
}

impl Stages {
    /// Runs one step under a heading.
    pub fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<()>) {
        println!("\n== {name}");
        let start = Instant::now();
        let result = step();
        if let Err(error) = &result {
            println!("{error:#}");
        }
        self.done.push((name, start.elapsed(), result));
    }

    /// Prints what the steps that failed said last and each step's time, and fails if one of them failed.
    pub fn finish(self) -> Result<()> {
        for (name, _, result) in &self.done {
            // Far above, or cut off by whoever keeps what we print.
            if let Err(error) = result {
                let failed = error.downcast_ref::<Failed>();
                println!("\n== what failed: {name}\n{}", failed.map_or("", |failed| &failed.last_lines));
                println!("{error:#}");
            }
        }
        println!("\n== times");
        let mut failed = Vec::new();
        for (name, time, result) in &self.done {
            println!("{:>8.1} s  {}  {name}", time.as_secs_f64(), if result.is_ok() { "ok    " } else { "FAILED" });
            if result.is_err() {
                failed.push(*name);
            }
        }
        println!("{} passed, {} failed", self.done.len() - failed.len(), failed.len());
        ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
        Ok(())
    }
}

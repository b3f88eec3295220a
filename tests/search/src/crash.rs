//! A process that is killed while its rows are in the database and not in the saved index.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rusqlite::Connection;

use crate::npy;
use crate::process::cpu_s;
use crate::sql::{DATABASE, FOLDER, blob, open};

/// Rows that are written before the kill.
const ROWS: usize = 1_000;
/// Rows of a transaction.
const TRANSACTION: usize = 100;

/// Copies the database of a set, has a second process write to it and kills that one, and a third one open it.
#[derive(Args)]
pub struct Crash {
    /// The folder of the set.
    #[arg(long)]
    set: PathBuf,
}

/// Writes the questions as rows, has the index follow, says so, and waits to be killed.
#[derive(Args)]
pub struct Write {
    /// The folder of the set.
    #[arg(long)]
    set: PathBuf,
    /// The database.
    #[arg(long)]
    file: PathBuf,
}

/// Opens the database, asks a question, and looks for each row that was written.
#[derive(Args)]
pub struct Reopen {
    /// The folder of the set.
    #[arg(long)]
    set: PathBuf,
    /// The database.
    #[arg(long)]
    file: PathBuf,
}

impl Crash {
    /// Prints what the third process measured.
    pub fn run(&self) -> Result<()> {
        let copy = self.set.join("killed");
        if copy.exists() {
            fs::remove_dir_all(&copy)?;
        }
        fs::create_dir_all(&copy)?;
        for entry in fs::read_dir(self.set.join(FOLDER))? {
            let entry = entry?;
            fs::copy(entry.path(), copy.join(entry.file_name()))?;
        }
        let own = std::env::current_exe()?;
        let same = |name: &str| {
            let mut command = Command::new(&own);
            command.arg(name).arg("--set").arg(&self.set).arg("--file").arg(copy.join(DATABASE));
            command
        };
        let mut writer = same("write").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut said = String::new();
        let read = BufReader::new(writer.stdout.take().context("a child without output")?).read_line(&mut said);
        // SIGKILL, whatever it was doing.
        writer.kill()?;
        let status = writer.wait()?;
        read?;
        ensure!(said.trim() == "written" && status.code().is_none(), "the writer was not killed: {said:?}, {status}");
        let reopened = same("reopen").stderr(Stdio::inherit()).output()?;
        ensure!(reopened.status.success(), "the database could not be opened again ({})", reopened.status);
        print!("{}", String::from_utf8_lossy(&reopened.stdout));
        fs::remove_dir_all(&copy)?;
        Ok(())
    }
}

impl Write {
    /// Writes.
    pub fn run(&self) -> Result<()> {
        let queries = npy::read_floats(&self.set.join("queries.npy"))?;
        let conn = open(&self.file)?;
        let nearest = |row: &[f32]| find(&conn, row);
        nearest(queries.row(0))?;
        let first = next_id(&conn)?;
        let rows: Vec<_> = (first..).zip(queries.rows()).take(ROWS).collect();
        ensure!(rows.len() == ROWS, "the set has fewer than {ROWS} questions");
        for rows in rows.chunks(TRANSACTION) {
            conn.execute_batch("BEGIN")?;
            for (id, row) in rows {
                conn.prepare_cached("INSERT INTO rows(id, embedding) VALUES(?1, ?2)")?.execute((id, blob(row)))?;
            }
            conn.execute_batch("COMMIT")?;
            nearest(rows[0].1)?;
        }
        println!("written");
        // Never comes, as nobody writes to our input.
        std::io::stdin().read_line(&mut String::new())?;
        Ok(())
    }
}

impl Reopen {
    /// Measures.
    pub fn run(&self) -> Result<()> {
        let queries = npy::read_floats(&self.set.join("queries.npy"))?;
        let (cpu, wall) = (cpu_s(), Instant::now());
        let conn = open(&self.file)?;
        find(&conn, queries.row(ROWS - 1))?;
        let (open_s, open_cpu_s) = (wall.elapsed().as_secs_f64(), cpu_s() - cpu);
        let first = next_id(&conn)? - ROWS as i64;
        let mut found = 0;
        for (id, row) in (first..).zip(queries.rows()).take(ROWS) {
            found += usize::from(find(&conn, row)? == id);
        }
        ensure!(found == ROWS, "{found} of {ROWS} rows were found");
        println!("open_s {open_s:.3} open_cpu_s {open_cpu_s:.3} found {found}");
        Ok(())
    }
}

/// Returns the key of the row nearest to an embedding.
fn find(conn: &Connection, embedding: &[f32]) -> Result<i64> {
    let mut statement = conn.prepare_cached("SELECT key FROM nearest WHERE embedding MATCH ?1 AND k = 1")?;
    Ok(statement.query_row([blob(embedding)], |row| row.get(0))?)
}

fn next_id(conn: &Connection) -> Result<i64> {
    Ok(conn.query_row("SELECT max(id) + 1 FROM rows", [], |row| row.get(0))?)
}

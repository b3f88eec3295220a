//! `kith demo`: two peers as two processes on real data; they write apart, sync, and are compared row by row.
//!
//! Invariants:
//! 1. Every figure that is shown was measured in this run; the comparison reads both files with plain SQLite and knows nothing of sync.
//! 2. The exit code is 0 only if both files hold the same and `kith verify` finds nothing on either.

mod child;
mod graph;
mod search;
mod source;
mod tables;
mod verdict;
pub mod wordnet;
mod writes;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use kithdb_core::file::shell_word;
use kithdb_core::replica::{OpenOptions, Replica};
use kithdb_core::storage::quote;
use serde_json::{Map, Value, json};

use self::child::{Peer, Said, Side, kith};
use self::tables::{Table, are_in_step, compare, open_plain, synced};
use self::verdict::Verdicts;
use self::writes::{Kind, Plan};
use crate::cli::Demo;
use crate::human;
use crate::render::visible;
use crate::report::Output;

/// Runs the demo; exit code 1 if the two files are not equal in the end.
pub fn run(arguments: &Demo, output: Output) -> Result<ExitCode> {
    let mut demo = Stage::new(arguments, output)?;
    let played = demo.play(arguments);
    if let (Err(_), None, Some(folder)) = (&played, &arguments.folder, demo.laptop.parent()) {
        // Nobody knows of this folder; what made the demo fail is told, not kept.
        let _ = std::fs::remove_dir_all(folder);
    }
    Ok(if played? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The folder with the two files, and what was found so far.
struct Stage {
    output: Output,
    laptop: PathBuf,
    phone: PathBuf,
    address: String,
    tables: Vec<Table>,
    report: Map<String, Value>,
}

impl Stage {
    fn new(arguments: &Demo, output: Output) -> Result<Self> {
        let folder = match &arguments.folder {
            Some(folder) => folder.clone(),
            None => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                std::env::temp_dir().join(format!("kith-demo-{}-{}", now.as_secs(), std::process::id()))
            }
        };
        std::fs::create_dir(&folder)
            .with_context(|| format!("the folder {} cannot be made; choose another with --folder", folder.display()))?;
        let folder = folder.canonicalize()?;
        let (laptop, phone) = (folder.join("laptop.db"), folder.join("phone.db"));
        Ok(Self { output, laptop, phone, address: String::new(), tables: Vec::new(), report: Map::new() })
    }

    /// Plays all parts; returns whether it is proven that both files hold the same.
    fn play(&mut self, arguments: &Demo) -> Result<bool> {
        self.make_database(arguments)?;
        self.first_sync()?;
        let (plan, after_entry) = self.write_apart()?;
        self.second_sync()?;
        let is_proven = self.prove(&plan, after_entry)?;
        self.ask()?;
        self.end(is_proven)?;
        Ok(is_proven)
    }

    fn path(&self, side: Side) -> &Path {
        match side {
            Side::Laptop => &self.laptop,
            Side::Phone => &self.phone,
        }
    }

    fn text(&self, side: Side) -> Result<&str> {
        self.path(side).to_str().context("the path of the demo's folder is not UTF-8; choose another with --folder")
    }

    fn say(&self, line: impl std::fmt::Display) -> Result<()> {
        if !self.output.json {
            self.output.line(line)?;
        }
        Ok(())
    }

    fn note(&mut self, name: &str, value: Value) {
        self.report.insert(name.to_owned(), value);
    }

    fn make_database(&mut self, arguments: &Demo) -> Result<()> {
        self.say("1. A real database")?;
        let begun = Instant::now();
        let content = source::prepare(arguments, &self.laptop, self.output.is_watched())?;
        self.say(format_args!("   {}", visible(&content)))?;
        self.say(format_args!("   {} (made in {})", self.laptop.display(), human::elapsed(begun.elapsed())))?;
        let laptop = self.text(Side::Laptop)?.to_owned();
        kith(&["init", &laptop, "--name", Side::Laptop.name()], "")?;
        self.say("   $ kith init laptop.db --name laptop")?;
        let answer = kith(&["sql", &laptop, "SELECT kith_sync('*') AS report"], "")?;
        self.say("   $ kith sql laptop.db \"SELECT kith_sync('*')\"")?;
        let report: Value = serde_json::from_str(answer[0]["report"].as_str().unwrap_or_default())
            .context("kith_sync answered with something else than its report")?;
        for skipped in report["skipped"].as_array().into_iter().flatten() {
            let (table, reason) =
                (skipped["table"].as_str().unwrap_or_default(), skipped["reason"].as_str().unwrap_or_default());
            self.say(format_args!("   left out {}: {}", visible(table), visible(reason)))?;
        }
        let conn = open_plain(&self.laptop)?;
        self.tables = synced(&conn)?;
        if self.tables.is_empty() {
            let reasons: Vec<_> = report["skipped"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|skipped| skipped["reason"].as_str().unwrap_or_default())
                .collect();
            ensure!(
                !reasons.is_empty(),
                "this database has no tables, so there is nothing to sync; give one with tables"
            );
            bail!("no table of this database can be synced: {}", reasons.join("; "));
        }
        let mut rows = 0;
        let mut names = Vec::new();
        for table in &self.tables {
            let sql = format!("SELECT count(*) FROM main.{}", quote(&table.name));
            rows += conn.query_row(&sql, [], |row| row.get::<_, i64>(0))?.unsigned_abs();
            names.push(visible(&table.name).into_owned());
        }
        self.say(format_args!("   synced {}: {}", human::counted(rows, "row"), names.join(", ")))?;
        self.note("folder", json!(self.laptop.parent()));
        self.note("content", json!(content));
        self.note("tables", json!(names));
        self.note("skipped", report["skipped"].clone());
        self.note("rows_at_first", json!(rows));
        Ok(())
    }

    fn first_sync(&mut self) -> Result<()> {
        self.say("\n2. A second device joins: two processes, loopback, mDNS off, encrypted over QUIC")?;
        let said = Said::new();
        let laptop = self.start_laptop(&said)?;
        let (file, other) = (self.text(Side::Laptop)?.to_owned(), self.text(Side::Phone)?.to_owned());
        let ticket = kith(&["invite", &file, "--role", "writer", "--expires", "1h", "--address", &self.address], "")?;
        self.say("   $ kith invite laptop.db --role writer")?;
        let ticket = ticket["ticket"].as_str().context("kith invite printed no ticket")?;
        // Through standard input, so that the secret shows in no list of processes.
        let name = Side::Phone.name();
        kith(&["join", &other, "-", "--name", name, "--peer", &self.address, "--no-mdns"], ticket)?;
        self.say("   $ kith join phone.db TICKET --name phone")?;
        self.meet(laptop, &said, "first_sync")
    }

    fn second_sync(&mut self) -> Result<()> {
        self.say("\n4. Connected again")?;
        let said = Said::new();
        let laptop = self.start_laptop(&said)?;
        self.meet(laptop, &said, "second_sync")
    }

    fn start_laptop(&mut self, said: &Said) -> Result<Peer> {
        let laptop = Peer::start(Side::Laptop, &self.laptop, None, said)?;
        loop {
            let event = said.wait_for(Side::Laptop, "listening")?;
            let address = event["address"].as_str().unwrap_or_default();
            if address.contains("/quic-v1") {
                self.address = address.to_owned();
                break;
            }
        }
        self.say("   $ kith sync laptop.db")?;
        Ok(laptop)
    }

    /// Starts the phone, waits until both files hold the same log, and stops both.
    fn meet(&mut self, laptop: Peer, said: &Said, phase: &str) -> Result<()> {
        self.say("   $ kith sync phone.db")?;
        let begun = Instant::now();
        let phone = Peer::start(Side::Phone, &self.phone, Some(&self.address), said)?;
        let bar = if self.output.is_watched() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        bar.set_style(ProgressStyle::with_template("   {bar:30} {human_pos}/{human_len} entries at {msg}")?);
        loop {
            let (side, event) = said.next()?;
            match event["event"].as_str().unwrap_or_default() {
                "progress" => {
                    bar.set_length(event["want_entries"].as_u64().unwrap_or_default());
                    bar.set_position(event["have_entries"].as_u64().unwrap_or_default());
                    bar.set_message(side.name());
                    continue;
                }
                "applied" | "sealed" | "caught_up" | "in_step" => {}
                "refused" | "forged" => bail!("the peers do not trust each other: {event}"),
                _ => continue,
            }
            if are_in_step(&self.laptop, &self.phone)? {
                break;
            }
        }
        let elapsed = begun.elapsed();
        bar.finish_and_clear();
        // The phone stops first, while its session stands and knows what went over it.
        let last = phone.stop(said)?;
        // What each merged is certain only when it has ended.
        let count = |last: &Value| last["operations_merged"].as_u64().unwrap_or_default();
        let (on_phone, on_laptop) = (count(&last), count(&laptop.stop(said)?));
        let (sent, received) = (last["sent_bytes"].as_u64(), last["received_bytes"].as_u64());
        let known = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), human::bytes);
        self.say(format_args!(
            "   in step {} after the phone started: it received {} and sent {}; merged {} on the phone, {} on the laptop",
            human::elapsed(elapsed),
            known(received),
            known(sent),
            human::counted(on_phone, "change"),
            human::counted(on_laptop, "change"),
        ))?;
        self.say("   both processes stopped")?;
        self.note(
            phase,
            json!({
                "elapsed_ms": millis(elapsed), "phone_received_bytes": received, "phone_sent_bytes": sent,
                "merged_on_phone": on_phone, "merged_on_laptop": on_laptop,
            }),
        );
        Ok(())
    }

    /// Both sides write while no process runs that could connect them.
    fn write_apart(&mut self) -> Result<(Plan, i64)> {
        self.say("\n3. Both write, disconnected")?;
        let begun = Instant::now();
        let conn = open_plain(&self.laptop)?;
        let after_entry: i64 =
            conn.query_row("SELECT ifnull(max(arrival), 0) FROM kith__entries", [], |row| row.get(0))?;
        let mut plan = Plan::new(&conn, &self.tables)?;
        drop(conn);
        let mut done = [0_u64; 2];
        // The laptop is first with some writes and last with others, so that each side wins somewhere.
        for (side, is_late) in [(Side::Laptop, false), (Side::Phone, false), (Side::Laptop, true)] {
            let mut replica = Replica::open(self.path(side), OpenOptions::default())?;
            done[side as usize] += plan.run(&mut replica, side, is_late, &self.tables);
            replica.close()?;
        }
        let count = |kind: fn(Kind) -> bool| {
            let rows = plan.rows.iter().enumerate().filter(|(_, row)| kind(row.kind));
            let writes =
                rows.map(|(index, _)| plan.writes.iter().filter(|write| write.row == index && write.is_done).count());
            writes.sum::<usize>() as u64
        };
        let both = |kind: fn(Kind) -> bool| {
            let rows = plan.rows.iter().enumerate().filter(|(_, row)| kind(row.kind));
            rows.filter(|(index, _)| plan.both(*index).is_some()).count() as u64
        };
        let inserts = count(|kind| matches!(kind, Kind::Insert(_)));
        let same_inserts = both(|kind| matches!(kind, Kind::SameInsert(_)));
        let different = both(|kind| kind == Kind::DifferentCells);
        let same = both(|kind| matches!(kind, Kind::SameCell(_)));
        let deletes = count(|kind| matches!(kind, Kind::Delete(_)));
        let against = both(|kind| matches!(kind, Kind::DeleteAgainstUpdate(_)));
        self.say(format_args!(
            "   laptop {}, phone {}, each a transaction of its own, in {}",
            human::counted(done[Side::Laptop as usize], "statement"),
            human::counted(done[Side::Phone as usize], "statement"),
            human::elapsed(begun.elapsed())
        ))?;
        // Small tables have rows for some kinds of writes only.
        for (rows, what) in [
            (inserts, "inserted"),
            (deletes, "deleted"),
            (different, "changed by both in different cells"),
            (same, "changed by both in the same cell"),
            (against, "deleted by one and changed by the other"),
            (same_inserts, "inserted by both under one key"),
        ] {
            if rows > 0 {
                self.say(format_args!("   {} {what}", human::counted(rows, "row")))?;
            }
        }
        for (refusal, times) in &plan.refused {
            self.say(format_args!("   {times} x {}", visible(refusal)))?;
        }
        ensure!(done.iter().all(|&done| done > 0), "one side could write nothing; the reasons are above");
        self.note(
            "writes",
            json!({
                "laptop": done[Side::Laptop as usize], "phone": done[Side::Phone as usize], "inserts": inserts,
                "deletes": deletes, "rows_changed_in_different_cells": different, "rows_changed_in_the_same_cell": same,
                "rows_deleted_and_changed": against, "rows_inserted_by_both": same_inserts, "refused": plan.refused,
            }),
        );
        Ok((plan, after_entry))
    }

    fn prove(&mut self, plan: &Plan, after_entry: i64) -> Result<bool> {
        self.say("\n5. Proof")?;
        let begun = Instant::now();
        let found = compare(&self.laptop, &self.phone)?;
        let is_equal = found.differences.is_empty();
        if is_equal {
            self.say(format_args!(
                "   equal: {} of {} compared value by value and type by type through plain SQLite, in {}",
                human::counted(found.rows(), "row"),
                human::counted(found.tables.len() as u64, "table"),
                human::elapsed(begun.elapsed())
            ))?;
        }
        for difference in &found.differences {
            self.say(format_args!("   NOT EQUAL: {}", visible(difference)))?;
        }
        self.note("rows_compared", json!(found.rows()));
        self.note("differences", json!(found.differences));
        let (laptop, phone) = (self.text(Side::Laptop)?, self.text(Side::Phone)?);
        let reports = std::thread::scope(|scope| {
            let verify = |file| move || kith(&["verify", file], "");
            let threads = [scope.spawn(verify(laptop)), scope.spawn(verify(phone))];
            threads.map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("the thread that waited for it ended"))))
        });
        let mut are_clean = true;
        for (side, report) in [Side::Laptop, Side::Phone].into_iter().zip(reports) {
            let report = report.unwrap_or_else(|error| json!({ "clean": false, "error": error.to_string() }));
            let is_clean = report["clean"] == true;
            are_clean &= is_clean;
            let outcome = if is_clean { "ok" } else { "NOT OK" };
            self.say(format_args!("   $ kith verify {}.db: {outcome}", side.name()))?;
            if !is_clean {
                self.say(format_args!("   {}", visible(&report.to_string())))?;
            }
            self.note(&format!("verify_{}", side.name()), report);
        }
        let verdicts = verdict::read(&self.laptop, plan, &self.tables, after_entry)?;
        self.tell(&verdicts)?;
        let holds = verdicts.contests.iter().all(|contest| contest.winner.is_some() && contest.is_later != Some(false));
        Ok(is_equal && are_clean && holds)
    }

    fn tell(&mut self, verdicts: &Verdicts) -> Result<()> {
        let (kept, of) = verdicts.different_cells;
        if of > 0 {
            self.say(format_args!("   {kept} of {of} rows changed in different cells hold both changes"))?;
        }
        let (gone, of) = verdicts.deletes_against_updates;
        if of > 0 {
            self.say(format_args!(
                "   {gone} of {of} rows deleted by one and changed by the other are gone: a delete wins"
            ))?;
        }
        let won = |side| verdicts.contests.iter().filter(|contest| contest.winner == Some(side)).count();
        if !verdicts.contests.is_empty() {
            self.say(format_args!(
                "   {} written by both: laptop won {}, phone won {}",
                human::counted(verdicts.contests.len() as u64, "cell"),
                won(Side::Laptop),
                won(Side::Phone)
            ))?;
        }
        for contest in &verdicts.contests {
            self.say(format_args!("     {}", contest.line()))?;
        }
        self.note("rows_with_both_changes", json!(kept));
        self.note("deletes_that_won", json!(gone));
        self.note("cells_written_by_both", verdicts.contests.iter().map(verdict::Contest::json).collect());
        Ok(())
    }

    /// Searches WordNet in the phone's file, and asks about the graph that it is; a database of the user's has other tables.
    fn ask(&mut self) -> Result<()> {
        let replica = Replica::open(self.path(Side::Phone), OpenOptions::default())?;
        let found = if graph::is_asked(replica.conn())? {
            let searched = search::ask(replica.conn())?;
            graph::ask(replica.conn())?.map(|graph| (searched, graph))
        } else {
            None
        };
        replica.close()?;
        let Some((searched, asked)) = found else { return Ok(()) };
        self.say("\n6. Searching WordNet, asked of phone.db in SQL")?;
        for line in searched.lines() {
            self.say(format_args!("   {}", visible(&line)))?;
        }
        self.note("search", searched.json());
        self.say("\n7. WordNet as a graph, asked of phone.db in SQL")?;
        let [hypernyms, path] = asked.lines();
        self.say(format_args!(
            "   kith_traverse along hypernyms from {}: {}",
            visible(&asked.chain[0]),
            visible(&hypernyms)
        ))?;
        self.say(format_args!("   kith_shortest_path, any relation: {}", visible(&path)))?;
        self.note("graph", asked.json());
        Ok(())
    }

    fn end(&mut self, is_proven: bool) -> Result<()> {
        self.note("proven", json!(is_proven));
        if self.output.json {
            let report = std::mem::take(&mut self.report);
            return Ok(self.output.line(Value::Object(report))?);
        }
        let (laptop, phone) = (shell_word(&self.laptop), shell_word(&self.phone));
        let table = shell_word(Path::new(&format!("SELECT * FROM {} LIMIT 5", quote(&self.tables[0].name))));
        let search = if self.report.contains_key("search") {
            format!(
                "\n  kith search {phone} synsets \"stringed instrument\"\n  \
                 kith search {phone} words \"vioiln\" --fuzzy lemma\n  \
                 kith graph {phone} neighbors wordnet n00001740"
            )
        } else {
            String::new()
        };
        self.say(format_args!(
            "\n{}\n\nTry next (the files stay where they are):\n  \
             sqlite3 {laptop} {table}\n  \
             kith sql {phone} {table}\n  \
             kith status {laptop}\n  \
             kith log {laptop} -n 5\n  \
             kith conflicts {phone}\n  \
             kith sync {laptop} --listen /ip4/127.0.0.1/udp/4700/quic-v1\n  \
             kith sync {phone} --peer /ip4/127.0.0.1/udp/4700/quic-v1       (in a second terminal){search}",
            if is_proven {
                "Both files hold the same."
            } else {
                "The two files are NOT the same: please report this, with the folder."
            }
        ))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

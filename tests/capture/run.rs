//! Runs a program on a replica and on plain SQLite side by side, and its entries on a second replica.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_int;

use kithdb_core::error::{SyncTableError, TableError};
use kithdb_core::replica::Replica;
use kithdb_tests::pair;
use rusqlite::{Connection, ffi};

use crate::changesets::Sessions;
use crate::program::{Program, Step, Storage};
use crate::statement::{Complaint, Row, Statement, run, write_blob};

/// How often a transaction may be left open by COMMIT before it is rolled back.
const COMMITS_MAX: usize = 2;
/// Every how manieth program has its changesets compared: SQLite's session is a hook on its side too, which the others go without.
const SESSIONS_EVERY: u64 = 2;

/// What a program showed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Statements whose outcome was compared.
    pub statements: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Statements that were refused with a documented reason.
    pub refused: u64,
    /// Programs that ran as in plain SQLite with a trigger on each synced table.
    pub as_with_triggers: u64,
    /// Rows compared on the second replica.
    pub rows: u64,
    /// Bytes of changesets and patchsets that were the same.
    pub changeset_bytes: u64,
}

/// Where a program showed something wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which law was broken.
    pub law: &'static str,
    /// How.
    pub detail: String,
}

/// The law that every program can begin.
pub const SETUP: &str = "setup";
const INVISIBLE: &str = "invisible";
const EQUAL_TABLES: &str = "equal tables";
const EQUAL_CHANGESETS: &str = "equal changesets";

fn broken(law: &'static str, detail: impl Into<String>) -> Failure {
    Failure { law, detail: detail.into() }
}

/// All that an application can see of a step.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    rows: Vec<Row>,
    complaint: Option<Complaint>,
    /// `last_insert_rowid()`, `changes()`, `total_changes()`, asked in SQL.
    counts: Result<Row, Complaint>,
    last_rowid: i64,
    autocommit: bool,
}

/// A connection with its open statements, which go first.
struct Side {
    cursors: BTreeMap<usize, Statement>,
    other: Option<Connection>,
}

impl Side {
    fn new(other: Option<Connection>) -> Self {
        Self { cursors: BTreeMap::new(), other }
    }

    fn run(&mut self, conn: &Connection, step: &Step) -> Seen {
        let (rows, complaint) = match step {
            Step::Sql(sql) => run(conn, sql, usize::MAX),
            Step::Reset(rows, sql) => run(conn, sql, *rows),
            Step::Open(cursor, sql) => {
                match self.close(conn, *cursor).map_or_else(|| Statement::prepare(conn, sql), Err) {
                    Ok(statement) => {
                        self.cursors.insert(*cursor, statement);
                        self.step(conn, *cursor, 1)
                    }
                    Err(complaint) => (Vec::new(), Some(complaint)),
                }
            }
            Step::More(cursor, rows) => self.step(conn, *cursor, *rows),
            Step::Close(cursor) => (Vec::new(), self.close(conn, *cursor)),
            Step::Blob { table, column, rowid, offset, bytes } => {
                (Vec::new(), write_blob(conn, table, column, *rowid, *offset, bytes).err())
            }
            Step::Other(sql) => match &self.other {
                Some(other) => run(other, sql, usize::MAX),
                None => (Vec::new(), None),
            },
            Step::Seal | Step::Deliver => (Vec::new(), None),
        };
        let mut rows = rows;
        if matches!(step, Step::Sql(sql) if sql == "PRAGMA foreign_key_check") {
            // SQLite goes through the tables in the order of its own hash table, and a replica has more of them.
            rows.sort();
        }
        self.look(conn, step.asks_changes(), rows, complaint)
    }

    fn has_open_writer(&self) -> bool {
        self.cursors.values().any(Statement::writes)
    }

    /// Ends an open statement; if it has written, this may be what commits.
    fn close(&mut self, conn: &Connection, cursor: usize) -> Option<Complaint> {
        self.cursors.remove(&cursor).and_then(|mut statement| statement.reset(conn).err())
    }

    fn step(&mut self, conn: &Connection, cursor: usize, rows: usize) -> (Vec<Row>, Option<Complaint>) {
        let mut out = Vec::new();
        let Some(statement) = self.cursors.get_mut(&cursor) else { return (out, None) };
        for _ in 0..rows {
            match statement.step(conn) {
                Ok(Some(row)) => out.push(row),
                Ok(None) => {
                    self.cursors.remove(&cursor);
                    break;
                }
                Err(complaint) => {
                    self.cursors.remove(&cursor);
                    return (out, Some(complaint));
                }
            }
        }
        (out, None)
    }

    fn look(&self, conn: &Connection, asks_changes: bool, mut rows: Vec<Row>, complaint: Option<Complaint>) -> Seen {
        let (mut counts, failed) = run(conn, "SELECT last_insert_rowid(), changes(), total_changes()", usize::MAX);
        if self.has_open_writer() {
            // In the midst of a statement with triggers, after a COMMIT, `changes()` may be that of the commit.
            counts.iter_mut().for_each(|row| row[1].clear());
            if asks_changes {
                rows.clear();
            }
        }
        Seen {
            rows,
            complaint,
            counts: failed.map_or_else(|| Ok(counts.pop().unwrap_or_default()), Err),
            last_rowid: conn.last_insert_rowid(),
            autocommit: conn.is_autocommit(),
        }
    }
}

/// Reads a number that SQL returns.
fn number(conn: &Connection, sql: &str) -> Result<i64, Failure> {
    let read = conn.query_row(sql, [], |row| row.get(0));
    read.map_err(|error| broken(SETUP, format!("at `{sql}`: {error}")))
}

/// Tells whether a step may be refused: it would change the schema of a synced table.
fn may_be_refused(program: &Program, step: &Step) -> bool {
    let Step::Sql(sql) = step else { return false };
    let mut words = sql.split_whitespace();
    let action = (words.next(), words.next());
    matches!(action, (Some("DROP" | "ALTER"), Some("TABLE")))
        && words.any(|word| program.synced.iter().any(|table| table.eq_ignore_ascii_case(word)))
}

/// Tells whether a commit was refused for a documented reason: a row without key, or one too large.
pub fn is_documented(complaint: &Complaint) -> bool {
    ["NULL in its PRIMARY KEY", "above the limit of"].iter().any(|reason| complaint.1.contains(reason))
}

/// Tells whether `last_insert_rowid()` may differ: VACUUM leaves the number of schema objects there, and a replica has more of them;
/// an INSERT that a foreign key refuses leaves the number of the row there if the table has triggers.
fn is_rowid_open(step: &Step, seen: &Seen, expected: &Seen) -> bool {
    let codes = [seen, expected].map(|seen| seen.complaint.as_ref().map(|complaint| complaint.0));
    matches!(step, Step::Sql(sql) if sql == "VACUUM") || codes == [Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY); 2]
}

/// The connections of one run. The plain side goes on until the replica refuses what plain SQLite takes.
struct Bench {
    /// They go before `plain`.
    sessions: Option<Sessions>,
    replica_side: Side,
    plain_side: Side,
    replica: Replica,
    reader: Replica,
    plain: Connection,
    is_compared: bool,
    tally: Tally,
    _folder: Option<tempfile::TempDir>,
}

/// Runs a program; says which law it broke, if any.
///
/// A synced table has triggers, for other programs. Triggers that do nothing still make SQLite meet the rows of a statement in
/// another order, leave the number of a refused row in `last_insert_rowid()`, or nest one level deeper. So where a replica differs
/// from plain SQLite it must not differ from plain SQLite with such triggers.
pub fn check(program: &Program, seed: u64) -> Result<Tally, Failure> {
    match check_against(program, seed, false) {
        Err(failure) if [INVISIBLE, EQUAL_TABLES, EQUAL_CHANGESETS].contains(&failure.law) => {
            let tally = check_against(program, seed, true).map_err(|_| failure)?;
            Ok(Tally { as_with_triggers: 1, ..tally })
        }
        outcome => outcome,
    }
}

fn check_against(program: &Program, seed: u64, with_triggers: bool) -> Result<Tally, Failure> {
    let mut bench = Bench::open(program, seed)?;
    if !bench.set_up(program)? {
        return Ok(Tally { refused: 1, ..Tally::default() });
    }
    if with_triggers {
        bench.add_triggers(program)?;
    }
    if seed.is_multiple_of(SESSIONS_EVERY) {
        bench.begin_sessions(program)?;
    }
    for step in &program.steps {
        // With sessions: of one table, for SQLite goes through all in the order of its own hash table, and a replica has more of them.
        let step = match step {
            Step::Sql(sql) if bench.sessions.is_some() && sql == "ANALYZE" => &Step::Sql("ANALYZE audit".to_owned()),
            Step::Sql(sql) if bench.sessions.is_some() && sql == "PRAGMA optimize" => continue,
            step => step,
        };
        bench
            .step(program, step)
            .map_err(|failure| Failure { detail: format!("at `{step}`: {}", failure.detail), ..failure })?;
    }
    bench.finish(program)
}

impl Bench {
    fn open(program: &Program, seed: u64) -> Result<Self, Failure> {
        let failed = |error: rusqlite::Error| broken(SETUP, error.to_string());
        let folder = match program.storage {
            Storage::Memory => None,
            _ => Some(tempfile::tempdir().map_err(|error| broken(SETUP, error.to_string()))?),
        };
        let path = |name: &str| folder.as_ref().map(|folder| folder.path().join(name));
        let mut replica = pair::found(path("replica.db").as_deref(), seed);
        let reader = pair::join(&mut replica, seed.wrapping_add(1));
        let plain = match path("plain.db") {
            Some(path) => Connection::open(path).map_err(failed)?,
            None => Connection::open_in_memory().map_err(failed)?,
        };
        // The same as a replica sets, so that only capture differs.
        plain.set_prepared_statement_cache_capacity(16);
        plain.busy_timeout(std::time::Duration::ZERO).map_err(failed)?;
        let mode = if program.storage == Storage::Journal { "DELETE" } else { "WAL" };
        for conn in [replica.conn(), &plain] {
            if folder.is_some() {
                conn.pragma_update_and_check(None, "journal_mode", mode, |_| Ok(())).map_err(failed)?;
                conn.pragma_update(None, "synchronous", "OFF").map_err(failed)?;
            }
        }
        let other = |name: &str| -> Result<Option<Connection>, Failure> {
            let Some(path) = path(name) else { return Ok(None) };
            let conn = Connection::open(path).map_err(failed)?;
            conn.busy_timeout(std::time::Duration::ZERO).map_err(failed)?;
            Ok(Some(conn))
        };
        Ok(Self {
            replica_side: Side::new(other("replica.db")?),
            plain_side: Side::new(other("plain.db")?),
            replica,
            reader,
            plain,
            is_compared: true,
            sessions: None,
            tally: Tally::default(),
            _folder: folder,
        })
    }

    /// Runs what comes before sync, and syncs; says whether the tables were taken in.
    fn set_up(&mut self, program: &Program) -> Result<bool, Failure> {
        for (index, sql) in program.setup.iter().enumerate() {
            let (ours, plain) = (run(self.replica.conn(), sql, usize::MAX), run(&self.plain, sql, usize::MAX));
            if ours != plain || (sql.starts_with("CREATE") && plain.1.is_some()) {
                return Err(broken(SETUP, format!("at `{sql}`: {ours:?} and {plain:?}")));
            }
            if index == 0 {
                self.even_counters()?;
            }
        }
        let before = self.replica_side.look(self.replica.conn(), false, Vec::new(), None);
        for table in &program.synced {
            match self.replica.sync_table(table) {
                // Documented: such a row has no name elsewhere.
                Err(SyncTableError::Table(TableError::NullKeys { .. })) => return Ok(false),
                Err(error) => return Err(broken(SETUP, format!("at sync of {table}: {error}"))),
                Ok(_) => {}
            }
        }
        let after = self.replica_side.look(self.replica.conn(), false, Vec::new(), None);
        if before != after {
            return Err(broken("sync is invisible", format!("before {before:?}, after {after:?}")));
        }
        self.note("begin").map(|()| true)
    }

    /// Runs a statement that sets all counters, on both sides.
    fn note(&self, note: &str) -> Result<(), Failure> {
        for conn in [self.replica.conn(), &self.plain] {
            let noted = conn.execute("INSERT INTO audit(note) VALUES(?1)", [note]);
            noted.map_err(|error| broken(INVISIBLE, format!("audit could not be written: {error}")))?;
        }
        Ok(())
    }

    /// Gives the plain database the triggers that synced tables have.
    fn add_triggers(&self, program: &Program) -> Result<(), Failure> {
        for table in &program.synced {
            for event in ["INSERT", "UPDATE", "DELETE"] {
                let sql = format!(
                    "CREATE TRIGGER same_{table}_{event} AFTER {event} ON {table} WHEN NOT sqlite_compileoption_used('ENABLE_PREUPDATE_HOOK')
                     BEGIN INSERT INTO audit(note) VALUES(1); END"
                );
                self.plain.execute_batch(&sql).map_err(|error| broken(SETUP, error.to_string()))?;
            }
        }
        Ok(())
    }

    /// Brings the counters of both sides to the same values: founding a workspace has counted too.
    fn even_counters(&mut self) -> Result<(), Failure> {
        self.note("even")?;
        let ours = number(self.replica.conn(), "SELECT total_changes()")?;
        while number(&self.plain, "SELECT total_changes()")? < ours {
            let again = self.plain.execute("UPDATE audit SET note = note WHERE id = (SELECT max(id) FROM audit)", []);
            again.map_err(|error| broken(SETUP, error.to_string()))?;
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.replica.conn().is_autocommit() && self.replica_side.cursors.is_empty()
    }

    fn step(&mut self, program: &Program, step: &Step) -> Result<(), Failure> {
        // Inside a transaction it would take a lock that the program has not asked for.
        if self.replica.is_stale() && self.replica.conn().is_autocommit() {
            match self.replica.reload_registry() {
                // Then the statement has its say, and the commit looks again.
                Err(error) if error.is_busy() => {}
                outcome => drop(outcome.map_err(|error| broken("registry", error.to_string()))?),
            }
        }
        match step {
            Step::Seal if self.is_idle() && !self.other_is_busy() => self.sealing_is_invisible(),
            Step::Deliver if self.is_idle() && !self.other_is_busy() => {
                pair::deliver(&mut self.replica, &mut self.reader).map_err(|detail| broken("delivery", detail))?;
                self.compare_readers(program)
            }
            Step::Seal | Step::Deliver => self.compare_changesets(),
            step => self.run(program, step),
        }
    }

    fn begin_sessions(&mut self, program: &Program) -> Result<(), Failure> {
        let sessions = Sessions::begin(&self.replica, &self.plain, program.synced.first());
        self.sessions = Some(sessions.map_err(|detail| broken(SETUP, detail))?);
        Ok(())
    }

    fn compare_changesets(&mut self) -> Result<(), Failure> {
        if let Some(sessions) = self.sessions.as_ref().filter(|_| self.is_compared) {
            self.tally.changeset_bytes +=
                sessions.compare(&self.replica).map_err(|detail| broken(EQUAL_CHANGESETS, detail))?;
        }
        Ok(())
    }

    fn other_is_busy(&self) -> bool {
        self.replica_side.other.as_ref().is_some_and(|other| !other.is_autocommit())
    }

    fn sealing_is_invisible(&mut self) -> Result<(), Failure> {
        let before = self.replica_side.look(self.replica.conn(), false, Vec::new(), None);
        pair::seal_all(&mut self.replica).map_err(|detail| broken("sealing", detail))?;
        let after = self.replica_side.look(self.replica.conn(), false, Vec::new(), None);
        if before == after {
            Ok(())
        } else {
            Err(broken("sealing is invisible", format!("before {before:?}, after {after:?}")))
        }
    }

    fn run(&mut self, program: &Program, step: &Step) -> Result<(), Failure> {
        let seen = self.replica_side.run(self.replica.conn(), step);
        if std::env::var_os("KITH_CAPTURE_TRACE").is_some() {
            println!("{step}\n  {seen:?}");
        }
        if let Some(complaint) = &seen.complaint {
            if complaint.0 == ffi::SQLITE_AUTH && may_be_refused(program, step) {
                self.tally.refused += 1;
                return Ok(());
            }
            if is_documented(complaint) {
                self.tally.refused += 1;
                self.is_compared = false;
            }
        }
        if matches!(step, Step::Sql(sql) if sql.starts_with("BEGIN")) && self.replica_side.has_open_writer() {
            // SQLite then takes a later statement for the open one, and undoes more or less than the one that fails, depending on
            // what else the connection has run: what is captured must be what happened, whatever that is.
            self.is_compared = false;
        }
        if !self.is_compared {
            return Ok(());
        }
        let expected = self.plain_side.run(&self.plain, step);
        self.tally.statements += 1;
        self.tally.failed += u64::from(expected.complaint.is_some());
        if seen == expected {
            return Ok(());
        }
        if is_rowid_open(step, &seen, &expected) {
            return self.compare_without_rowid(seen, expected);
        }
        Err(broken(INVISIBLE, format!("the replica shows {seen:?}, plain SQLite shows {expected:?}")))
    }

    fn compare_without_rowid(&mut self, mut seen: Seen, mut expected: Seen) -> Result<(), Failure> {
        for side in [&mut seen, &mut expected] {
            side.last_rowid = 0;
            if let Ok(counts) = &mut side.counts {
                counts.remove(0);
            }
        }
        if seen != expected {
            return Err(broken(INVISIBLE, format!("the replica shows {seen:?}, plain SQLite shows {expected:?}")));
        }
        self.note("again")
    }

    fn finish(mut self, program: &Program) -> Result<Tally, Failure> {
        // One by one, and seen: the end of a statement that has written may be what commits it.
        let open: BTreeSet<usize> =
            self.replica_side.cursors.keys().chain(self.plain_side.cursors.keys()).copied().collect();
        for cursor in open {
            self.run(program, &Step::Close(cursor))?;
        }
        self.plain_side.cursors.clear();
        for side in [&self.replica_side, &self.plain_side] {
            if let Some(other) = side.other.as_ref().filter(|other| !other.is_autocommit()) {
                other.execute_batch("ROLLBACK").map_err(|error| broken("end", error.to_string()))?;
            }
        }
        for _ in 0..COMMITS_MAX {
            if !self.replica.conn().is_autocommit() || !self.plain.is_autocommit() {
                self.run(program, &Step::Sql("COMMIT".to_owned()))?;
            }
        }
        if !self.replica.conn().is_autocommit() {
            self.run(program, &Step::Sql("ROLLBACK".to_owned()))?;
        }
        if self.is_compared {
            self.compare_with_plain()?;
            self.compare_changesets()?;
        }
        pair::deliver(&mut self.replica, &mut self.reader).map_err(|detail| broken("delivery", detail))?;
        if self.is_compared {
            self.compare_with_plain()?;
        }
        self.compare_readers(program)?;
        if self.is_sound()? {
            self.verify()?;
        }
        Ok(self.tally)
    }

    /// Tells whether plain SQLite finds nothing wrong with what it made of the program itself.
    fn is_sound(&self) -> Result<bool, Failure> {
        let (rows, complaint) = run(&self.plain, "PRAGMA integrity_check", usize::MAX);
        match complaint {
            Some(complaint) => Err(broken("readable", format!("{complaint:?}"))),
            None => Ok(rows == [["text ok"]] || !self.is_compared),
        }
    }

    fn verify(&mut self) -> Result<(), Failure> {
        pair::verify(&mut self.replica).map_err(|detail| broken("verify on the writer", detail))?;
        pair::verify(&mut self.reader).map_err(|detail| broken("verify on the reader", detail))
    }

    fn compare_with_plain(&self) -> Result<(), Failure> {
        let tables = user_tables(&self.plain)?;
        let there = user_tables(self.replica.conn())?;
        if tables != there {
            return Err(broken("equal schemas", format!("the replica has {there:?}, plain SQLite has {tables:?}")));
        }
        for (table, has_rowid) in tables {
            let ours = dump(self.replica.conn(), &table, has_rowid)?;
            let plain = dump(&self.plain, &table, has_rowid)?;
            if ours != plain {
                return Err(broken(
                    EQUAL_TABLES,
                    difference(&table, "on the replica", &ours, "on plain SQLite", &plain),
                ));
            }
        }
        Ok(())
    }

    fn compare_readers(&mut self, program: &Program) -> Result<(), Failure> {
        for table in &program.synced {
            let written = dump(self.replica.conn(), table, false)?;
            let arrived = dump(self.reader.conn(), table, false)?;
            if written != arrived {
                return Err(broken(
                    "captured",
                    difference(table, "where it was written", &written, "where it arrived", &arrived),
                ));
            }
            self.tally.rows += arrived.len() as u64;
        }
        Ok(())
    }
}

/// Lists the user's tables and whether they have rowids.
fn user_tables(conn: &Connection) -> Result<Vec<(String, bool)>, Failure> {
    let sql = "SELECT name, NOT wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table'
               AND name NOT LIKE 'kith\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_s%' ESCAPE '\\' ORDER BY name";
    let read = || -> rusqlite::Result<Vec<(String, bool)>> {
        conn.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    read().map_err(|error| broken("equal schemas", error.to_string()))
}

/// Reads all rows of a table, sorted.
pub fn dump(conn: &Connection, table: &str, with_rowid: bool) -> Result<Vec<Row>, Failure> {
    let columns = if with_rowid { "_rowid_, *" } else { "*" };
    let (mut rows, complaint): (Vec<Row>, Option<(c_int, String)>) =
        run(conn, &format!("SELECT {columns} FROM main.{table}"), usize::MAX);
    match complaint {
        Some(complaint) => Err(broken("readable", format!("{table}: {complaint:?}"))),
        None => {
            rows.sort();
            Ok(rows)
        }
    }
}

/// Shows the rows that only one of two tables has.
fn difference(table: &str, here: &str, ours: &[Row], there: &str, theirs: &[Row]) -> String {
    let only = |rows: &[Row], others: &[Row]| {
        let rows: Vec<_> = rows.iter().filter(|row| !others.contains(row)).take(5).collect();
        format!("{rows:?}")
    };
    format!("{table} has {} {here}, {} {there}", only(ours, theirs), only(theirs, ours))
}

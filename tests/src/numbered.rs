//! Numbered transactions over two synced tables: after a crash it shows at once what is missing and what is half there.

use std::collections::BTreeMap;

use kithdb_core::error::StatementError;
use kithdb_core::replica::Replica;
use rusqlite::{Connection, params};

use crate::random::Random;

/// The tables; the row 0 of `b` names the last transaction of several rows.
pub const SCHEMA: &str =
    "CREATE TABLE a(id TEXT PRIMARY KEY, tx INT NOT NULL, part INT NOT NULL, parts INT NOT NULL, d);
    CREATE TABLE b(id INTEGER PRIMARY KEY, tx INT NOT NULL, part INT NOT NULL, parts INT NOT NULL, d);";
/// Their names.
pub const TABLES: [&str; 2] = ["a", "b"];
/// The most rows of a transaction.
pub const ROWS_MAX: usize = 50;

/// Makes the tables and syncs them.
pub fn create(replica: &mut Replica) {
    replica.execute_batch(SCHEMA).expect("the tables can be made");
    replica.execute("INSERT INTO b VALUES(0, 0, 0, 0, NULL)", []).expect("the first row can be written");
    for table in TABLES {
        replica.sync_table(table).expect("the tables can be synced");
    }
}

/// Writes transaction `n` of up to `rows_max` rows; after an error nothing of it is left open.
pub fn write(replica: &mut Replica, n: u64, rows_max: usize, random: &mut Random) -> Result<(), StatementError> {
    if random.percent(25) {
        let data = vec![n as u8; random.below(600)];
        return replica
            .execute("INSERT INTO a VALUES(?1, ?2, 0, 1, ?3)", params![format!("auto {n}"), n as i64, data])
            .map(drop);
    }
    let written = write_parts(replica, n, rows_max, random);
    if written.is_err() && !replica.conn().is_autocommit() {
        // The first error is the one to report.
        let _ = replica.execute_batch("ROLLBACK");
    }
    written
}

fn write_parts(replica: &mut Replica, n: u64, rows_max: usize, random: &mut Random) -> Result<(), StatementError> {
    let parts = random.between(1, rows_max);
    replica.execute_batch("BEGIN")?;
    for part in 1..=parts {
        if random.percent(4) {
            // What is rolled back must be in no record.
            replica.execute_batch("SAVEPOINT s")?;
            replica.execute("INSERT INTO a VALUES('phantom', 0, 0, 0, 0)", [])?;
            replica.execute_batch("ROLLBACK TO s; RELEASE s")?;
        }
        let data = "x".repeat(random.below(120));
        let (n, part, parts) = (n as i64, part as i64, parts as i64);
        if random.percent(50) {
            replica.execute(
                "INSERT INTO a VALUES(?1, ?2, ?3, ?4, ?5)",
                params![format!("{n}/{part}"), n, part, parts, data],
            )?;
        } else {
            replica
                .execute("INSERT INTO b VALUES(?1, ?2, ?3, ?4, ?5)", params![n * 100 + part, n, part, parts, data])?;
        }
    }
    replica.execute("UPDATE b SET tx = ?1 WHERE id = 0", [n as i64])?;
    replica.execute_batch("COMMIT")
}

/// Returns the number of the last transaction, if all up to it are there and each is whole.
pub fn last_whole(conn: &Connection) -> Result<u64, String> {
    let failed = |error: rusqlite::Error| format!("the tables cannot be read: {error}");
    let sql = "SELECT tx, min(parts), max(parts), count(*), max(part) FROM
        (SELECT tx, part, parts FROM a UNION ALL SELECT tx, part, parts FROM b WHERE id <> 0) GROUP BY tx ORDER BY tx";
    let mut statement = conn.prepare(sql).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let (mut last, mut last_of_several) = (0, 0);
    while let Some(row) = rows.next().map_err(failed)? {
        let read = |column| row.get::<_, i64>(column).map_err(failed);
        let (tx, parts, parts_max, count, part) = (read(0)?, read(1)?, read(2)?, read(3)?, read(4)?);
        if tx != last + 1 {
            return Err(format!("transaction {} is missing, {tx} is there", last + 1));
        }
        if parts != parts_max || parts != count {
            return Err(format!("{count} of {parts} rows of transaction {tx} are there"));
        }
        last = tx;
        if part > 0 {
            last_of_several = tx;
        }
    }
    let noted: i64 = conn.query_row("SELECT tx FROM b WHERE id = 0", [], |row| row.get(0)).map_err(failed)?;
    if noted != last_of_several {
        return Err(format!("the update of transaction {last_of_several} is missing, that of {noted} is there"));
    }
    Ok(last as u64)
}

/// Reads all rows of the tables, to compare replicas by.
pub fn dump(conn: &Connection) -> Result<BTreeMap<String, String>, String> {
    let sql = "SELECT 'a ' || quote(id), quote(tx) || quote(part) || quote(parts) || quote(d) FROM a
        UNION ALL SELECT 'b ' || quote(id), quote(tx) || quote(part) || quote(parts) || quote(d) FROM b";
    let read = || -> rusqlite::Result<BTreeMap<String, String>> {
        conn.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    read().map_err(|error| format!("the tables cannot be read: {error}"))
}

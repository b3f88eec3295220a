//! A COMMIT that fails with BUSY after capture has written its record, and what may follow.

use kithdb_core::replica::Replica;
use kithdb_tests::random::Random;
use kithdb_tests::{numbered, pair};
use rusqlite::{Connection, ErrorCode};

use crate::law::Witness;

const STEPS_MAX: usize = 14;

/// What happened.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub transactions: u64,
    pub busy: u64,
}

/// Runs random transactions whose COMMIT meets a reader, on one file; checks each on a peer.
pub fn run(seed: u64, transactions: u64) -> Result<Tally, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("x.db");
    let mut random = Random::new(seed);
    let mut replica = pair::found(Some(&path), seed);
    // A reader keeps a writer from committing only where there is a rollback journal.
    replica
        .conn()
        .pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
        .map_err(|error| error.to_string())?;
    replica.conn().pragma_update(None, "synchronous", "OFF").map_err(|error| error.to_string())?;
    numbered::create(&mut replica);
    let mut witness = Witness::new(&mut replica, seed.wrapping_add(1));
    let reader = Connection::open(&path).map_err(|error| error.to_string())?;
    let mut tally = Tally::default();
    while tally.transactions < transactions {
        // It reads before the first write: after a COMMIT that was BUSY no new reader is let in.
        reader.execute_batch("BEGIN; SELECT count(*) FROM a").map_err(|error| error.to_string())?;
        let busy = one(&mut replica, &reader, &mut random)
            .map_err(|error| format!("transaction {}: {error}", tally.transactions))?;
        tally.busy += busy;
        tally.transactions += 1;
        witness
            .check_equal(&mut replica)
            .map_err(|error| format!("after transaction {}: {error}", tally.transactions))?;
    }
    pair::verify(&mut replica)?;
    Ok(tally)
}

/// One transaction; returns how often its COMMIT was refused. Plain SQL beside it says what the table must be.
fn one(replica: &mut Replica, reader: &Connection, random: &mut Random) -> Result<u64, String> {
    let failed = |error: rusqlite::Error| error.to_string();
    let before = numbered::dump(replica.conn())?;
    let mut busy = 0;
    let mut savepoints = 0;
    replica.execute_batch("BEGIN").map_err(|error| error.to_string())?;
    write(replica.conn(), random).map_err(failed)?;
    for _ in 0..random.between(1, STEPS_MAX) {
        if replica.conn().is_autocommit() {
            return Err("the transaction has ended by itself".to_owned());
        }
        match random.below(10) {
            0..=3 => write(replica.conn(), random).map_err(failed)?,
            4 | 5 => {
                replica.conn().execute_batch(&format!("SAVEPOINT s{savepoints}")).map_err(failed)?;
                savepoints += 1;
            }
            6 if savepoints > 0 => {
                let to = random.below(savepoints);
                replica.conn().execute_batch(&format!("ROLLBACK TO s{to}")).map_err(failed)?;
                savepoints = to + 1;
            }
            7 if savepoints > 0 => {
                let to = random.below(savepoints);
                replica.conn().execute_batch(&format!("RELEASE s{to}")).map_err(failed)?;
                savepoints = to;
            }
            _ => {
                match replica.conn().execute_batch("COMMIT") {
                    Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => busy += 1,
                    Err(error) => return Err(error.to_string()),
                    // Nothing was left to write.
                    Ok(()) => return reader.execute_batch("COMMIT").map(|()| busy).map_err(failed),
                }
                if replica.conn().is_autocommit() {
                    return Err("a COMMIT that was BUSY ended the transaction".to_owned());
                }
            }
        }
    }
    reader.execute_batch("COMMIT").map_err(failed)?;
    if random.percent(25) {
        replica.conn().execute_batch("ROLLBACK").map_err(failed)?;
        return if numbered::dump(replica.conn())? == before {
            Ok(busy)
        } else {
            Err("ROLLBACK left something".to_owned())
        };
    }
    let written = numbered::dump(replica.conn())?;
    replica.conn().execute_batch("COMMIT").map_err(failed)?;
    if numbered::dump(replica.conn())? == written { Ok(busy) } else { Err("COMMIT changed something".to_owned()) }
}

fn write(conn: &Connection, random: &mut Random) -> rusqlite::Result<()> {
    let (key, value) = (random.below(6), random.below(1000));
    let sql = match random.below(5) {
        0 => format!("DELETE FROM a WHERE id = 'k{key}'"),
        1 => format!("UPDATE OR REPLACE a SET id = 'k{}' WHERE id = 'k{key}'", random.below(6)),
        2 => format!("UPDATE b SET d = {value} WHERE id = {key}"),
        3 => format!("REPLACE INTO b VALUES({key}, 1, 1, 1, {value})"),
        _ => format!("REPLACE INTO a VALUES('k{key}', 1, 1, 1, {value})"),
    };
    conn.execute(&sql, []).map(drop)
}

//! Verifying a table part by part finds in every part what verifying it whole finds.

use std::collections::BTreeSet;

use kithdb_log::Role;

use super::*;
use crate::apply::ApplyBudget;
use crate::join::JoinOptions;
use crate::replica::InitOptions;

/// How many rows are wrong in each way: so many that each part has some, and so few that each names all.
const ROWS: usize = 80;
const PARTS: u64 = 5;

/// Verifies a table in parts and returns what was found in each.
fn problems_by_part(replica: &Replica, lives_max: u64) -> Vec<BTreeSet<String>> {
    let table = replica.registry.by_name("t").unwrap();
    let division = Division::new(replica, table, lives_max).unwrap();
    let verify = |part| {
        let mut report = VerifyReport::default();
        let expected = division.replay(part).unwrap();
        replica.verify_part(table, &division, part, &expected, &mut report, &mut || {}).unwrap();
        assert_eq!(report.unnamed, 0);
        report.problems.iter().map(ToString::to_string).collect()
    };
    (0..division.parts()).map(verify).collect()
}

/// Writes rows whose names begin with a letter; those of `m` move on to `w`.
fn fill(replica: &mut Replica) -> u64 {
    replica.execute_batch("CREATE TABLE t(id TEXT PRIMARY KEY, a, b); SELECT kith_sync('t'); BEGIN").unwrap();
    for letter in ["c", "d", "p", "m"] {
        for row in 0..ROWS {
            replica.execute("INSERT INTO t VALUES(?1, 1, 2)", [format!("{letter}{row}")]).unwrap();
        }
    }
    replica
        .execute_batch("COMMIT; DELETE FROM t WHERE id GLOB 'p*'; UPDATE t SET id = 'w' || id WHERE id GLOB 'm*'")
        .unwrap();
    while replica.seal(SealBudget::default()).unwrap().more {}
    5 * ROWS as u64
}

#[test]
fn every_part_names_what_is_wrong_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut replica = Replica::init(&path, InitOptions::new("here")).unwrap();
    let lives_max = fill(&mut replica).div_ceil(PARTS);
    assert_eq!(problems_by_part(&replica, lives_max), vec![BTreeSet::new(); PARTS as usize]);

    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch(
            "UPDATE t SET a = 3 WHERE id GLOB 'c*'; DELETE FROM t WHERE id GLOB 'd*';
             UPDATE kith_parked SET state = x'ff' WHERE instr(key, x'70')",
        )
        .unwrap();
    for row in 0..ROWS {
        other.execute("INSERT INTO t VALUES(?1, 1, 2)", [format!("n{row}")]).unwrap();
    }
    let kinds = [
        ("c", "column a was changed by another program"),
        ("d", "the row was deleted by another program"),
        ("n", "the row was added by another program"),
        ("p", "a parked life is damaged"),
    ];
    let found = problems_by_part(&replica, lives_max);
    assert_eq!(found.len() as u64, PARTS);
    for (letter, what) in kinds {
        for part in &found {
            assert!(part.iter().any(|problem| problem.ends_with(what)), "{what}: {part:?}");
        }
        let expected: BTreeSet<String> = (0..ROWS).map(|row| format!("table t, row '{letter}{row}': {what}")).collect();
        let named: Vec<&String> = found.iter().flatten().filter(|problem| problem.ends_with(what)).collect();
        assert_eq!(named.len(), ROWS, "{what}: no problem is named twice");
        assert_eq!(named.into_iter().cloned().collect::<BTreeSet<_>>(), expected);
    }
    assert_eq!(found.iter().flatten().count(), kinds.len() * ROWS);
    for lives_max in [1, lives_max, LIVES_MAX] {
        let report = replica.verify_in_parts(lives_max, |_, _, _| {}).unwrap();
        assert_eq!(report.problems.len() as u64 + report.unnamed, (kinds.len() * ROWS) as u64);
        assert_eq!((report.rows, report.parked), (3 * ROWS as u64, 2 * ROWS as u64));
    }
}

#[test]
fn one_row_is_mended_from_its_own_part_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut replica = Replica::init(&path, InitOptions::new("here")).unwrap();
    fill(&mut replica);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("UPDATE t SET a = 3, b = 4 WHERE id = 'wm7'; UPDATE t SET a = 3 WHERE id = 'c7'").unwrap();
    replica.rebuild_row("t", &ValueRef::Text(b"wm7").to_encoded()).unwrap();
    let report = replica.verify(|_, _, _| {}).unwrap();
    let named: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert_eq!(named, ["table t, row 'c7': column a was changed by another program"]);
}

#[test]
fn late_edits_follow_moved_rows_in_every_division() {
    let mut one = Replica::open_memory(InitOptions::new("one")).unwrap();
    let ticket = one.invite(Role::Writer, u64::MAX >> 16, Vec::new()).unwrap();
    let pending = Replica::prepare_join_memory(&ticket, JoinOptions::new("two")).unwrap();
    one.admit(&pending.request().unwrap(), 0).unwrap();
    let operations: Vec<_> = one.membership().operations().cloned().collect();
    let mut two = pending.complete(&operations).unwrap();
    fill(&mut one);
    tell(&mut one, &mut two);
    one.execute("UPDATE t SET id = 'x' || id WHERE id GLOB 'w*'", []).unwrap();
    one.execute("UPDATE t SET id = 'y' || id WHERE id GLOB 'x*'", []).unwrap();
    two.execute("UPDATE t SET a = 'late' WHERE id GLOB 'w*'", []).unwrap();
    tell(&mut one, &mut two);
    tell(&mut two, &mut one);
    for replica in [&mut one, &mut two] {
        let sql = "SELECT count(*) FROM t WHERE a = 'late' AND id GLOB 'yx*'";
        assert_eq!(replica.query(sql, [], |row| row.get::<_, i64>(0)).unwrap(), [ROWS as i64]);
        for lives_max in [1, 7, 100] {
            assert!(problems_by_part(replica, lives_max).iter().all(BTreeSet::is_empty));
        }
    }
}

fn tell(from: &mut Replica, to: &mut Replica) {
    while from.seal(SealBudget::default()).unwrap().more {}
    let known = to.sync_state().unwrap();
    for stream in from.sync_state().unwrap().streams {
        let height =
            known.streams.iter().find(|other| other.id == stream.id).map_or_else(Default::default, |it| it.height);
        if height < stream.height {
            to.store_entries(&from.load_entries(&stream.id, height.next(), usize::MAX).unwrap()).unwrap();
        }
    }
    while to.apply_stored(ApplyBudget::default()).unwrap().more {}
}

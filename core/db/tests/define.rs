//! Which tables can be synced, how their definitions are read, and what a peer's definition may do.

use kithdb_core::define::CreateOutcome;
use kithdb_core::registry::TableState;
use kithdb_core::replica::{InitOptions, OpenOptions, Replica};
use kithdb_core::sources::Entropy;
use kithdb_log::{Affinity, Collation, KeyKind, TableId, TableSchema};

fn memory(seed: u64) -> Replica {
    let open = OpenOptions { entropy: Entropy::seeded(seed), ..OpenOptions::default() };
    Replica::open_memory(InitOptions { device_name: format!("device {seed}"), open }).unwrap()
}

fn with(sql: &str) -> Replica {
    let replica = memory(1);
    replica.conn().execute_batch(sql).unwrap();
    replica
}

#[track_caller]
fn check_refusal(sql: &str, table: &str, expected: &str) {
    let mut replica = with(sql);
    assert_eq!(replica.sync_table(table).unwrap_err().to_string(), expected);
    let message = replica.conn().query_row("SELECT kith_sync(?1)", [table], |_| Ok(())).unwrap_err().to_string();
    assert_eq!(message, expected);
    assert!(replica.registry().tables().is_empty());
    let left: i64 = replica
        .conn()
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'kith__rows%' OR type = 'trigger'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn unfit_tables_are_refused_with_the_remedy() {
    check_refusal("", "notes", r#"there is no table "notes"; create it first"#);
    check_refusal(
        "CREATE TABLE t(a, b)",
        "t",
        r#"table "t" has no PRIMARY KEY, so other devices could not tell its rows apart; create it anew with one, such as `id INTEGER PRIMARY KEY`, and copy the rows"#,
    );
    check_refusal("CREATE VIEW v AS SELECT 1", "v", r#""v" is a view; sync the tables it reads from"#);
    check_refusal(
        "CREATE VIRTUAL TABLE f USING fts5(a)",
        "f",
        r#""f" is a virtual table, whose own rows stay in this file; sync the ordinary table it is made from, or copy them into one, and create the virtual table on every device"#,
    );
    check_refusal(
        "CREATE VIRTUAL TABLE f USING fts5(a)",
        "f_data",
        r#""f_data" belongs to a virtual table, whose own rows stay in this file; sync the ordinary table that one is made from, or copy them into one"#,
    );
    check_refusal(
        "CREATE TEMP TABLE x(id INTEGER PRIMARY KEY)",
        "x",
        r#""x" is a TEMP table, which ends with the connection; create it without TEMP to sync it"#,
    );
    check_refusal(
        "CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "sqlite_sequence",
        r#""sqlite_sequence" belongs to SQLite or KithDB and is never synced; sync a table of your own"#,
    );
    check_refusal(
        "",
        "kith__meta",
        r#""kith__meta" belongs to SQLite or KithDB and is never synced; sync a table of your own"#,
    );
    check_refusal(
        "CREATE TABLE n(id TEXT PRIMARY KEY); INSERT INTO n VALUES('a'),(NULL),(NULL)",
        "n",
        r#"table "n" has 2 rows with NULL in the primary key, which names no row elsewhere; give them a key or delete them"#,
    );
    check_refusal(
        "CREATE TABLE d(a, b, PRIMARY KEY(a, a COLLATE NOCASE))",
        "d",
        r#"table "d" has column "a" twice in its PRIMARY KEY; create it anew with each column once"#,
    );
    check_refusal(
        "CREATE TABLE big(id INTEGER PRIMARY KEY, a, b); INSERT INTO big VALUES(1, zeroblob(50<<20), zeroblob(50<<20)), (2, 1, 2)",
        "big",
        r#"table "big" has 1 row above the limits of 64 MiB a value, 96 MiB a row and 1 MiB a key; store them elsewhere first"#,
    );
}

#[test]
fn unknown_collations_are_refused_by_name() {
    let mut replica = memory(1);
    // A file from a program that registers a collation of its own looks like this to us.
    replica
        .conn()
        .execute_batch(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, 'a TEXT', 'a TEXT COLLATE german') WHERE name = 't';
             PRAGMA writable_schema = RESET;",
        )
        .unwrap();
    assert_eq!(
        replica.sync_table("t").unwrap_err().to_string(),
        r#"column "a" of table "t" uses the collation german, which other devices may not have; use BINARY, NOCASE or RTRIM"#
    );
}

#[test]
fn options_are_refused_clearly() {
    let replica = with("CREATE TABLE t(id INTEGER PRIMARY KEY)");
    let error = replica.conn().query_row(r#"SELECT kith_sync('t', '{"tags":"x"}')"#, [], |_| Ok(())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "kith_sync takes no options in this version; call kith_sync('t') to sync the whole table"
    );
}

#[test]
fn every_kind_of_key_is_read() {
    let sql = r#"
        CREATE TABLE auto(id INTEGER PRIMARY KEY, a);
        CREATE TABLE "not auto"(id INTEGER PRIMARY KEY DESC, a);
        CREATE TABLE "int"(id INT PRIMARY KEY, a);
        CREATE TABLE wr(a TEXT COLLATE NOCASE, b REAL, c, d, PRIMARY KEY(c, a, b)) WITHOUT ROWID;
        CREATE TABLE wri(id INTEGER PRIMARY KEY, a) WITHOUT ROWID;
        CREATE TABLE st(k ANY PRIMARY KEY, r REAL, t TEXT) STRICT;
        CREATE TABLE "select ""quoted"" ünï"("order" TEXT COLLATE RTRIM PRIMARY KEY, "a b" INT, ü BLOB, [x]]  TEXT);
    "#
    .replace("[x]]  TEXT", "\"x]\" TEXT");
    let mut replica = with(&sql);
    let report = replica.sync_table("*").unwrap();
    assert_eq!(report.skipped, []);
    assert_eq!(report.synced.len(), 7);
    let table = |name: &str| replica.registry().by_name(name).unwrap().clone();
    assert!(table("AUTO").is_auto());
    assert_eq!(table("auto").cells, [1]);
    for name in ["not auto", "int", "wri", "st"] {
        assert_eq!(table(name).schema.key_kind, KeyKind::Natural, "{name}");
    }
    let wr = table("wr");
    assert!(wr.without_rowid);
    assert_eq!(wr.key, [2, 0, 1]);
    // The NOCASE, the REAL and the untyped key column can differ in bytes under an equal key.
    assert_eq!(wr.cells, [0, 1, 2, 3]);
    assert_eq!(wr.columns[0].collation, Collation::NoCase);
    assert_eq!(table("wri").cells, [1]);
    assert_eq!(table("st").columns[0].affinity, Affinity::Blob);
    let odd = table("select \"quoted\" ünï");
    assert_eq!(odd.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["order", "a b", "ü", "x]"]);
    assert_eq!(odd.columns[0].collation, Collation::RTrim);
    assert_eq!(odd.id, TableId::derive("select \"quoted\" ünï", 0));
}

#[test]
fn generated_columns_are_not_cells_and_unique_indexes_are_noted() {
    let mut replica = with(
        "CREATE TABLE p(id INTEGER PRIMARY KEY);
         CREATE TABLE t(g AS (a || b) STORED, id TEXT PRIMARY KEY, a UNIQUE, h AS (a), b, c REFERENCES p, d REFERENCES t(id));
         CREATE TABLE e(id INTEGER PRIMARY KEY, a, b);
         CREATE UNIQUE INDEX e_lower ON e(lower(a));
         CREATE TABLE w(id INTEGER PRIMARY KEY, a, b);
         CREATE UNIQUE INDEX w_part ON w(a) WHERE b > 0;
         CREATE INDEX w_plain ON w(b);",
    );
    replica.sync_table("*").unwrap();
    let table = replica.registry().by_name("t").unwrap();
    let seen: Vec<_> =
        table.columns.iter().map(|column| (column.name.as_str(), column.table_index, column.cell)).collect();
    assert_eq!(seen, [("id", 1, None), ("a", 2, Some(0)), ("b", 4, Some(1)), ("c", 5, Some(2)), ("d", 6, Some(3))]);
    assert_eq!(table.unique_cells, [true, false, false, false]);
    assert_eq!(table.columns[3].references, Some(TableId::derive("p", 0)));
    assert_eq!(table.columns[4].references, None);
    assert_eq!(replica.registry().by_name("e").unwrap().unique_cells, [true, true]);
    let part = replica.registry().by_name("w").unwrap();
    assert_eq!(part.unique_cells, [true, true]);
    assert_eq!(part.schema.indexes, ["CREATE UNIQUE INDEX w_part ON w(a) WHERE b > 0", "CREATE INDEX w_plain ON w(b)"]);
}

#[test]
fn sync_is_idempotent_and_follows_the_users_transaction() {
    let mut replica = with("CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES(1, 2)");
    let conn = replica.conn();
    conn.execute_batch("BEGIN; SELECT kith_sync('t'); ROLLBACK").unwrap();
    replica.reload_registry().unwrap();
    assert!(replica.registry().tables().is_empty());
    let sync = |replica: &Replica| -> String {
        replica.conn().query_row("SELECT kith_sync('T')", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(sync(&replica), r#"{"already":[],"skipped":[],"synced":["t"]}"#);
    assert_eq!(sync(&replica), r#"{"already":["t"],"skipped":[],"synced":[]}"#);
    assert!(replica.reload_registry().unwrap());
    assert!(!replica.reload_registry().unwrap());
    let table = replica.registry().by_name("t").unwrap();
    assert!(table.existing_rows);
    let uptake: Vec<u8> = replica.conn().query_row("SELECT uptake FROM kith__tables", [], |row| row.get(0)).unwrap();
    assert_eq!(uptake, b"");
}

#[test]
fn star_names_each_table_left_out() {
    let mut replica = with(
        "CREATE TABLE good(id TEXT PRIMARY KEY); CREATE TABLE keyless(a);
         CREATE TABLE knex_migrations(id INTEGER PRIMARY KEY); CREATE VIEW v AS SELECT 1",
    );
    let report = replica.sync_table("*").unwrap();
    assert_eq!(report.synced, ["good"]);
    let names: Vec<_> = report.skipped.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["keyless", "knex_migrations", "v"]);
    assert!(report.skipped[1].1.contains("migration"), "{}", report.skipped[1].1);
    assert_eq!(replica.sync_table("*").unwrap().already, ["good"]);
}

#[test]
fn unsynced_table_is_not_taken_in_again() {
    let mut replica = with("CREATE TABLE t(id INTEGER PRIMARY KEY)");
    replica.sync_table("t").unwrap();
    replica.conn().query_row("SELECT kith_unsync('t')", [], |_| Ok(())).unwrap();
    replica.reload_registry().unwrap();
    assert_eq!(replica.registry().by_name("t").unwrap().state, TableState::Unsynced);
    let triggers: i64 = replica
        .conn()
        .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(triggers, 0);
    assert_eq!(
        replica.sync_table("t").unwrap_err().to_string(),
        r#"table "t" was synced before and taken out with kith_unsync, so its rows may differ from the other devices'; copy its rows into a new table and sync that"#
    );
    assert_eq!(
        replica.unsync_table("t").unwrap_err().to_string(),
        r#"table "t" is not synced; see `SELECT * FROM kith_tables`"#
    );
}

#[test]
fn writes_of_other_programs_are_noted_and_ours_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.db");
    let mut replica = Replica::init(&path, InitOptions::new("here")).unwrap();
    replica
        .execute_batch(
            "CREATE TABLE one(id TEXT PRIMARY KEY, a); CREATE TABLE two(a, b, c, PRIMARY KEY(a, b)) WITHOUT ROWID;
             SELECT kith_sync('*');
             INSERT INTO one VALUES('mine', 1); UPDATE one SET a = 2; DELETE FROM one;",
        )
        .unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch(
            "INSERT INTO one VALUES('x', 1); UPDATE one SET a = 2; UPDATE one SET id = 'y'; DELETE FROM one;
             INSERT INTO two VALUES('it''s', x'00ff', 1);",
        )
        .unwrap();
    let noted = replica
        .query("SELECT table_num, operation, rowkey FROM kith__dirty ORDER BY rowid", [], |row| {
            Ok(format!("{} {} {}", row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })
        .unwrap();
    assert_eq!(
        noted,
        ["1 insert x", "1 update x", "1 update x", "1 update y", "1 delete y", "2 insert 'it''s',X'00FF'"]
    );
    let real: (bool, bool) = replica
        .conn()
        .query_row("SELECT sqlite_compileoption_used('THREADSAFE'), sqlite_compileoption_used('NONSENSE')", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(real, (true, false));
}

fn schema_of(sql: &str, name: &str) -> TableSchema {
    let mut replica = with(sql);
    replica.sync_table(name).unwrap();
    replica.registry().by_name(name).unwrap().schema.clone()
}

const NOTES: &str =
    "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT NOT NULL, n INT UNIQUE); CREATE INDEX by_body ON notes(body)";

#[test]
fn peer_without_the_table_creates_it() {
    let schema = schema_of(NOTES, "notes");
    let mut joiner = memory(2);
    assert_eq!(joiner.create_from_schema(&schema).unwrap(), CreateOutcome::Created);
    assert_eq!(joiner.create_from_schema(&schema).unwrap(), CreateOutcome::AlreadySynced);
    assert_eq!(joiner.registry().by_name("notes").unwrap().schema, schema);
    let sequence: Option<i64> =
        joiner.conn().query_row("SELECT schema_sequence FROM kith__tables", [], |row| row.get(0)).unwrap();
    assert_eq!(sequence, Some(0), "the joiner does not announce what it was told");
    let index: bool = joiner
        .conn()
        .query_row("SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE name = 'by_body')", [], |row| row.get(0))
        .unwrap();
    assert!(index);
}

#[test]
fn autoincrement_tables_are_created_too() {
    let schema = schema_of("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a)", "t");
    let mut joiner = memory(2);
    assert_eq!(joiner.create_from_schema(&schema).unwrap(), CreateOutcome::Created);
    assert!(joiner.registry().by_name("t").unwrap().is_auto());
}

#[test]
fn equal_tables_made_apart_fit_and_columns_follow_the_replicated_order() {
    let schema = schema_of(NOTES, "notes");
    let mut joiner = with("CREATE TABLE Notes(n INT UNIQUE, body TEXT NOT NULL, Id TEXT PRIMARY KEY)");
    assert_eq!(joiner.create_from_schema(&schema).unwrap(), CreateOutcome::Adopted { existing_rows: false });
    let table = joiner.registry().by_name("notes").unwrap();
    let seen: Vec<_> = table.columns.iter().map(|column| (column.name.as_str(), column.table_index)).collect();
    assert_eq!(seen, [("Id", 2), ("body", 1), ("n", 0)]);
    assert_eq!(table.cell_ids, schema.column_ids()[1..]);
}

#[track_caller]
fn check_quarantine(local: &str, expected: &str) {
    let schema = schema_of(NOTES, "notes");
    let mut joiner = with(local);
    let outcome = joiner.create_from_schema(&schema).unwrap();
    assert_eq!(outcome, CreateOutcome::Quarantined { reason: expected.to_owned() });
    let table = joiner.registry().by_name("notes").unwrap();
    assert_eq!(table.state, TableState::Quarantined);
    assert_eq!(joiner.quarantine_reason(table.num), Some(expected));
}

#[test]
fn tables_that_do_not_fit_wait_in_quarantine() {
    let misfit = |difference: &str| {
        format!(
            r#"table "notes" does not fit the table of that name in the workspace: {difference}; rename it or change it to fit"#
        )
    };
    check_quarantine(
        "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT NOT NULL)",
        &misfit(r#"column "n" is missing here"#),
    );
    check_quarantine(
        "CREATE TABLE notes(id INT PRIMARY KEY, body TEXT NOT NULL, n INT UNIQUE)",
        &misfit(r#"column "id" has INTEGER affinity here and TEXT there"#),
    );
    check_quarantine(
        "CREATE TABLE notes(id TEXT PRIMARY KEY COLLATE NOCASE, body TEXT NOT NULL, n INT UNIQUE)",
        &misfit(r#"column "id" has collation NOCASE here and BINARY there"#),
    );
    check_quarantine(
        "CREATE TABLE notes(id TEXT, body TEXT NOT NULL PRIMARY KEY, n INT UNIQUE)",
        &misfit(
            "the primary key is (body) with values of the application here and (id) with values of the application there",
        ),
    );
    check_quarantine(
        "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT, n INT UNIQUE)",
        &misfit(r#"column "body" is NOT NULL there but not here"#),
    );
    check_quarantine(
        "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT NOT NULL, n INT)",
        &misfit("the UNIQUE constraints differ"),
    );
    check_quarantine(
        "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT NOT NULL, n INT UNIQUE, more)",
        &misfit(r#"column "more" is missing there"#),
    );
    check_quarantine("CREATE VIEW notes AS SELECT 1", r#""notes" is a view; sync the tables it reads from"#);
    check_quarantine(
        "CREATE TABLE other(a); CREATE INDEX by_body ON other(a)",
        r#"table "notes" could not be created: index by_body already exists"#,
    );
    check_quarantine(
        "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT NOT NULL, n INT UNIQUE); INSERT INTO notes VALUES('a', 'b', 1)",
        r#"table "notes" has rows of its own; run `SELECT kith_sync('notes')` to merge them with the workspace's rows of equal key"#,
    );
}

#[test]
fn quarantined_table_is_taken_in_once_it_fits() {
    let schema = schema_of(NOTES, "notes");
    let mut joiner = with(
        "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT NOT NULL, n INT); INSERT INTO notes VALUES('a', 'b', 1)",
    );
    assert!(matches!(joiner.create_from_schema(&schema).unwrap(), CreateOutcome::Quarantined { .. }));
    assert!(joiner.sync_table("notes").is_err());
    joiner.execute_batch("CREATE UNIQUE INDEX n ON notes(n)").unwrap();
    assert_eq!(joiner.sync_table("notes").unwrap().synced, ["notes"]);
    let table = joiner.registry().by_name("notes").unwrap();
    assert_eq!((table.state, table.existing_rows), (TableState::Synced, true));
}

#[test]
fn hostile_definitions_never_run() {
    let honest = schema_of(NOTES, "notes");
    let refused = |change: &dyn Fn(&mut TableSchema)| {
        let mut schema = honest.clone();
        change(&mut schema);
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("leak.db");
        schema.sql = schema.sql.replace("TARGET", &target.display().to_string());
        let mut joiner = with("CREATE TABLE mine(id INTEGER PRIMARY KEY); INSERT INTO mine VALUES(7)");
        let outcome = joiner.create_from_schema(&schema).unwrap();
        assert!(matches!(outcome, CreateOutcome::Quarantined { .. }), "{:?}: {outcome:?}", schema.sql);
        assert!(!target.exists());
        let left: (i64, i64) = joiner
            .conn()
            .query_row(
                "SELECT (SELECT count(*) FROM mine), (SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'kith%' AND name NOT LIKE 'sqlite%')",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        assert_eq!(left, (1, 1), "{:?}", schema.sql);
    };
    for sql in [
        "DELETE FROM mine",
        "DROP TABLE mine",
        "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT NOT NULL, n INT UNIQUE); DELETE FROM mine",
        "CREATE TABLE notes AS SELECT * FROM mine",
        "CREATE TABLE notes/**/AS SELECT 1 AS id",
        "CREATE TEMP TABLE notes(id TEXT PRIMARY KEY, body TEXT NOT NULL, n INT UNIQUE)",
        "CREATE TABLE temp.notes(id TEXT PRIMARY KEY, body TEXT NOT NULL, n INT UNIQUE)",
        "CREATE TABLE other(id TEXT PRIMARY KEY, body TEXT NOT NULL, n INT UNIQUE)",
        "CREATE VIRTUAL TABLE notes USING fts5(id)",
        "ATTACH 'TARGET' AS leak",
        "VACUUM INTO 'TARGET'",
        "PRAGMA writable_schema = ON",
        "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT NOT NULL, n INT UNIQUE, CHECK (kith_sync('mine')))",
        "CREATE TABLE notes(id TEXT PRIMARY KEY)",
        "CREATE TABLE notes(",
        "",
    ] {
        refused(&|schema| schema.sql = sql.to_owned());
    }
    for index in [
        "CREATE INDEX by_body ON mine(id)",
        "DROP INDEX by_body",
        "CREATE INDEX by_body ON notes(body); DROP TABLE mine",
        "CREATE INDEX kith__evil ON notes(body)",
        "CREATE TRIGGER x AFTER INSERT ON notes BEGIN DELETE FROM mine; END",
    ] {
        refused(&|schema| schema.indexes = vec![index.to_owned()]);
    }
    refused(&|schema| schema.columns.swap(1, 2));
    refused(&|schema| schema.columns[1].affinity = Affinity::Blob);
    refused(&|schema| schema.key = vec![1]);
    refused(&|schema| schema.key_kind = KeyKind::Auto);
    refused(&|schema| schema.earlier_uses = 1);
    refused(&|schema| schema.name = "kith__meta".to_owned());
}

#[test]
fn tables_changed_by_other_programs_are_quarantined() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.db");
    let mut replica = Replica::init(&path, InitOptions::new("here")).unwrap();
    replica.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); SELECT kith_sync('t')").unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("ALTER TABLE t DROP COLUMN b").unwrap();
    assert!(replica.reload_registry().unwrap());
    let table = replica.registry().by_name("t").unwrap();
    assert_eq!(table.state, TableState::Quarantined);
    assert_eq!(
        replica.quarantine_reason(table.num),
        Some(
            "the columns of the synced table t were changed by another program: column \"b\" is missing here; \
             change them back there, or call kith_unsync('t')"
        )
    );
    // What cannot be recorded is not committed.
    let refusal = replica.execute("INSERT INTO t VALUES(1, 2)", []).unwrap_err().to_string();
    assert_eq!(Some(refusal.as_str()), replica.quarantine_reason(1));
    let rows: i64 = replica.conn().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
}

/// A table of every kind, one that another program can add a column to.
const ADDED_TO: [&str; 3] = [
    "CREATE TABLE t(id INTEGER PRIMARY KEY, a)",
    "CREATE TABLE t(id INTEGER PRIMARY KEY, a ANY) STRICT",
    "CREATE TABLE t(id INTEGER PRIMARY KEY, a) WITHOUT ROWID",
];

#[test]
fn column_that_another_program_added_stops_writes_until_it_is_dropped() {
    for create in ADDED_TO {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.db");
        let mut replica = Replica::init(&path, InitOptions::new("here")).unwrap();
        replica.execute_batch(&format!("{create}; SELECT kith_sync('t'); INSERT INTO t VALUES(1, 'before')")).unwrap();
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("ALTER TABLE t ADD COLUMN \"c d\" INT DEFAULT 5").unwrap();
        let expected = "another program added the column c d to the synced table t, where its values would not be recorded; \
                        run `ALTER TABLE \"t\" DROP COLUMN \"c d\"` there, or call kith_unsync('t')";
        for sql in ["INSERT INTO t(id, a) VALUES(2, 'x')", "UPDATE t SET \"c d\" = 6", "DELETE FROM t"] {
            assert_eq!(replica.execute(sql, []).unwrap_err().to_string(), expected, "{create}: {sql}");
        }
        replica.conn().execute_batch("BEGIN; UPDATE t SET a = 'lost'").unwrap();
        assert_eq!(replica.execute("COMMIT", []).unwrap_err().to_string(), expected);
        assert!(replica.conn().is_autocommit());
        let shown: (String, i64) =
            replica.conn().query_row("SELECT a, \"c d\" FROM t", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(shown, ("before".to_owned(), 5));
        assert_eq!(replica.quarantine_reason(1), Some(expected));
        let problems = replica.verify(|_, _, _| {}).unwrap().problems;
        assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        // A replica that opens such a file knows as much.
        assert_eq!(Replica::open(&path, OpenOptions::default()).unwrap().quarantine_reason(1), Some(expected));
        other.execute_batch("ALTER TABLE t DROP COLUMN \"c d\"").unwrap();
        replica.execute("UPDATE t SET a = 'after'", []).unwrap();
        assert_eq!(replica.quarantine_reason(1), None);
        let report = replica.verify(|_, _, _| {}).unwrap();
        assert!(report.is_clean() && report.rows == 1, "{report:?}");
        // The other remedy.
        other.execute_batch("ALTER TABLE t ADD COLUMN \"c d\" INT").unwrap();
        replica.execute_batch("SELECT kith_unsync('t'); UPDATE t SET \"c d\" = 6").unwrap();
    }
}

#[test]
fn unique_index_that_other_devices_do_not_have_stops_writes_until_it_is_gone() {
    let mut replica = with("CREATE TABLE t(id TEXT PRIMARY KEY, v, w); CREATE UNIQUE INDEX tw ON t(w)");
    replica.sync_table("t").unwrap();
    replica.execute_batch("CREATE INDEX plain ON t(v); INSERT INTO t VALUES('a', 1, 1)").unwrap();

    replica.execute_batch("CREATE UNIQUE INDEX tv ON t(v)").unwrap();
    let message = replica.execute_batch("INSERT INTO t VALUES('b', 2, 2)").unwrap_err().to_string();
    assert_eq!(
        message,
        "the UNIQUE indexes of the synced table t are not those of the other devices, where other rows would be kept out; \
         drop the one made by `CREATE UNIQUE INDEX tv ON t(v)`, or call kith_unsync('t')"
    );
    replica.execute_batch("DROP INDEX tv; DROP INDEX plain").unwrap();
    replica.execute_batch("INSERT INTO t VALUES('b', 2, 2)").unwrap();

    replica.execute_batch("DROP INDEX tw").unwrap();
    let message = replica.execute_batch("INSERT INTO t VALUES('c', 3, 3)").unwrap_err().to_string();
    assert!(message.contains("run `CREATE UNIQUE INDEX tw ON t(w)`, or"), "{message}");
    replica.execute_batch("CREATE UNIQUE INDEX another_name ON t (w)").unwrap();
    replica.execute_batch("INSERT INTO t VALUES('c', 3, 3)").unwrap();
    assert!(replica.verify(|_, _, _| {}).unwrap().is_clean());
}

#[test]
fn generated_column_that_another_program_added_is_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.db");
    let mut replica = Replica::init(&path, InitOptions::new("here")).unwrap();
    replica
        .execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, a); SELECT kith_sync('t'); INSERT INTO t VALUES(1, 2)")
        .unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("ALTER TABLE t ADD COLUMN g AS (a * 2)").unwrap();
    replica.execute("UPDATE t SET a = 4", []).unwrap();
    replica.execute("INSERT INTO t(id, a) VALUES(2, 3)", []).unwrap();
    let sum: i64 = replica.conn().query_row("SELECT sum(g) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(sum, 14);
    let report = replica.verify(|_, _, _| {}).unwrap();
    assert!(report.is_clean() && report.rows == 2, "{report:?}");
}

#[test]
fn transaction_on_a_table_that_was_just_changed_can_be_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.db");
    let mut replica = Replica::init(&path, InitOptions::new("here")).unwrap();
    replica.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, a); SELECT kith_sync('t')").unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("ALTER TABLE t ADD COLUMN g AS (a * 2)").unwrap();
    // Nobody read the registry again, as an application does that uses the connection itself.
    assert!(replica.conn().execute("INSERT INTO t(id, a) VALUES(1, 1)", []).is_err());
    assert!(replica.is_stale());
    replica.execute("INSERT INTO t(id, a) VALUES(1, 1)", []).unwrap();
}

#[test]
fn tables_with_very_many_columns_are_read() {
    let columns: Vec<String> = (0..1999).map(|n| format!("c{n}")).collect();
    let mut replica = with(&format!(
        "CREATE TABLE wide(id INTEGER PRIMARY KEY, {}); INSERT INTO wide(id) VALUES(1)",
        columns.join(",")
    ));
    replica.sync_table("wide").unwrap();
    assert_eq!(replica.registry().by_name("wide").unwrap().cells.len(), 1999);
}

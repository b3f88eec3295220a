//! `kith sql`: statements, scripts and dot commands.

mod common;

use common::{Place, text};

const SCRIPT: &str = "\
.mode list
-- a comment; with a semicolon
CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT);
SELECT kith_sync('notes') IS NOT NULL;
INSERT INTO notes VALUES('a', 'one;
two'), ('b', NULL); SELECT count(*)
FROM notes;
CREATE TRIGGER t AFTER DELETE ON notes BEGIN
  SELECT 1;
END;
.tables
.schema notes
.mode line
SELECT * FROM notes WHERE id = 'a';
.quit
SELECT 'never';
";

#[test]
fn script_runs_statement_by_statement() {
    let place = Place::new();
    place.ok(&["init", "a.db"]);
    let output = place.with_input(&["sql", "a.db"], SCRIPT);
    assert!(output.status.success(), "{}", text(&output.stderr));
    insta::assert_snapshot!(text(&output.stdout));
    // What the script wrote was captured: it waits to be sealed.
    assert_eq!(place.json(&["status", "a.db"])["transactions_not_sealed"], 1);
}

#[test]
fn script_stops_at_its_first_failure_and_names_the_line() {
    let place = Place::new();
    place.ok(&["init", "a.db"]);
    let output = place.with_input(&["sql", "a.db"], "SELECT 1;\n\nSELECT *\nFROM nowhere;\nSELECT 2;\n");
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert_eq!(error, "error: line 3: no such table: nowhere\n");
    let refusal = place.fails(&["sql", "a.db", "SELECT 1; SELECT nope, 2"]);
    assert_eq!(refusal, "error: no such column: nope, at `nope, 2`");
    assert!(!text(&output.stdout).contains('2'));
    let output = place.with_input(&["sql", "a.db"], "CREATE TABLE t(a);\nBEGIN;\nINSERT INTO t VALUES(1);\n");
    assert!(text(&output.stderr).contains("ended inside a transaction"), "{}", text(&output.stderr));
    assert_eq!(place.sql("a.db", "SELECT count(*) FROM t"), "0");
}

#[test]
fn transaction_left_open_is_a_failure_however_it_was_begun() {
    let place = Place::new();
    place.init_notes("a.db");
    let begun = "BEGIN; INSERT INTO notes VALUES('x', 'y', 0)";
    let expected = "error: the input ended inside a transaction, which was rolled back; end it with COMMIT";
    assert_eq!(place.fails(&["sql", "a.db", begun]), expected);
    for end in ["", ".quit\n"] {
        let output = place.with_input(&["sql", "a.db"], &format!("{begun};\n{end}"));
        assert_eq!((output.status.code(), text(&output.stderr).trim_end()), (Some(1), expected), "{end}");
    }
    assert_eq!(place.sql("a.db", "SELECT count(*) FROM notes"), "0");
}

#[test]
fn line_of_an_error_is_where_sqlite_found_it() {
    let place = Place::new();
    place.init_notes("a.db");
    let said = |script: &str| text(&place.with_input(&["sql", "a.db"], script).stderr);
    let script = "-- a comment\n\nSELECT id,\n  body,\n  nope\nFROM notes;\n";
    assert_eq!(said(script), "error: line 5: no such column: nope, at `nope\\nFROM notes;`\n");
    assert_eq!(said("SELECT 1; SELECT\nnope;\n"), "error: line 2: no such column: nope, at `nope;`\n");
    assert_eq!(said("SELECT 1;\n\n.nonsense\n"), "error: line 3: there is no command `.nonsense`; see .help\n");
}

#[test]
fn modes_print_what_they_say() {
    let place = Place::new();
    place.ok(&["init", "a.db"]);
    let sql = "SELECT 1 AS a, 'x,y' AS b UNION ALL SELECT NULL, x'00ff'";
    assert_eq!(place.ok(&["sql", "a.db", sql]), "a  b\n-  -------\n1  x,y\n   x'00ff'\n");
    assert_eq!(place.ok(&["sql", "a.db", sql, "--mode", "csv"]), "a,b\r\n1,\"x,y\"\r\n,x'00ff'\r\n");
    let rows = place.json(&["sql", "a.db", sql]);
    assert_eq!(rows, serde_json::json!([{"a": 1, "b": "x,y"}, {"a": null, "b": "x'00ff'"}]));
}

#[test]
fn refusals_say_what_to_do() {
    let place = Place::new();
    place.init_notes("a.db");
    place.ok(&["sql", "a.db", "CREATE TABLE keyless(a)"]);
    let refusal = place.fails(&["sql", "a.db", "SELECT kith_sync('keyless')"]);
    assert!(refusal.contains("has no PRIMARY KEY") && refusal.contains("create it anew with one"), "{refusal}");
    let refusal = place.fails(&["sql", "a.db", "INSERT INTO notes VALUES(NULL, 'x', 0)"]);
    assert!(refusal.contains("has NULL in its PRIMARY KEY") && refusal.contains("give the key a value"), "{refusal}");
    let refusal = place.fails(&["sql", "a.db", "ALTER TABLE notes ADD COLUMN extra"]);
    assert!(refusal.contains("kith_unsync"), "{refusal}");
    assert_eq!(place.sql("a.db", "SELECT count(*) FROM notes"), "0");
}

#[test]
fn reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    place.ok(&["init", "a.db"]);
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT * FROM n";
    let mut command = place.command(&["sql", "a.db", sql, "--mode", "list"]);
    let mut child = command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn search_prints_what_fits_best_or_how_to_make_an_index() {
    let place = Place::new();
    place.init_notes("a.db");
    let no_index = place.fails(&["search", "a.db", "notes", "wine"]);
    assert_eq!(no_index, "error: \"notes\" has no text index; run SELECT kith_text('notes', 'body')");
    let remedy = no_index.split_once("run ").unwrap().1;
    place.ok(&[
        "sql",
        "a.db",
        &format!("INSERT INTO notes VALUES('x', 'red wine', 0), ('y', 'red or white', 0); {remedy}"),
    ]);
    let found = place.ok(&["search", "a.db", "notes", "red wine"]);
    let lines: Vec<&str> = found.lines().collect();
    assert!(
        // Scores of a small table are small, and shown as they are.
        lines[0].contains("snippet")
            && !found.contains("0.00 ")
            && found.contains("[red] [wine]")
            && found.contains("[red] or white"),
        "{found}"
    );
    assert!(found.find("[red] [wine]") < found.find("[red] or white"), "{found}");
    let found = place.json(&["search", "a.db", "notes", "red", "-k", "1"]);
    assert_eq!(found.as_array().map(Vec::len), Some(1));
    assert_eq!(found[0]["key"], "x");
    let found = place.json(&["search", "a.db", "notes", "red whine", "--fuzzy", "body"]);
    assert_eq!((&found[0]["key"], &found[0]["distance"]), (&"x".into(), &1.into()));
    assert!(place.ok(&["search", "a.db", "notes", "\"("]).starts_with("no row fits"));
    let error = place.fails(&["search", "a.db", "notes", "wine", "--hybrid"]);
    assert!(error.contains("\"notes\" has no index of embeddings; run CREATE VIRTUAL TABLE"), "{error}");
}

#[test]
fn search_works_on_a_plain_file_which_stays_one() {
    let place = Place::new();
    let conn = rusqlite::Connection::open(place.path("a.db")).unwrap();
    conn.execute_batch(
        "CREATE TABLE people(id TEXT PRIMARY KEY, name TEXT); INSERT INTO people VALUES('1', 'Jon Smith')",
    )
    .unwrap();
    drop(conn);
    let found = place.json(&["search", "a.db", "people", "jon smth", "--fuzzy", "name"]);
    assert_eq!((&found[0]["key"], &found[0]["value"]), (&"1".into(), &"Jon Smith".into()));
    let none = place.ok(&["search", "a.db", "people", "quux", "--fuzzy", "name"]);
    assert!(
        none.contains("SELECT key, value, score FROM kith_fuzzy('people', 'name', 'quux', 10, '{\"min\":0.2}')"),
        "{none}"
    );
    let no_index = place.fails(&["search", "a.db", "people", "jon"]);
    assert_eq!(no_index, "error: \"people\" has no text index; run SELECT kith_text('people', 'name')");
    let made = place.kith(&["sql", "a.db", no_index.split_once("run ").unwrap().1, "--mode", "list"]);
    assert!(made.status.success() && text(&made.stdout).contains("created"), "{made:?}");
    let note = text(&made.stderr);
    assert!(
        note.starts_with("note: ") && note.contains("a.db is a plain SQLite database and belongs to no workspace"),
        "{note}"
    );
    assert_eq!(place.json(&["search", "a.db", "people", "jon"])[0]["key"], "1");
    assert!(!place.path("a.db-kith-key").exists());
}

#[test]
fn plain_file_is_written_to_as_it_is_and_says_what_it_lacks() {
    let place = Place::new();
    rusqlite::Connection::open(place.path("a.db")).unwrap().execute_batch("CREATE TABLE t(a)").unwrap();
    assert_eq!(place.sql("a.db", "INSERT INTO t VALUES(7); SELECT a FROM t"), "7");
    assert_eq!(place.sql("a.db", ".tables"), "t|table");
    let error = place.fails(&["sql", "a.db", "SELECT kith_sync('t')", "--json"]);
    assert!(error.contains("no such function: kith_sync; ") && error.contains("`kith init "), "{error}");
    let error = place.fails(&["sql", "a.db", "SELECT missing", "--json"]);
    assert!(error.contains("no such column: missing") && !error.contains("kith init"), "{error}");
    assert!(!place.path("a.db-kith-key").exists());
    assert!(place.fails(&["sql", "b.db", "SELECT 1"]).contains("b.db"), "a file that is not there is not made");
    assert!(!place.path("b.db").exists());
}

#[test]
fn embed_embeds_what_waits_and_a_text_is_searched_for_by_the_same_model() {
    let place = Place::new();
    place.init_notes("a.db");
    assert!(place.fails(&["embed", "a.db"]).contains("no kith_vector table in this file has a source and a model"));
    assert!(place.fails(&["embed", "a.db", "near"]).contains("no kith_vector table near with a source"));
    let off = "background=off";
    place.ok(&[
        "sql",
        "a.db",
        &format!(
            "CREATE TABLE docs(id TEXT PRIMARY KEY, body TEXT, embedding BLOB, other BLOB); SELECT kith_sync('docs'); SELECT kith_text('docs', 'body');
             INSERT INTO docs(id, body) VALUES('x', 'red wine'), ('y', 'a grey coat');
             CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, source=body, model=lexical-1, {off});
             CREATE VIRTUAL TABLE later USING kith_vector(content=docs, column=other, source=body, model=missing, dims=384, {off})"
        ),
    ]);
    // Another program writes meanwhile.
    let stranger = rusqlite::Connection::open(place.path("a.db")).unwrap();
    stranger.execute_batch("INSERT INTO docs(id, body) VALUES('z', 'red wines')").unwrap();
    let embedded = place.json(&["embed", "a.db", "near"]);
    assert_eq!((&embedded["table"], &embedded["left"]), (&"near".into(), &0.into()));
    assert_eq!(place.ok(&["embed", "a.db", "near"]).trim(), "every text of near is embedded");
    let error = place.fails(&["embed", "a.db", "later"]);
    assert!(error.contains("there is no embedding model \"missing\""), "{error}");
    place.ok(&["sql", "a.db", "DROP TABLE later"]);
    let found = place.json(&["search", "a.db", "docs", "red wine", "--hybrid"]);
    assert_eq!((&found[0]["key"], &found[0]["embedding_rank"]), (&"x".into(), &1.into()), "{found}");
    assert_eq!(found[1]["key"], "z", "{found}");
}

#[test]
fn hybrid_search_mixes_no_models() {
    let place = Place::new();
    let plain = rusqlite::Connection::open(place.path("a.db")).unwrap();
    plain
        .execute_batch(
            "CREATE TABLE docs(id TEXT PRIMARY KEY, body TEXT, embedding BLOB);
             INSERT INTO docs(id, body) VALUES('x', 'red wine'), ('y', 'a grey coat')",
        )
        .unwrap();
    place.ok(&["sql", "a.db", "SELECT kith_text('docs', 'body')"]);
    const SEARCH: [&str; 5] = ["search", "a.db", "docs", "red wine", "--hybrid"];
    let search = |more: &[&'static str]| [&SEARCH, more].concat();
    let error = place.fails(&search(&[]));
    assert!(error.contains("\"docs\" has no index of embeddings; run CREATE VIRTUAL TABLE"), "{error}");
    assert!(place.fails(&["search", "a.db", "nosuch", "wine", "--hybrid"]).contains("no such table: nosuch"));
    place.ok(&["sql", "a.db", r#"CREATE TABLE "a ""b"(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB)"#]);
    let error = place.fails(&["search", "a.db", "a \"b", "wine", "--hybrid"]);
    let remedy = error.split_once("run ").unwrap().1.split_once(" with your columns").unwrap().0;
    place.ok(&["sql", "a.db", remedy]);
    // By whatever model; nothing says which.
    let create = "CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, dims=384";
    place.ok(&[
        "sql",
        "a.db",
        &format!("UPDATE docs SET embedding = vec_f32('[{}1]'); {create})", "3, -0.5, 2, ".repeat(127) + "1, 1, "),
    ]);
    let error = place.fails(&search(&[]));
    assert!(error.contains("near does not say which model made its embeddings"), "{error}");
    assert!(error.contains("--model, or create near with model="), "{error}");
    assert_eq!(place.json(&search(&["--model", "lexical-1"]))[0]["key"], "x");
    let error = place.fails(&search(&["--model", "missing"]));
    assert!(error.contains("there is no embedding model \"missing\""), "{error}");
    // Those of kith_embed say so themselves, unless one of them is by another.
    place.ok(&["sql", "a.db", "UPDATE docs SET embedding = kith_embed(body)"]);
    let found = place.json(&search(&[]));
    assert_eq!((&found[0]["key"], &found[0]["embedding_rank"]), (&"x".into(), &1.into()), "{found}");
    place.ok(&[
        "sql",
        "a.db",
        "INSERT INTO docs SELECT 'z', 'wine', json(vec_to_json(vec_normalize(embedding))) FROM docs LIMIT 1",
    ]);
    assert!(place.fails(&search(&[])).contains("near does not say which model"));
    // Where there is none, there is no question which.
    place.ok(&["sql", "a.db", "UPDATE docs SET embedding = NULL"]);
    assert_eq!(place.json(&search(&[]))[0]["embedding_rank"], serde_json::Value::Null);
    place.ok(&["sql", "a.db", "UPDATE docs SET embedding = kith_embed(body)"]);
    place.ok(&["sql", "a.db", &format!("DROP TABLE near; {create}, model=lexical-1)")]);
    assert_eq!(place.json(&search(&[]))[0]["key"], "x");
    assert_eq!(place.json(&search(&["--model", "lexical-1"]))[0]["key"], "x");
    let error = place.fails(&search(&["--model", "other"]));
    assert!(
        error.contains("are by the model lexical-1, as near declares") && error.contains("leave --model out"),
        "{error}"
    );
}

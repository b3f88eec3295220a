//! What is embedded, when, and by which model, whoever writes and whatever goes wrong.

mod background;
mod random;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::{Batch, Label, figures, step};
use crate::embed::{EmbedError, Embedder, Lexical};
use crate::vector::declaration::Declaration;

const CREATE: &str =
    "CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, source=body, model=lexical-1)";

/// A model that embeds the count of each letter, notes what it is asked, and fails where it is told to.
#[derive(Default)]
struct Double {
    name: String,
    asked: AtomicUsize,
    is_down: AtomicBool,
    poison: Mutex<Option<String>>,
}

impl Double {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), ..Self::default() })
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }
}

impl Embedder for Double {
    fn model(&self) -> &str {
        &self.name
    }

    fn dimensions(&self) -> usize {
        64
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Option<Vec<f32>>>, EmbedError> {
        let poison = self.poison.lock().unwrap().clone();
        if self.is_down.load(Ordering::Relaxed) || poison.is_some_and(|text| texts.contains(&text.as_str())) {
            return Err(EmbedError::Unavailable { model: self.name.clone(), reason: "the line is dead".to_owned() });
        }
        self.asked.fetch_add(texts.len(), Ordering::Relaxed);
        let embed = |text: &&str| {
            let mut numbers = vec![0.0; 64];
            text.bytes().for_each(|byte| numbers[usize::from(byte) % 64] += 1.0);
            (!text.is_empty()).then_some(numbers)
        };
        Ok(texts.iter().map(embed).collect())
    }
}

fn open(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    crate::register(&conn, |_| None).unwrap();
    conn
}

fn memory(sql: &str) -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    crate::register(&conn, |_| None).unwrap();
    conn.execute_batch(sql).unwrap();
    conn
}

fn one<T: rusqlite::types::FromSql>(conn: &Connection, sql: &str) -> T {
    conn.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn message(result: rusqlite::Result<impl Sized>) -> String {
    result.map(drop).unwrap_err().to_string()
}

fn declaration(model: &str) -> Declaration {
    let arguments = ["content=docs", "column=embedding", "source=body", "dims=64", &format!("model={model}")]
        .map(|argument| argument.as_bytes().to_vec());
    Declaration::parse(&arguments.each_ref().map(Vec::as_slice)).unwrap()
}

fn create(conn: &Connection, model: &str) {
    conn.execute_batch(&format!(
        "CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, source=body, dims=64, model={model}, metric=l2)"
    ))
    .unwrap();
}

fn embed(conn: &Connection, model: &Arc<Double>, count: usize) -> rusqlite::Result<i64> {
    let found = Arc::clone(model) as Arc<dyn Embedder>;
    step(conn, "near", &declaration(&model.name), count, |_| Ok(found))
}

fn embed_all(conn: &Connection, model: &Arc<Double>) {
    while embed(conn, model, 3).unwrap() > 0 {}
}

/// What a row's column is to hold.
fn right(model: &dyn Embedder, text: &Value) -> Value {
    let Value::Text(text) = text else { return Value::Null };
    let Some(mut numbers) = model.embed(&[text]).unwrap().remove(0) else { return Value::Null };
    Label::of(model.model(), text.as_bytes()).write(&mut numbers);
    Value::Blob(numbers.into_iter().flat_map(f32::to_le_bytes).collect())
}

#[track_caller]
fn check(conn: &Connection, model: &dyn Embedder) {
    let mut statement = conn.prepare("SELECT body, embedding FROM docs").unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (text, embedding): (Value, Value) = (row.get(0).unwrap(), row.get(1).unwrap());
        assert!(embedding == right(model, &text), "{text:?}");
    }
}

#[test]
fn texts_are_embedded_and_found_by_what_they_say() {
    let conn = memory(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB);
         INSERT INTO docs(body) VALUES('red wine'), ('a grey coat'), (NULL), ('!?')",
    );
    conn.execute_batch(CREATE).unwrap();
    conn.execute_batch("INSERT INTO docs(id, body) VALUES(9, 'wine, white')").unwrap();
    let stats = "SELECT model || ' ' || source || ' ' || dimensions FROM kith_vector_stats";
    assert_eq!(one::<String>(&conn, stats), "lexical-1 body 384");
    assert_eq!(one::<i64>(&conn, "SELECT to_embed FROM kith_vector_stats"), 2);
    assert_eq!(one::<i64>(&conn, "SELECT kith_embed_pending('near', 2)"), 4);
    assert_eq!(one::<i64>(&conn, "SELECT kith_embed_pending('near', 100)"), 0);
    check(&conn, &Lexical);
    let distance = "SELECT max(vec_distance_l2(embedding, kith_embed(body))) FROM docs WHERE embedding IS NOT NULL";
    assert!(one::<f64>(&conn, distance) < 1e-6);
    let search =
        "SELECT group_concat(rowid) FROM (SELECT rowid FROM near WHERE embedding MATCH 'some white wine' AND k = 2)";
    assert_eq!(one::<String>(&conn, search), "9,1");
    let count = "SELECT count(*) FROM near WHERE embedding MATCH '?!' AND k = 2";
    assert_eq!(one::<i64>(&conn, count), 0);
    // What is right is not written again.
    let changes = conn.total_changes();
    conn.execute_batch("INSERT INTO near(command) VALUES('rebuild')").unwrap();
    assert_eq!(one::<i64>(&conn, "SELECT kith_embed_pending('near', 100)"), 0);
    assert_eq!(one::<i64>(&conn, "SELECT count(*) FROM near_changes"), 1 + 1 + 3 + 1);
    assert!(conn.total_changes() - changes < 5);
    conn.execute_batch("UPDATE docs SET body = 'Grey' WHERE id = 9; UPDATE docs SET body = 'GREY' WHERE id = 9")
        .unwrap();
    conn.execute_batch(
        "UPDATE docs SET embedding = NULL WHERE id = 1; UPDATE docs SET embedding = vec_f32('[1]') WHERE id = 3",
    )
    .unwrap();
    assert_eq!(one::<i64>(&conn, "SELECT kith_embed_pending('near', 100)"), 0);
    check(&conn, &Lexical);
}

#[test]
fn a_model_without_source_embeds_what_is_searched_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    open(&path)
        .execute_batch(
            "CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB);
             CREATE VIRTUAL TABLE near USING kith_vector(content=docs, column=embedding, model=lexical-1);
             INSERT INTO docs SELECT value, 'row ' || value, kith_embed('row ' || value) FROM json_each('[1,2,3]')",
        )
        .unwrap();
    // The dimension is kept beside the table, for whoever opens the file without the model.
    let conn = open(&path);
    assert_eq!(one::<i64>(&conn, "SELECT rowid FROM near WHERE embedding MATCH 'row 2' AND k = 1"), 2);
    assert_eq!(
        one::<i64>(&conn, "SELECT dimensions FROM kith_vector_stats WHERE source IS NULL AND to_embed IS NULL"),
        384
    );
    conn.execute_batch("DROP TABLE near_model").unwrap();
    assert!(message(open(&path).prepare("SELECT * FROM near")).contains("\"near_model\" is gone"));
}

#[test]
fn declarations_that_cannot_hold_are_refused_with_a_reason() {
    let conn = memory("CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB, sum AS (id + 1))");
    let refused = |arguments: &str| {
        message(conn.execute_batch(&format!("CREATE VIRTUAL TABLE near USING kith_vector(content=docs, {arguments})")))
    };
    assert!(refused("column=embedding, source=body").contains("model= is missing"));
    assert!(refused("column=embedding, source=text, model=lexical-1").contains("has no column \"text\""));
    assert!(refused("column=sum, source=body, model=lexical-1").contains("is computed"));
    assert!(refused("column=embedding, source=body, model=lexical-1, dims=3").contains("have 384 dimensions"));
    assert!(
        refused("column=embedding, source=body, model=nothing").contains("there is no embedding model \"nothing\"")
    );
    assert!(one::<bool>(&conn, "SELECT count(*) = 1 FROM sqlite_schema"));
    assert!(
        message(conn.prepare("SELECT kith_embed_pending('near', 1)").unwrap().query_row([], |_| Ok(())))
            .contains("source=")
    );
    // With its dimension known the table can be made before its model is there, and is looked after all the same.
    create(&conn, "later");
    conn.execute_batch("INSERT INTO docs(body) VALUES('x')").unwrap();
    let asked = message(conn.query_row("SELECT kith_embed_pending('near', 1)", [], |_| Ok(())));
    assert!(asked.contains("there is no embedding model \"later\""), "{asked}");
    let problem: String = one(&conn, "SELECT model_problem FROM kith_vector_stats");
    assert!(problem.contains("\"later\""), "{problem}");
    let searched =
        message(conn.query_row("SELECT count(*) FROM near WHERE embedding MATCH 'x' AND k = 1", [], |_| Ok(())));
    assert!(searched.contains("there is no embedding model \"later\""), "{searched}");
    embed_all(&conn, &Double::new("later"));
    assert!(one::<bool>(&conn, "SELECT model_problem IS NULL AND to_embed = 0 AND indexed = 1 FROM kith_vector_stats"));
}

#[test]
fn no_second_table_embeds_into_a_column_by_another_model_or_of_another_text() {
    let conn = memory("CREATE TABLE docs(id INTEGER PRIMARY KEY, title TEXT, body TEXT, embedding BLOB, other BLOB)");
    create(&conn, "a");
    let table = |name: &str, arguments: &str| {
        conn.execute_batch(&format!(
            "CREATE VIRTUAL TABLE {name} USING kith_vector(content=Docs, dims=64, {arguments})"
        ))
    };
    for arguments in ["column=Embedding, source=body, model=b", "column=embedding, source=title, model=a"] {
        let said = message(table("second", arguments));
        assert!(said.contains("is embedded for \"near\" already, of body by a; drop \"near\" first"), "{said}");
    }
    assert_eq!(one::<i64>(&conn, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'second%'"), 0);
    // Another metric of the same embeddings, another column, and a table that embeds nothing.
    table("l1", "column=embedding, source=Body, model=a, metric=l1").unwrap();
    table("apart", "column=other, source=body, model=b").unwrap();
    table("asked", "column=embedding, model=b").unwrap();
    conn.execute_batch("DROP TABLE near; DROP TABLE l1").unwrap();
    table("second", "column=embedding, source=body, model=b").unwrap();
}

#[test]
fn what_kith_embed_has_embedded_is_not_embedded_again() {
    let conn = memory(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB);
         INSERT INTO docs(body) VALUES('red wine'), ('a grey coat')",
    );
    conn.execute_batch("UPDATE docs SET embedding = kith_embed(body)").unwrap();
    assert!(one::<bool>(&conn, "SELECT embedding = kith_embed(body, 'lexical-1') FROM docs"));
    check(&conn, &Lexical);
    conn.execute_batch(CREATE).unwrap();
    let changes = "SELECT max(sequence) FROM near_changes";
    let before: i64 = one(&conn, changes);
    assert_eq!(one::<i64>(&conn, "SELECT kith_embed_pending('near', 100)"), 0);
    assert_eq!(one::<i64>(&conn, changes), before);
    assert_eq!(one::<i64>(&conn, "SELECT indexed FROM kith_vector_stats"), 2);
}

#[test]
fn embeddings_that_come_with_a_row_are_not_made_again() {
    let (model, other) = (Double::new("a"), Double::new("b"));
    let docs = "CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB)";
    let (here, there) = (memory(docs), memory(docs));
    create(&here, "a");
    create(&there, "b");
    embed_all(&here, &model);
    embed_all(&there, &other);
    let copy = |from: &Connection, to: &Connection| {
        let row: (i64, String, Vec<u8>) = from
            .query_row("SELECT * FROM docs ORDER BY id DESC LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
        to.execute("INSERT OR REPLACE INTO docs VALUES(?1, ?2, ?3)", params![row.0, row.1, row.2]).unwrap();
    };
    here.execute_batch("INSERT INTO docs(body) VALUES('one')").unwrap();
    embed_all(&here, &model);
    assert_eq!(model.asked(), 1);
    // Another model of just this text: two devices would write over each other for ever.
    copy(&here, &there);
    embed_all(&there, &other);
    assert_eq!(other.asked(), 0);
    assert_eq!(one::<String>(&there, "SELECT indexed || ' ' || refused FROM kith_vector_stats"), "0 1");
    assert!(one::<String>(&there, "SELECT refused_rows FROM kith_vector_stats").contains("not made by the model"));
    // The same model: what came is right.
    copy(&there, &here);
    embed_all(&here, &model);
    assert_eq!(model.asked(), 0);
    // An embedding of another text is not, not even one of the same model, which a merge of two edits may leave.
    here.execute_batch("UPDATE docs SET body = 'two'").unwrap();
    copy(&here, &there);
    embed_all(&here, &model);
    embed_all(&there, &other);
    assert_eq!((model.asked(), other.asked()), (1, 1));
    check(&here, &*model);
    check(&there, &*other);
    // Whoever creates the table anew says which model holds.
    copy(&there, &here);
    here.execute_batch("DROP TABLE near").unwrap();
    assert_eq!(one::<i64>(&here, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'near%'"), 0);
    create(&here, "a");
    embed_all(&here, &model);
    check(&here, &*model);
}

#[test]
fn failures_are_kept_and_shown_and_hold_up_only_what_fails() {
    let model = Double::new("a");
    let conn = memory(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB); INSERT INTO docs(body) VALUES('bad'), ('two')",
    );
    create(&conn, "a");
    conn.execute_batch("INSERT INTO docs(body) VALUES('one')").unwrap();
    model.is_down.store(true, Ordering::Relaxed);
    assert!(message(embed(&conn, &model, 10)).contains("the line is dead"));
    assert!(one::<String>(&conn, "SELECT model_problem FROM kith_vector_stats").contains("the line is dead"));
    assert!(figures(&conn, "near").unwrap().left >= 2);
    // What the user writes does not wait, and may be in the same transaction.
    conn.execute_batch("BEGIN; INSERT INTO docs(body) VALUES('three')").unwrap();
    assert!(embed(&conn, &model, 10).is_err());
    conn.execute_batch("COMMIT").unwrap();
    model.is_down.store(false, Ordering::Relaxed);
    *model.poison.lock().unwrap() = Some("bad".to_owned());
    // One by one, the text that fails goes behind the others.
    let mut failures = 0;
    for _ in 0..6 {
        failures += usize::from(embed(&conn, &model, 1).is_err());
    }
    assert!(failures > 0);
    assert_eq!(one::<i64>(&conn, "SELECT count(*) FROM docs WHERE embedding IS NOT NULL"), 3);
    assert_eq!(one::<String>(&conn, "SELECT body FROM docs WHERE embedding IS NULL"), "bad");
    *model.poison.lock().unwrap() = None;
    embed_all(&conn, &model);
    check(&conn, &*model);
    assert!(one::<bool>(&conn, "SELECT model_problem IS NULL AND to_embed = 0 FROM kith_vector_stats"));
    // A trigger of the user's that forbids the write is told of, and ends nothing else.
    conn.execute_batch(
        "CREATE TRIGGER never BEFORE UPDATE OF embedding ON docs WHEN new.id = 1 BEGIN SELECT RAISE(ABORT, 'not this one'); END;
         UPDATE docs SET body = 'four' WHERE id < 3",
    )
    .unwrap();
    for _ in 0..4 {
        let _ = embed(&conn, &model, 1);
    }
    assert!(one::<String>(&conn, "SELECT coalesce(model_problem, '') FROM kith_vector_stats").contains("not this one"));
    assert!(one::<bool>(&conn, "SELECT embedding IS NOT NULL FROM docs WHERE id = 2"));
    conn.execute_batch("DROP TRIGGER never").unwrap();
    embed_all(&conn, &model);
    check(&conn, &*model);
}

#[test]
fn what_changes_while_the_model_is_asked_is_not_lost() {
    let model = Double::new("a");
    let conn = memory(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB); INSERT INTO docs(body) VALUES('a'), ('b'), ('c')",
    );
    create(&conn, "a");
    let batch = Batch::read(&conn, "near", &declaration("a"), 10).unwrap();
    let answers = batch.ask(&*model).unwrap();
    conn.execute_batch(
        "UPDATE docs SET body = 'x' WHERE id = 1; DELETE FROM docs WHERE id = 2; INSERT INTO docs VALUES(4, 'd', NULL)",
    )
    .unwrap();
    assert_eq!(batch.write(&conn, &answers).unwrap(), 2);
    assert_eq!(one::<String>(&conn, "SELECT group_concat(id) FROM docs WHERE embedding IS NOT NULL"), "3");
    // The same step once more, as by another process, changes nothing.
    batch.write(&conn, &answers).unwrap();
    embed_all(&conn, &model);
    check(&conn, &*model);
}

#[test]
fn renamed_and_rebuilt_tables_go_on_being_embedded() {
    let model = Double::new("a");
    let conn = memory(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB); INSERT INTO docs(body) VALUES('a')",
    );
    create(&conn, "a");
    conn.execute_batch(
        "ALTER TABLE near RENAME TO near2; ALTER TABLE near2 RENAME TO near; INSERT INTO docs(body) VALUES('b')",
    )
    .unwrap();
    embed_all(&conn, &model);
    check(&conn, &*model);
    conn.execute_batch("DROP TABLE docs; CREATE TABLE docs(a TEXT, b INT, body TEXT, embedding BLOB, PRIMARY KEY(a, b)); INSERT INTO docs VALUES('x', 1, 'c', NULL)")
        .unwrap();
    assert!(message(embed(&conn, &model, 3)).contains("'rebuild'"));
    conn.execute_batch("INSERT INTO near(command) VALUES('rebuild'); INSERT INTO docs VALUES('x', 2, 'd', NULL)")
        .unwrap();
    embed_all(&conn, &model);
    check(&conn, &*model);
    assert_eq!(one::<i64>(&conn, "SELECT indexed FROM kith_vector_stats"), 2);
}

//! The demo's graph: what WordNet's relations say of words, asked of the file that got them by sync.

use anyhow::{Context, Result};
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

/// The relations of WordNet as a graph of synsets.
const DECLARE: &str = r#"SELECT kith_graph('wordnet', '{"nodes":"synsets","edges":"relations","from":"source","to":"target","type":"kind"}')"#;
/// Words to show, the first two that a dictionary has; the extract has no other instruments and animals than these.
const WORDS: [&str; 6] = ["violin", "dog", "piano", "bird", "musical instrument", "animal"];
/// The synset of nouns that has none above it.
const ROOT: &str = "n00001740";

/// What was found; each list has one word for each synset.
pub struct Found {
    /// From a word up to the root, along hypernyms.
    pub chain: Vec<String>,
    /// How many synsets are above the word.
    pub above: i64,
    /// A shortest path between two words, with the relation by which each was come to.
    pub path: Vec<(Option<String>, String)>,
}

/// Tells whether a database has the tables of WordNet.
pub fn is_asked(conn: &Connection) -> rusqlite::Result<bool> {
    let tables = "SELECT count(*) = 4 FROM main.sqlite_schema WHERE type = 'table' AND name IN ('synsets', 'words', 'senses', 'relations')";
    conn.query_row(tables, [], |row| row.get(0))
}

/// Declares the graph and asks it; `None` if the dictionary does not have two of the words.
pub fn ask(conn: &Connection) -> Result<Option<Found>> {
    conn.query_row(DECLARE, [], |_| Ok(()))?;
    let mut synsets = Vec::new();
    for word in WORDS {
        let first = "SELECT synset FROM senses WHERE word = ?1 || '#n' ORDER BY number, synset LIMIT 1";
        synsets.extend(conn.query_row(first, [word.replace(' ', "_")], |row| row.get::<_, String>(0)).optional()?);
    }
    let [one, other, ..] = &synsets[..] else { return Ok(None) };
    let (chain, above) = hypernyms(conn, one)?;
    Ok(Some(Found { chain, above, path: path(conn, one, other)? }))
}

/// Returns the words from a synset up to the root, and how many synsets are above it.
fn hypernyms(conn: &Connection, synset: &str) -> Result<(Vec<String>, i64)> {
    let options = r#"{"type":["hypernym","instance_hypernym"]}"#;
    let mut up = conn.prepare("SELECT node, path FROM kith_traverse('wordnet', ?1, ?2)")?;
    let above: Vec<(String, String)> =
        up.query_map([synset, options], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    let path = above.iter().find(|(node, _)| node == ROOT).map(|(_, path)| path.as_str());
    let ids: Vec<String> = serde_json::from_str(path.context("the word is not below the root of WordNet's nouns")?)?;
    Ok((ids.iter().map(|id| word(conn, id)).collect::<Result<_>>()?, above.len() as i64))
}

fn path(conn: &Connection, from: &str, to: &str) -> Result<Vec<(Option<String>, String)>> {
    let options = r#"{"direction":"both"}"#;
    let mut steps = conn.prepare("SELECT type, node FROM kith_shortest_path('wordnet', ?1, ?2, ?3)")?;
    let steps: Vec<(Option<String>, String)> =
        steps.query_map([from, to, options], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    steps.into_iter().map(|(kind, node)| Ok((kind, word(conn, &node)?))).collect()
}

/// Returns the first word of a synset, or its id if its words are gone.
fn word(conn: &Connection, synset: &str) -> Result<String> {
    let first =
        "SELECT lemma FROM senses JOIN words ON words.id = senses.word WHERE synset = ?1 ORDER BY number LIMIT 1";
    Ok(conn.query_row(first, [synset], |row| row.get(0)).optional()?.unwrap_or_else(|| synset.to_owned()))
}

impl Found {
    /// The lines that are shown.
    pub fn lines(&self) -> [String; 2] {
        let mut path = String::new();
        for (kind, word) in &self.path {
            if let Some(kind) = kind {
                path.push_str(&format!(" -{kind}- "));
            }
            path.push_str(word);
        }
        [format!("{} above it: {}", self.above, self.chain.join(" < ")), path]
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let path: Vec<_> = self.path.iter().map(|(kind, word)| json!({ "by": kind, "word": word })).collect();
        json!({ "hypernyms": self.chain, "synsets_above": self.above, "shortest_path": path })
    }
}

#[cfg(test)]
mod tests {
    use kithdb_core::everywhere;

    use super::*;
    use crate::demo::wordnet::{Source, import};

    fn extract() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        everywhere::register(&conn).unwrap();
        import(&conn, &Source::Extract, &mut |_| {}).unwrap();
        conn
    }

    #[test]
    fn hypernyms_lead_to_the_root_and_the_path_joins_both_words() {
        let conn = extract();
        let found = ask(&conn).unwrap().unwrap();
        assert_eq!(found.chain.last().map(String::as_str), Some("entity"), "{:?}", found.chain);
        assert!(found.chain.len() > 4 && found.above >= found.chain.len() as i64 - 1);
        assert_eq!(found.path.first().unwrap().1, found.chain[0]);
        assert!(found.path[1..].iter().all(|(kind, _)| kind.is_some()), "{:?}", found.path);
    }

    /// Every way through the extract: what the traversal reaches is what the recursive query does.
    #[test]
    fn traversals_of_the_extract_are_the_recursive_query() {
        let conn = extract();
        conn.query_row(DECLARE, [], |_| Ok(())).unwrap();
        let ids: Vec<String> = conn
            .prepare("SELECT id FROM synsets ORDER BY id")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        conn.execute_batch("CREATE INDEX relations_by_target ON relations(target, source, kind)").unwrap();
        let hops = [
            (r#"{"depth":3}"#, "source", "target", "true", 3),
            (r#"{"depth":3,"direction":"in"}"#, "target", "source", "true", 3),
            (
                r#"{"depth":2,"type":["hypernym","hyponym"],"edge_where":{"source_word":0}}"#,
                "source",
                "target",
                "kind IN ('hypernym', 'hyponym') AND source_word = 0",
                2,
            ),
        ];
        for (options, near, far, condition, depth) in hops {
            let plain = format!(
                "WITH RECURSIVE walk(node, depth) AS (
                   VALUES(?1, 0) UNION SELECT {far}, depth + 1 FROM walk JOIN relations ON {near} = node WHERE depth < {depth} AND {condition}
                 ) SELECT node, min(depth) FROM walk WHERE node <> ?1 AND ?2 <> '' GROUP BY node ORDER BY node"
            );
            let ours = "SELECT node, depth FROM kith_traverse('wordnet', ?1, ?2) ORDER BY node";
            let (mut plain, mut ours) = (conn.prepare(&plain).unwrap(), conn.prepare(ours).unwrap());
            for id in ids.iter().step_by(3) {
                let read = |statement: &mut rusqlite::Statement<'_>| -> Vec<(String, i64)> {
                    let rows = statement.query_map([id.as_str(), options], |row| Ok((row.get(0)?, row.get(1)?)));
                    rows.unwrap().collect::<rusqlite::Result<_>>().unwrap()
                };
                assert_eq!(read(&mut ours), read(&mut plain), "{id} {options}");
            }
        }
    }
}

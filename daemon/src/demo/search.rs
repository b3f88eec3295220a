//! The demo's search: text, misspelt words and embeddings, asked of the file that got them by sync.

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use crate::human;

/// Indexes of the phone's own; nothing of them is sent.
const DECLARE: &str = "SELECT kith_text('synsets', 'gloss'); SELECT kith_fuzzy_index('words', 'lemma');";
const TYPED: &str = "stringed musical instrument played with a bow";
const MISSPELT: &str = "harpsicord vioiln";
/// The glosses that get embeddings: those of things that people make (WordNet's lexicographer file noun.artifact).
const ARTIFACTS: i64 = 6;
const RESULTS_MAX: i64 = 3;

/// What was found.
pub struct Found {
    /// Glosses for what was typed, best first, with what fits marked.
    pub text: Vec<String>,
    /// For each misspelt word, the word of WordNet nearest to it with its confidence.
    pub fuzzy: Vec<(String, String, f64)>,
    pub near: Option<Near>,
    /// How many glosses have an embedding.
    pub embeddings: i64,
}

/// A gloss, and those whose lexical embeddings are nearest to its own, with their distance.
pub struct Near {
    pub gloss: String,
    pub nearest: Vec<(String, f64)>,
}

/// Makes the indexes and asks them; the database has the tables of WordNet.
pub fn ask(conn: &Connection) -> Result<Found> {
    for sql in DECLARE.split_inclusive(';') {
        conn.query_row(sql, [], |_| Ok(()))?;
    }
    let mut search = conn.prepare("SELECT snippet FROM kith_search('synsets', ?1, ?2) ORDER BY score DESC")?;
    let text = search.query_map((TYPED, RESULTS_MAX), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut fuzzy = Vec::new();
    for word in MISSPELT.split(' ') {
        let nearest = "SELECT value, score FROM kith_fuzzy('words', 'lemma', ?1, 1)";
        let found = conn.query_row(nearest, [word], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        fuzzy.extend(found.map(|(value, score)| (word.to_owned(), value, score)));
    }
    let embeddings = embed(conn)?;
    Ok(Found { text, fuzzy, near: near(conn)?, embeddings })
}

/// Embeds glosses into a table of the phone's own, which is not synced; returns how many.
fn embed(conn: &Connection) -> Result<i64> {
    conn.execute_batch(&format!(
        "CREATE TABLE gloss_embeddings(id TEXT PRIMARY KEY, embedding BLOB NOT NULL);
         INSERT INTO gloss_embeddings SELECT id, kith_embed(gloss) FROM synsets WHERE lexfile = {ARTIFACTS};"
    ))?;
    let dimensions: Option<i64> = conn
        .query_row("SELECT vec_length(embedding) FROM gloss_embeddings LIMIT 1", [], |row| row.get(0))
        .optional()?;
    if let Some(dimensions) = dimensions {
        conn.execute_batch(&format!(
            "CREATE VIRTUAL TABLE gloss_index USING kith_vector(content=gloss_embeddings, column=embedding, dims={dimensions})"
        ))?;
    }
    Ok(conn.query_row("SELECT count(*) FROM gloss_embeddings", [], |row| row.get(0))?)
}

/// Finds what is near to the first gloss that what was typed finds; `None` if it has no embedding.
fn near(conn: &Connection) -> Result<Option<Near>> {
    let first = "SELECT g.id, s.gloss, g.embedding FROM kith_search('synsets', ?1, 50) f JOIN gloss_embeddings g ON g.id = f.key
         JOIN synsets s ON s.id = g.id ORDER BY f.score DESC LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let Some((id, gloss, embedding)): Option<(String, String, Vec<u8>)> =
        conn.query_row(first, [TYPED], read).optional()?
    else {
        return Ok(None);
    };
    let mut nearest = conn.prepare(
        "SELECT s.gloss, n.distance FROM gloss_index n JOIN synsets s ON s.id = n.key
         WHERE n.embedding MATCH ?1 AND k = ?2 AND s.id <> ?3 ORDER BY n.distance",
    )?;
    // One more than shown, since the gloss finds itself.
    let found = nearest.query_map((embedding, RESULTS_MAX + 1, id), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Some(Near { gloss, nearest: found.collect::<rusqlite::Result<_>>()? }))
}

impl Found {
    /// The lines that are shown.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("kith_search, \"{TYPED}\":")];
        lines.extend(self.text.iter().map(|gloss| format!("  {gloss}")));
        for (typed, word, score) in &self.fuzzy {
            lines.push(format!("kith_fuzzy, \"{typed}\": {word} ({score:.2})"));
        }
        if let Some(Near { gloss, nearest }) = &self.near {
            lines.push(format!(
                "kith_vector over {} (likeness of writing, not of meaning), nearest to: {gloss}",
                human::counted(self.embeddings.unsigned_abs(), "lexical embedding")
            ));
            lines.extend(nearest.iter().map(|(gloss, distance)| format!("  {distance:.3} {gloss}")));
        }
        lines
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let fuzzy: Vec<_> = self
            .fuzzy
            .iter()
            .map(|(typed, word, score)| json!({ "typed": typed, "word": word, "score": score }))
            .collect();
        let near = self.near.as_ref().map(|near| {
            let nearest: Vec<_> =
                near.nearest.iter().map(|(gloss, distance)| json!({ "gloss": gloss, "distance": distance })).collect();
            json!({ "gloss": near.gloss, "nearest": nearest })
        });
        json!({ "text": self.text, "fuzzy": fuzzy, "embeddings": self.embeddings, "near": near })
    }
}

#[cfg(test)]
mod tests {
    use kithdb_core::everywhere;

    use super::*;
    use crate::demo::wordnet::{Source, import};

    #[test]
    fn extract_is_searched_by_text_by_misspelt_words_and_by_embedding() {
        let conn = Connection::open_in_memory().unwrap();
        everywhere::register(&conn).unwrap();
        import(&conn, &Source::Extract, &mut |_| {}).unwrap();
        let found = ask(&conn).unwrap();
        assert_eq!(found.text.len(), usize::try_from(RESULTS_MAX).unwrap());
        assert!(found.text[0].contains("[bow"), "{:?}", found.text);
        let words: Vec<_> = found.fuzzy.iter().map(|(_, word, _)| word.as_str()).collect();
        assert_eq!(words, ["harpsichord", "violin"]);
        let Near { gloss, nearest } = found.near.as_ref().unwrap();
        assert!(nearest.len() >= 3 && nearest.iter().all(|(other, _)| other != gloss), "{nearest:?}");
        assert!(nearest.is_sorted_by(|one, other| one.1 <= other.1));
    }
}

//! Reads the dictionary files of WordNet 3.1 into ordinary SQL tables.
//!
//! The files are `data.noun`, `data.verb`, `data.adj` and `data.adv`, one synset a line, as described in Princeton's
//! wndb(5WN). Nothing here knows of KithDB: the tables are what any program would make.
//!
//! Invariants:
//! 1. Memory is bounded by one line of a file (at most [`LINE_BYTES_MAX`]) and SQLite's page cache.
//! 2. A line that is not as described stops the import with an error that names file and line; no line is skipped.
//! 3. Ids depend on the files alone: a synset is its file's letter and number (`n00001740`), a word its lemma as written
//!    there and that letter (`living_thing#n`).

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rusqlite::{Connection, params};

/// The longest line accepted; the longest of WordNet 3.1 has 12,972 bytes.
pub const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Synsets written in one transaction, so that no transaction grows with the input.
const BATCH_SYNSETS: u64 = 2_000;

/// The tables that [`import`] makes.
pub const SCHEMA: &str = "
CREATE TABLE synsets(
  id TEXT PRIMARY KEY,
  pos TEXT NOT NULL,
  lexfile INTEGER NOT NULL,
  gloss TEXT NOT NULL
);
CREATE TABLE words(
  id TEXT PRIMARY KEY,
  lemma TEXT NOT NULL,
  pos TEXT NOT NULL
);
CREATE TABLE senses(
  synset TEXT NOT NULL REFERENCES synsets(id),
  word TEXT NOT NULL REFERENCES words(id),
  number INTEGER NOT NULL,
  PRIMARY KEY(synset, word)
);
CREATE TABLE relations(
  source TEXT NOT NULL,
  kind TEXT NOT NULL,
  target TEXT NOT NULL,
  source_word INTEGER NOT NULL DEFAULT 0,
  target_word INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY(source, kind, target, source_word, target_word)
) WITHOUT ROWID;
";

/// One dictionary file: its name, the letter of its synsets, and the committed extract of it.
struct Dictionary {
    name: &'static str,
    letter: char,
    extract: &'static str,
}

const DICTIONARIES: [Dictionary; 4] = [
    Dictionary { name: "data.noun", letter: 'n', extract: include_str!("../../data/wordnet-extract/data.noun") },
    Dictionary { name: "data.verb", letter: 'v', extract: include_str!("../../data/wordnet-extract/data.verb") },
    Dictionary { name: "data.adj", letter: 'a', extract: include_str!("../../data/wordnet-extract/data.adj") },
    Dictionary { name: "data.adv", letter: 'r', extract: include_str!("../../data/wordnet-extract/data.adv") },
];

/// Where the dictionary files come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A folder that holds the four `data.*` files, or whose `dict` folder does.
    Folder(PathBuf),
    /// The extract that is compiled into this program.
    Extract,
}

/// How far an import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the dictionary files read so far.
    pub bytes_read: u64,
    /// Bytes of all dictionary files.
    pub bytes_total: u64,
    /// Synsets written so far.
    pub synsets: u64,
}

/// What an import wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows of `synsets`.
    pub synsets: u64,
    /// Rows of `words`.
    pub words: u64,
    /// Rows of `senses`.
    pub senses: u64,
    /// Rows of `relations`.
    pub relations: u64,
    /// Relations that the files state a second time (ten in all of WordNet 3.1), written once.
    pub relations_repeated: u64,
}

/// Creates the tables of [`SCHEMA`] and fills them, calling `progress` after each batch.
///
/// The batches are transactions of their own, so a failed import leaves the batches before it: the caller throws the
/// file away.
pub fn import(connection: &Connection, source: &Source, progress: &mut dyn FnMut(Progress)) -> Result<Summary> {
    let mut files = Vec::new();
    for dictionary in &DICTIONARIES {
        files.push((dictionary, open(dictionary, source)?));
    }
    let mut state =
        Progress { bytes_read: 0, bytes_total: files.iter().map(|(_, file)| file.bytes_total).sum(), synsets: 0 };
    let mut summary = Summary::default();
    connection.execute_batch(SCHEMA).context("could not create the WordNet tables")?;
    for (dictionary, file) in files {
        import_file(connection, dictionary, file, &mut state, &mut summary, progress)?;
    }
    Ok(summary)
}

/// An opened dictionary file with the name that errors give it.
struct Input {
    name: String,
    bytes_total: u64,
    reader: Box<dyn BufRead>,
}

fn open(dictionary: &Dictionary, source: &Source) -> Result<Input> {
    match source {
        Source::Extract => Ok(Input {
            name: format!("{} (extract)", dictionary.name),
            bytes_total: dictionary.extract.len() as u64,
            reader: Box::new(dictionary.extract.as_bytes()),
        }),
        Source::Folder(folder) => {
            let path = dictionary_path(folder, dictionary.name);
            let name = path.display().to_string();
            let file = File::open(&path).with_context(|| {
                format!("could not open {name}: give the folder that holds WordNet's data.noun, data.verb, data.adj and data.adv")
            })?;
            let bytes_total = file.metadata().with_context(|| format!("could not read {name}"))?.len();
            Ok(Input { name, bytes_total, reader: Box::new(BufReader::with_capacity(64 * 1024, file)) })
        }
    }
}

fn dictionary_path(folder: &Path, name: &str) -> PathBuf {
    let nested = folder.join("dict").join(name);
    if nested.is_file() { nested } else { folder.join(name) }
}

fn import_file(
    connection: &Connection,
    dictionary: &Dictionary,
    mut input: Input,
    state: &mut Progress,
    summary: &mut Summary,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let mut line_bytes = Vec::new();
    let mut line_number = 0_u64;
    let mut at_end = false;
    while !at_end {
        let transaction = connection.unchecked_transaction()?;
        let batch_start = summary.synsets;
        while summary.synsets - batch_start < BATCH_SYNSETS {
            line_number += 1;
            let place = || format!("{}, line {line_number}", input.name);
            line_bytes.clear();
            let length =
                (&mut input.reader).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line_bytes).with_context(place)?;
            if length == 0 {
                at_end = true;
                break;
            }
            state.bytes_read += length as u64;
            if length as u64 > LINE_BYTES_MAX {
                return Err(anyhow!("the line is longer than {LINE_BYTES_MAX} bytes")).with_context(place);
            }
            // The licence at the head of each file is indented by two spaces.
            if line_bytes.starts_with(b"  ") {
                continue;
            }
            let text = std::str::from_utf8(&line_bytes).context("the line is not UTF-8").with_context(place)?;
            let synset = parse_line(text, dictionary.letter).with_context(place)?;
            write_synset(&transaction, &synset, dictionary.letter, summary).with_context(place)?;
        }
        transaction.commit().with_context(|| format!("could not commit the rows of {}", input.name))?;
        state.synsets = summary.synsets;
        progress(*state);
    }
    Ok(())
}

/// One line of a dictionary file.
struct Synset<'a> {
    number: &'a str,
    lexfile: u32,
    /// `n`, `v`, `a`, `r`, or `s` for an adjective that belongs to the cluster of another.
    pos: &'a str,
    words: Vec<&'a str>,
    relations: Vec<Relation<'a>>,
    gloss: &'a str,
}

struct Relation<'a> {
    kind: &'static str,
    target_letter: char,
    target_number: &'a str,
    /// Counted from 1 within the synset; 0 means the whole synset.
    source_word: u8,
    target_word: u8,
}

fn parse_line(line: &str, letter: char) -> Result<Synset<'_>> {
    let (fields, gloss) = line.split_once(" | ").ok_or_else(|| anyhow!("the gloss, set off by ` | `, is missing"))?;
    let mut fields = fields.split(' ');
    let mut field = |name: &str| fields.next().ok_or_else(|| anyhow!("the line ends before its {name}"));

    let number = synset_number(field("number")?)?;
    let lexfile = field("lexicographer file")?;
    let lexfile = lexfile.parse().map_err(|_| anyhow!("`{lexfile}` is not a lexicographer file number"))?;
    let pos = field("part of speech")?;
    ensure!(synset_letter(pos)? == letter, "a synset of part of speech `{pos}` does not belong in this file");

    let word_count = hexadecimal(field("word count")?)?;
    ensure!(word_count > 0, "the synset has no words");
    let mut words = Vec::with_capacity(usize::from(word_count));
    for _ in 0..word_count {
        words.push(without_marker(field("word")?));
        field("word's lexical id")?;
    }

    let relation_count = field("relation count")?;
    let relation_count: u16 =
        relation_count.parse().map_err(|_| anyhow!("`{relation_count}` is not a relation count"))?;
    let mut relations = Vec::new();
    for _ in 0..relation_count {
        let kind = relation_kind(field("relation")?, letter)?;
        let target_number = synset_number(field("relation's target")?)?;
        let target_letter = synset_letter(field("relation's part of speech")?)?;
        let ends = field("relation's words")?;
        ensure!(ends.len() == 4 && ends.is_ascii(), "`{ends}` does not name a relation's two words");
        let source_word = hexadecimal(&ends[..2])?;
        ensure!(source_word <= word_count, "a relation starts at word {source_word} of {word_count}");
        let target_word = hexadecimal(&ends[2..])?;
        relations.push(Relation { kind, target_letter, target_number, source_word, target_word });
    }
    // What may follow are a verb's sentence frames, which no table takes.
    Ok(Synset { number, lexfile, pos, words, relations, gloss: gloss.trim_end() })
}

fn synset_number(field: &str) -> Result<&str> {
    ensure!(field.len() == 8 && field.bytes().all(|byte| byte.is_ascii_digit()), "`{field}` is not a synset number");
    Ok(field)
}

/// The file's letter for a part of speech: `s` shares the numbers of `a`.
fn synset_letter(pos: &str) -> Result<char> {
    Ok(match pos {
        "n" => 'n',
        "v" => 'v',
        "a" | "s" => 'a',
        "r" => 'r',
        _ => bail!("`{pos}` is not a part of speech"),
    })
}

fn hexadecimal(field: &str) -> Result<u8> {
    u8::from_str_radix(field, 16).map_err(|_| anyhow!("`{field}` is not a hexadecimal number of one byte"))
}

/// The word without the mark that says where an adjective may stand, as in `galore(ip)`.
fn without_marker(word: &str) -> &str {
    ["(p)", "(a)", "(ip)"].iter().find_map(|marker| word.strip_suffix(marker)).unwrap_or(word)
}

fn relation_kind(symbol: &str, letter: char) -> Result<&'static str> {
    Ok(match symbol {
        "!" => "antonym",
        "@" => "hypernym",
        "@i" => "instance_hypernym",
        "~" => "hyponym",
        "~i" => "instance_hyponym",
        "#m" => "member_holonym",
        "#s" => "substance_holonym",
        "#p" => "part_holonym",
        "%m" => "member_meronym",
        "%s" => "substance_meronym",
        "%p" => "part_meronym",
        "=" => "attribute",
        "+" => "derivation",
        ";c" => "topic",
        "-c" => "topic_member",
        ";r" => "region",
        "-r" => "region_member",
        ";u" => "usage",
        "-u" => "usage_member",
        "*" => "entailment",
        ">" => "cause",
        "^" => "also_see",
        "$" => "verb_group",
        "&" => "similar_to",
        "<" => "participle",
        "\\" if letter == 'r' => "derived_from",
        "\\" => "pertainym",
        _ => bail!("`{symbol}` is not a relation of WordNet"),
    })
}

fn write_synset(connection: &Connection, synset: &Synset<'_>, letter: char, summary: &mut Summary) -> Result<()> {
    let id = format!("{letter}{}", synset.number);
    connection
        .prepare_cached("INSERT INTO synsets(id, pos, lexfile, gloss) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, synset.pos, synset.lexfile, synset.gloss])?;
    summary.synsets += 1;

    let mut insert_word = connection
        .prepare_cached("INSERT INTO words(id, lemma, pos) VALUES (?1, ?2, ?3) ON CONFLICT(id) DO NOTHING")?;
    let mut insert_sense = connection.prepare_cached("INSERT INTO senses(synset, word, number) VALUES (?1, ?2, ?3)")?;
    let pos = letter.to_string();
    for (number, word) in (1_u32..).zip(&synset.words) {
        let word_id = format!("{word}#{letter}");
        summary.words += insert_word.execute(params![word_id, word.replace('_', " "), pos])? as u64;
        summary.senses += insert_sense.execute(params![id, word_id, number])? as u64;
    }

    let mut insert_relation = connection.prepare_cached(
        "INSERT INTO relations(source, kind, target, source_word, target_word) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO NOTHING",
    )?;
    for relation in &synset.relations {
        let target = format!("{}{}", relation.target_letter, relation.target_number);
        let rows =
            insert_relation.execute(params![id, relation.kind, target, relation.source_word, relation.target_word])?;
        summary.relations += rows as u64;
        summary.relations_repeated += u64::from(rows == 0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOG: &str = "02086723 05 n 02 dog 0 domestic_dog 0 002 @ 02085998 n 0000 + 00000009 s 0102 | a \"pet\"  \n";

    fn extract() -> (Connection, Summary, Vec<Progress>) {
        let connection = Connection::open_in_memory().unwrap();
        let mut seen = Vec::new();
        let summary = import(&connection, &Source::Extract, &mut |progress| seen.push(progress)).unwrap();
        (connection, summary, seen)
    }

    fn number(connection: &Connection, sql: &str) -> i64 {
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn column(connection: &Connection, sql: &str) -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }

    fn import_nouns(nouns: &[u8]) -> Result<Summary> {
        let folder = tempfile::tempdir().unwrap();
        for dictionary in &DICTIONARIES {
            let text: &[u8] = if dictionary.letter == 'n' { nouns } else { b"  1 A notice.  \n" };
            std::fs::write(folder.path().join(dictionary.name), text).unwrap();
        }
        let connection = Connection::open_in_memory().unwrap();
        import(&connection, &Source::Folder(folder.path().to_path_buf()), &mut |_| {})
    }

    /// The numbers were counted in the folder of the extract, without this module:
    ///
    /// - synsets: `grep -hc '^[0-9]' data.noun data.verb data.adj data.adv`
    /// - relations: `grep -hoE ' [0-9]{8} [nvasr] [0-9a-f]{4}' data.* | wc -l`
    /// - senses: per file, `grep '^[0-9]' | sed -E 's/ \| .*//; s/^[0-9]{8} [0-9]{2} [nvasr] [0-9a-f]{2} //;
    ///   s/ [0-9]{3}( .*)?$//' | sed -E 's/([^ ]+) [0-9a-f]( |$)/\1\n/g' | grep .`, and `| wc -l` over all
    /// - words: the same with `sed -E 's/\((a|p|ip)\)$//; s/$/#n/'` (the file's letter) and `| sort -u | wc -l` over all
    #[test]
    fn extract_has_the_rows_that_its_files_have() {
        let (connection, summary, seen) = extract();
        assert_eq!(
            summary,
            Summary { synsets: 2_009, words: 3_547, senses: 3_834, relations: 5_326, relations_repeated: 0 }
        );
        for (table, rows) in [("synsets", 2_009), ("words", 3_547), ("senses", 3_834), ("relations", 5_326)] {
            assert_eq!(number(&connection, &format!("SELECT count(*) FROM {table}")), rows, "{table}");
        }
        for (letter, rows) in [("n", 1_400), ("v", 249), ("a", 320), ("r", 40)] {
            let sql = format!("SELECT count(*) FROM synsets WHERE substr(id, 1, 1) = '{letter}'");
            assert_eq!(number(&connection, &sql), rows, "{letter}");
        }
        let last = seen.last().unwrap();
        assert_eq!((last.bytes_read, last.synsets), (last.bytes_total, 2_009));
    }

    #[test]
    fn extract_refers_only_to_itself_and_hangs_together() {
        let (connection, ..) = extract();
        assert_eq!(number(&connection, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
        let outside = "SELECT count(*) FROM relations WHERE target NOT IN (SELECT id FROM synsets)";
        assert_eq!(number(&connection, outside), 0);
        let reached = "
            WITH RECURSIVE
              edges(a, b) AS MATERIALIZED (SELECT source, target FROM relations UNION SELECT target, source FROM relations),
              reached(id) AS (SELECT 'n00001740' UNION SELECT b FROM reached JOIN edges ON a = id)
            SELECT count(*) FROM reached";
        assert_eq!(number(&connection, reached), 2_009);
    }

    #[test]
    fn animal_reads_as_in_the_dictionary() {
        let (connection, ..) = extract();
        let words = "SELECT lemma FROM senses JOIN words ON words.id = word WHERE synset = 'n00015568' ORDER BY number";
        let expected = ["animal", "animate being", "beast", "brute", "creature", "fauna"];
        assert_eq!(column(&connection, words), expected);
        let hypernym = "SELECT target FROM relations WHERE source = 'n00015568' AND kind = 'hypernym'";
        assert_eq!(column(&connection, hypernym), ["n00004475"]);
        let gloss = "SELECT gloss FROM synsets WHERE id = 'n00015568'";
        assert_eq!(column(&connection, gloss), ["a living organism characterized by voluntary movement"]);
    }

    #[test]
    fn adjective_loses_its_marker_and_keeps_its_cluster() {
        let (connection, ..) = extract();
        assert_eq!(column(&connection, "SELECT lemma FROM words WHERE id = 'alive#a'"), ["alive"]);
        assert_eq!(column(&connection, "SELECT pos FROM synsets WHERE id = 'a00930614'"), ["s"]);
        assert_eq!(number(&connection, "SELECT count(*) FROM words WHERE lemma LIKE '%(%'"), 0);
        let antonym = "SELECT source_word || target || target_word FROM relations
                       WHERE source = 'a00045781' AND kind = 'antonym'";
        assert_eq!(column(&connection, antonym), ["1a000462341"]);
    }

    #[test]
    fn one_line_is_taken_apart() {
        let synset = parse_line(DOG, 'n').unwrap();
        assert_eq!((synset.number, synset.lexfile, synset.pos), ("02086723", 5, "n"));
        assert_eq!(synset.words, ["dog", "domestic_dog"]);
        assert_eq!(synset.gloss, "a \"pet\"");
        let [hypernym, derivation] = &synset.relations[..] else { panic!("two relations expected") };
        assert_eq!((hypernym.kind, hypernym.target_letter, hypernym.target_number), ("hypernym", 'n', "02085998"));
        assert_eq!((derivation.target_letter, derivation.source_word, derivation.target_word), ('a', 1, 2));
    }

    #[test]
    fn relation_stated_twice_is_written_once() {
        let twice = DOG.replace("002 @", "003 @ 02085998 n 0000 @");
        let summary = import_nouns(twice.as_bytes()).unwrap();
        assert_eq!((summary.relations, summary.relations_repeated), (2, 1));
    }

    #[test]
    fn malformed_line_is_named_with_file_and_line() {
        let cases: [(String, &str); 8] = [
            (DOG.replace(" | a \"pet\"  ", ""), "the gloss, set off by ` | `, is missing"),
            (DOG.replace(" n 02 ", " n 03 "), "`02085998` is not a relation count"),
            (DOG.replace(" n 02 ", " v 02 "), "a synset of part of speech `v` does not belong in this file"),
            (DOG.replace("002 @", "003 @"), "the line ends before its relation"),
            (DOG.replace("@", "?"), "`?` is not a relation of WordNet"),
            (DOG.replace("0102", "0302"), "a relation starts at word 3 of 2"),
            (DOG.replace("02086723", "2086723"), "`2086723` is not a synset number"),
            ("x".repeat(LINE_BYTES_MAX as usize + 1), "the line is longer than 65536 bytes"),
        ];
        for (line, reason) in cases {
            let nouns = format!("  1 A notice.  \n{}{line}", DOG.replace("02086723", "00000001"));
            let error = format!("{:#}", import_nouns(nouns.as_bytes()).unwrap_err());
            let (place, found) = error.split_once(", line 3: ").unwrap_or_else(|| panic!("{error}"));
            assert!(place.ends_with("data.noun"), "{error}");
            assert_eq!(found, reason);
        }
        let error = format!("{:#}", import_nouns(b"\xff\xfe |\n").unwrap_err());
        assert!(error.contains("data.noun, line 1: the line is not UTF-8"), "{error}");
        let error = format!("{:#}", import_nouns(DOG.repeat(2).as_bytes()).unwrap_err());
        assert!(error.contains("data.noun, line 2: UNIQUE constraint failed: synsets.id"), "{error}");
    }

    #[test]
    fn folder_without_dictionaries_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open_in_memory().unwrap();
        let error = import(&connection, &Source::Folder(folder.path().to_path_buf()), &mut |_| {}).unwrap_err();
        assert!(format!("{error:#}").contains("data.noun: give the folder that holds WordNet's"), "{error:#}");
        assert_eq!(number(&connection, "SELECT count(*) FROM sqlite_schema"), 0);
    }
}

//! Random writes to a few tables with few keys, so that nodes meet on the same rows.

use kithdb_tests::random::Random;

/// The tables of every simulation, and how they are made.
pub const TABLES: [(&str, &str); 4] = [
    ("notes", "CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT, stars INTEGER)"),
    ("items", "CREATE TABLE items(id INTEGER PRIMARY KEY, title TEXT, data BLOB)"),
    ("seats", "CREATE TABLE seats(hall TEXT, seat INTEGER, guest TEXT UNIQUE, PRIMARY KEY(hall, seat)) WITHOUT ROWID"),
    ("words", "CREATE TABLE words(word TEXT PRIMARY KEY COLLATE NOCASE, count INTEGER NOT NULL)"),
];

const WORDS: [&str; 8] = ["a", "B", "b", "cat", "Cat", "dog", "", "ä"];

fn write(random: &mut Random, table: usize) -> String {
    let (key, number) = (random.below(10), random.below(100));
    let word = random.pick(&WORDS);
    let how = random.pick(&["INSERT OR REPLACE", "INSERT OR IGNORE", "INSERT"]);
    match (table, random.below(10)) {
        (0, 0..4) => format!("{how} INTO notes VALUES('n{key}', '{word} {number}', {number});"),
        (0, 4..7) => format!("UPDATE notes SET stars = stars + 1, body = '{number}' WHERE id = 'n{key}';"),
        (0, 7) => format!("UPDATE OR IGNORE notes SET id = 'n{}' WHERE id = 'n{key}';", random.below(10)),
        (0, 8) => {
            let rows = random.between(50, 400);
            format!(
                "WITH RECURSIVE c(n) AS (SELECT {key} UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
                 INSERT OR REPLACE INTO notes SELECT 'n' || n, 'bulk {number} ' || n, n FROM c;"
            )
        }
        (0, _) => format!("DELETE FROM notes WHERE id >= 'n{key}';"),
        (1, 0..4) => format!("{how} INTO items(title, data) VALUES('{word}', NULL);"),
        (1, 4) => format!("{how} INTO items(id, title) VALUES({key}, '{number}');"),
        (1, 5) => {
            let words = *random.pick(&[10, 600, 9_000, 40_000]);
            // Nothing that compresses, so that it goes over in several pieces.
            let hex: String = (0..words).map(|_| format!("{:016x}", random.bits())).collect();
            format!("INSERT OR REPLACE INTO items VALUES({key}, 'big', x'{hex}');")
        }
        (1, 6..8) => format!("UPDATE items SET title = '{word} {number}' WHERE id % 5 = {};", key % 5),
        (1, _) => format!("DELETE FROM items WHERE id = {key};"),
        (2, 0..6) => format!("{how} INTO seats VALUES('{word}', {}, 'guest {}');", key % 3, number % 6),
        (2, 6..8) => format!("UPDATE OR IGNORE seats SET guest = 'guest {}' WHERE hall = '{word}';", number % 6),
        (2, 8) => format!("UPDATE OR REPLACE seats SET seat = {} WHERE seat = {};", key % 3, number % 3),
        (2, _) => format!("DELETE FROM seats WHERE hall = '{word}';"),
        (3, 0..6) => {
            format!("INSERT INTO words VALUES('{word}', {number}) ON CONFLICT DO UPDATE SET count = count + 1;")
        }
        (3, 6..8) => format!("UPDATE words SET count = {number} WHERE count < {number};"),
        _ => format!("DELETE FROM words WHERE word = '{word}';"),
    }
}

/// Writes a transaction on one table or several.
pub fn transaction(random: &mut Random) -> String {
    let table = random.below(TABLES.len());
    match random.below(10) {
        0..6 => write(random, table),
        6 => format!("BEGIN; {} {} ROLLBACK;", write(random, table), write(random, table)),
        _ => {
            let count = random.between(2, 5);
            let writes: Vec<String> = (0..count)
                .map(|_| {
                    let table = random.below(TABLES.len());
                    write(random, table)
                })
                .collect();
            format!("BEGIN; {} COMMIT;", writes.join(" "))
        }
    }
}

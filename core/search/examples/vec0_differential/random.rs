//! Random programs of writes, transactions and searches.

use std::path::Path;

use anyhow::{Result, ensure};
use rusqlite::types::Value;

use crate::answers::{Answer, are_nearest_alike};
use crate::sides::Pair;

/// Statements of one program.
const STEPS: u64 = 250;

/// What the programs did.
#[derive(Debug, Default)]
pub struct Counts {
    pub searches: usize,
    pub neighbours: usize,
    pub writes: usize,
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// The table of a program.
struct Setting {
    key: &'static str,
    has_text_key: bool,
    dimensions: u64,
    metric: &'static str,
    has_others: bool,
}

impl Setting {
    fn declaration(&self) -> String {
        let key = match (self.key, self.has_text_key) {
            ("rowid", _) => String::new(),
            (key, true) => format!("{key} text primary key, "),
            (key, false) => format!("{key} integer primary key, "),
        };
        let others = if self.has_others { ", i int8[3], b bit[16]" } else { "" };
        format!(
            "CREATE VIRTUAL TABLE x USING vec0({key}e float[{}] distance_metric={}{others}, p text partition key, n integer, f float, t text, o boolean, +a text, chunk_size=8)",
            self.dimensions, self.metric
        )
    }

    fn key(&self, random: &mut Random) -> String {
        let number = random.below(60) + 1;
        if self.has_text_key { format!("'key {number}'") } else { number.to_string() }
    }

    /// An embedding, of few numbers now and then, so that there are equal distances.
    fn embedding(&self, random: &mut Random) -> String {
        let is_coarse = random.below(3) == 0;
        let mut number = |place: u64| match is_coarse {
            // Never all zero.
            true => format!("{}", random.below(3) + u64::from(place == 0)),
            false => format!("{}", random.below(20_001) as f64 / 10_000.0 - 1.0),
        };
        let list: Vec<_> = (0..self.dimensions).map(&mut number).collect();
        format!("'[{}]'", list.join(","))
    }

    fn int8(random: &mut Random) -> String {
        let list: Vec<_> = (0..3).map(|_| (random.below(256) as i64 - 128).to_string()).collect();
        format!("vec_int8('[{}]')", list.join(","))
    }

    fn bits(random: &mut Random) -> String {
        format!("vec_bit(x'{:04x}')", random.below(1 << 16))
    }

    fn text(random: &mut Random) -> String {
        let tail = random.one(&["", " and more than twelve letters", " and more than that"]);
        format!("'text {}{tail}'", random.below(6))
    }

    fn insert(&self, random: &mut Random) -> String {
        let key = if self.has_text_key || random.below(4) > 0 { self.key(random) } else { "NULL".to_owned() };
        let embedding = if random.below(25) == 0 { "'[1]'".to_owned() } else { self.embedding(random) };
        let others = match self.has_others {
            true => format!(", {}, {}", Self::int8(random), Self::bits(random)),
            false => String::new(),
        };
        let others_named = if self.has_others { ", i, b" } else { "" };
        // Of a wrong type only what sqlite-vec notices before it has written a part of the row, which it leaves there in a transaction.
        let number = random.below(10);
        format!(
            "INSERT INTO x({}, e{others_named}, p, n, f, t, o, a) VALUES({key}, {embedding}{others}, {}, {number}, {:.1}, {}, {}, {})",
            self.key,
            random.one(&["'a'", "'b'", "'c'", "NULL"]),
            random.below(10) as f64 / 2.0,
            Self::text(random),
            random.below(2),
            random.one(&["NULL", "'aux'", "'another'"]),
        )
    }

    fn update(&self, random: &mut Random) -> String {
        let change = match random.below(6) {
            0 => format!("n = {}", random.below(10)),
            1 => format!("t = {}", Self::text(random)),
            2 => format!("o = {}", random.below(3)),
            3 => format!("a = 'new', f = {:.1}", random.below(10) as f64 / 2.0),
            _ => format!("e = {}", self.embedding(random)),
        };
        format!("UPDATE x SET {change} WHERE {} = {}", self.key, self.key(random))
    }

    /// A condition; those that sqlite-vec judges otherwise than SQL does are left out.
    fn condition(&self, random: &mut Random) -> String {
        let compared = random.one(&["=", "!=", "<", "<=", ">", ">="]);
        match random.below(9) {
            0 => format!("n {compared} {}", random.below(10)),
            1 => format!("f {compared} {:.1}", random.below(10) as f64 / 2.0),
            2 => format!("t {compared} {}", Self::text(random)),
            3 => format!("o {} {}", random.one(&["=", "!="]), random.below(2)),
            4 => format!("n IN ({}, {}, {})", random.below(10), random.below(10), random.below(10)),
            5 => format!("t IN ({}, {})", Self::text(random), Self::text(random)),
            6 => format!("p {compared} {}", random.one(&["'a'", "'b'", "'c'"])),
            // Of text keys only such as there are: another makes sqlite-vec find nothing.
            7 if !self.has_text_key => {
                format!("{} IN ({}, {}, {})", self.key, self.key(random), self.key(random), self.key(random))
            }
            _ => format!("{} IN (SELECT {} FROM x WHERE n < {})", self.key, self.key, random.below(10)),
        }
    }

    fn search(&self, random: &mut Random, pair: &Pair, counts: &mut Counts) -> Result<()> {
        let (column, query) = match random.below(if self.has_others { 3 } else { 1 }) {
            0 => ("e", self.embedding(random)),
            1 => ("i", Self::int8(random)),
            _ => ("b", Self::bits(random)),
        };
        let mut conditions = String::new();
        for _ in 0..random.below(4) {
            let condition = self.condition(random);
            // sqlite-vec takes one list of keys.
            if !(condition.starts_with(self.key) && conditions.contains(&format!("{} IN", self.key))) {
                conditions = format!("{conditions} AND {condition}");
            }
        }
        let count = random.one(&[1, 2, 3, 5, 10, 30]);
        let ask = |count: u64| {
            format!("SELECT {}, distance FROM x WHERE {column} MATCH {query} AND k = {count}{conditions}", self.key)
        };
        let sql = match random.below(3) {
            0 if conditions.is_empty() => {
                format!(
                    "SELECT {}, distance FROM x WHERE {column} MATCH {query} ORDER BY distance LIMIT {count}",
                    self.key
                )
            }
            _ => ask(count),
        };
        let ([theirs, ours], [all, _]) = (pair.run(&sql), pair.run(&ask(4096)));
        let wrong = || format!("{sql}\n  sqlite-vec: {theirs:?}\n  ours: {ours:?}");
        let (Some(near), Some(found), Some(all)) = (pairs(&theirs), pairs(&ours), pairs(&all)) else {
            anyhow::bail!(wrong());
        };
        ensure!(are_nearest_alike(&near, &found, &all), wrong());
        counts.searches += 1;
        counts.neighbours += found.len();
        Ok(())
    }
}

fn pairs(answer: &Answer) -> Option<Vec<(String, f64)>> {
    let pair = |row: &Vec<Value>| match row.as_slice() {
        [key, Value::Real(distance)] => Some((format!("{key:?}"), *distance)),
        _ => None,
    };
    answer.as_ref().ok()?.iter().map(pair).collect()
}

/// Runs the program of a seed.
pub fn run(extension: &Path, seed: u64, counts: &mut Counts) -> Result<()> {
    let mut random = Random(seed);
    let has_text_key = random.below(3) == 0;
    let setting = Setting {
        key: if has_text_key { "id" } else { random.one(&["rowid", "id"]) },
        has_text_key,
        dimensions: random.one(&[2, 4, 9]),
        metric: random.one(&["l2", "l1", "cosine"]),
        has_others: random.below(2) == 0,
    };
    let pair = Pair::open(extension)?;
    pair.same(&setting.declaration())?;
    for step in 0..STEPS {
        let sql = match random.below(if step < 60 { 10 } else { 24 }) {
            0..8 => setting.insert(&mut random),
            8 | 9 => setting.update(&mut random),
            10 => format!("DELETE FROM x WHERE {} = {}", setting.key, setting.key(&mut random)),
            11 => random.one(&["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT s", "ROLLBACK TO s", "RELEASE s"]).to_owned(),
            12 => {
                format!("SELECT {}, e, p, n, f, t, o, a FROM x WHERE {}", setting.key, setting.condition(&mut random))
            }
            13 if random.below(4) == 0 => format!("DELETE FROM x WHERE {}", setting.condition(&mut random)),
            _ => {
                setting.search(&mut random, &pair, counts)?;
                continue;
            }
        };
        pair.same(&sql)?;
        pair.same("SELECT changes(), count(*) FROM x")?;
        counts.writes += 1;
    }
    pair.same("ROLLBACK")?;
    pair.same(&format!("SELECT {}, e, p, n, f, t, o, a FROM x", setting.key)).map(drop)
}

//! Random programs over random tables.

use kithdb_tests::random::Random;

use crate::program::{Program, Step, Storage};
use crate::statements::{insert, query, statement};
use crate::tables::{Table, conflict, literal};

/// What the generator knows while it writes a program.
struct Writer<'r> {
    random: &'r mut Random,
    synced: Vec<Table>,
    /// Tables that are not synced, the twins of synced ones among them.
    others: Vec<Table>,
    savepoints: usize,
    in_transaction: bool,
    triggers: usize,
    indexes: usize,
    attached: bool,
    /// Whether a TEMP table may hide a synced one.
    is_hidden: bool,
    /// Whether triggers and RETURNING ask for `changes()`. After a COMMIT or a seal that is exact outside of nested triggers only, so
    /// such programs have neither.
    asks_changes: bool,
    steps: Vec<Step>,
}

/// Writes the program of a seed.
pub fn generate(seed: u64) -> Program {
    let mut random = Random::new(seed);
    let random = &mut random;
    let asks_changes = random.percent(20);
    let mut synced: Vec<Table> = Vec::new();
    for index in 0..random.between(1, 3) {
        let parents = synced.clone();
        synced.push(Table::generate(random, &format!("t{index}"), &parents));
    }
    let mut others = vec![random.pick(&synced).twin("twin")];
    if random.percent(50) {
        others.push(Table::generate(random, "loose", &synced.clone()));
    }
    let mut setup: Vec<String> = Vec::new();
    setup.push("CREATE TABLE audit(id INTEGER PRIMARY KEY, note, a, b, c)".to_owned());
    setup.extend(synced.iter().chain(&others).map(Table::create));
    let mut writer = Writer {
        random,
        synced,
        others,
        savepoints: 0,
        in_transaction: false,
        triggers: 0,
        indexes: 0,
        attached: false,
        is_hidden: false,
        asks_changes,
        steps: Vec::new(),
    };
    for _ in 0..writer.random.below(3) {
        setup.push(writer.index());
    }
    for _ in 0..writer.random.below(4) {
        setup.push(writer.trigger());
    }
    if writer.random.percent(25) {
        // Rows from before sync.
        for _ in 0..writer.random.between(1, 4) {
            let table = writer.any_synced();
            setup.push(insert(writer.random, &table, "OR IGNORE"));
        }
    }
    let storage = match writer.random.below(100) {
        0..=1 => Storage::Wal,
        2..=3 => Storage::Journal,
        _ => Storage::Memory,
    };
    if writer.random.percent(50) {
        writer.sql("PRAGMA foreign_keys = ON".to_owned());
    }
    if writer.random.percent(20) {
        writer.sql("PRAGMA recursive_triggers = ON".to_owned());
    }
    for _ in 0..writer.random.between(4, 26) {
        writer.step(storage);
    }
    let synced = writer.synced.iter().map(|table| table.name.clone()).collect();
    Program { storage, setup, synced, steps: writer.steps }
}

impl Writer<'_> {
    fn sql(&mut self, sql: String) {
        self.steps.push(Step::Sql(sql));
    }

    fn any_synced(&mut self) -> Table {
        self.random.pick(&self.synced).clone()
    }

    fn any_table(&mut self) -> Table {
        if self.random.percent(80) { self.any_synced() } else { self.random.pick(&self.others).clone() }
    }

    fn all_tables(&self) -> Vec<Table> {
        self.synced.iter().chain(&self.others).cloned().collect()
    }

    fn step(&mut self, storage: Storage) {
        if storage != Storage::Memory && self.random.percent(25) {
            return self.other_connection();
        }
        match self.random.below(100) {
            60..=77 | 95..=97 if self.asks_changes => self.write(),
            0..=59 => self.write(),
            60..=77 => self.transaction(),
            78..=80 => self.cursor(),
            81..=82 => {
                let table = self.any_table();
                let sql = query(self.random, &table);
                self.sql(sql);
            }
            83..=84 => self.blob(),
            85..=87 => self.schema(),
            88..=89 => self.refused(),
            90..=91 => self.attach(),
            // SQLite loses the indexes of a table that a TEMP table hides.
            92 if self.is_hidden => self.write(),
            92 => self.sql("VACUUM".to_owned()),
            // It looks at the indexes of a replica too, and takes the lock for that.
            93 if storage == Storage::Memory && self.random.percent(10) => self.sql("PRAGMA optimize".to_owned()),
            93..=94 => self.pragma(),
            95..=96 => self.steps.push(Step::Seal),
            97 => self.steps.push(Step::Deliver),
            98 => self.temporary(),
            _ => self.swap_keys(),
        }
    }

    fn write(&mut self) {
        let table = self.any_table();
        let all = self.all_tables();
        let sql = statement(self.random, &table, &all);
        if self.random.percent(30) {
            let sql = format!("{sql} RETURNING {}", self.returning(&table));
            let step = if self.random.percent(40) { Step::Reset(self.random.below(3), sql) } else { Step::Sql(sql) };
            self.steps.push(step);
        } else {
            self.sql(sql);
        }
    }

    fn transaction(&mut self) {
        let choice = self.random.below(100);
        let name = self.random.below(3);
        let sql = match choice {
            0..=29 if !self.in_transaction => {
                self.in_transaction = true;
                (*self.random.pick(&["BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])).to_owned()
            }
            0..=15 => {
                self.in_transaction = false;
                self.savepoints = 0;
                (*self.random.pick(&["COMMIT", "COMMIT", "ROLLBACK"])).to_owned()
            }
            16..=54 => {
                self.savepoints += 1;
                format!("SAVEPOINT s{name}")
            }
            55..=74 => format!("ROLLBACK TO s{name}"),
            75..=89 => format!("RELEASE s{name}"),
            90..=94 => "COMMIT".to_owned(),
            95..=97 => "ROLLBACK".to_owned(),
            _ => "BEGIN".to_owned(),
        };
        self.sql(sql);
    }

    fn cursor(&mut self) {
        let cursor = self.random.below(2);
        let step = match self.random.below(4) {
            0 | 1 => {
                let table = self.any_table();
                let sql = if self.random.percent(70) {
                    format!("SELECT * FROM main.{}", table.name)
                } else {
                    let all = self.all_tables();
                    format!("{} RETURNING *", statement(self.random, &table, &all))
                };
                Step::Open(cursor, sql)
            }
            2 => Step::More(cursor, self.random.between(1, 3)),
            _ => Step::Close(cursor),
        };
        self.steps.push(step);
    }

    fn blob(&mut self) {
        let table = self.any_table();
        let column = table.column(self.random).name.trim_matches('"').to_owned();
        if column.contains(' ') {
            return;
        }
        let bytes = (0..self.random.below(4)).map(|_| self.random.bits() as u8).collect();
        let step = Step::Blob {
            table: table.name,
            column,
            rowid: self.random.below(5) as i64,
            offset: self.random.below(4) as i32,
            bytes,
        };
        self.steps.push(step);
    }

    fn index(&mut self) -> String {
        self.indexes += 1;
        let table = self.any_table();
        let name = format!("i{}", self.indexes);
        let columns: Vec<_> = (0..self.random.between(1, 2)).map(|_| table.column(self.random).name.clone()).collect();
        let unique = if self.random.percent(25) { "UNIQUE " } else { "" };
        let condition = if self.random.percent(20) {
            format!(" WHERE {} IS NOT NULL", table.column(self.random).name)
        } else {
            String::new()
        };
        let columns = if self.random.percent(15) { format!("length({})", columns[0]) } else { columns.join(", ") };
        format!("CREATE {unique}INDEX {name} ON {}({columns}){condition}", table.name)
    }

    fn trigger(&mut self) -> String {
        self.triggers += 1;
        let table = self.any_table();
        let name = format!("g{}", self.triggers);
        let time = *self.random.pick(&["BEFORE", "AFTER", "AFTER"]);
        let event = *self.random.pick(&["INSERT", "UPDATE", "DELETE"]);
        let of = if event == "UPDATE" && self.random.percent(30) {
            format!(" OF {}", table.column(self.random).name)
        } else {
            String::new()
        };
        let row = if event == "DELETE" { "old" } else { "new" };
        let column = table.column(self.random).clone();
        let when = if self.random.percent(40) {
            format!(" WHEN {row}.{} IS NOT {}", column.name, literal(self.random, column.kind))
        } else {
            String::new()
        };
        let mut body = String::new();
        for _ in 0..self.random.between(1, 2) {
            let sql = self.trigger_statement(row, &table);
            body.push_str(&format!("{sql}; "));
        }
        format!("CREATE TRIGGER {name} {time} {event}{of} ON {}{when} BEGIN {body}END", table.name)
    }

    fn trigger_statement(&mut self, row: &str, table: &Table) -> String {
        let column = table.column(self.random).clone();
        let value = format!("{row}.{}", column.name);
        match self.random.below(10) {
            0..=2 => {
                let changes = if self.asks_changes { "changes()" } else { "0" };
                format!(
                    "INSERT INTO audit(note, a, b, c) VALUES({value}, {changes}, total_changes(), last_insert_rowid())"
                )
            }
            3 => {
                let action = self.random.pick(&["ABORT, 'no'", "FAIL, 'no'", "ROLLBACK, 'no'", "IGNORE"]);
                format!("SELECT RAISE({action}) WHERE {value} = {}", literal(self.random, column.kind))
            }
            4 => {
                let key = table.key_columns()[0].name.clone();
                let cell = table.cells();
                let Some(cell) = cell.first() else { return "SELECT 1".to_owned() };
                format!(
                    "UPDATE {} SET {} = {} WHERE {key} = {row}.{key}",
                    table.name,
                    cell.name,
                    literal(self.random, cell.kind)
                )
            }
            _ => {
                let target = self.any_table();
                let all = self.all_tables();
                // Copying whole tables inside a trigger ends the trigger in SQLite if the target is empty, unless it has triggers itself.
                let sql = statement(self.random, &target, &all);
                if sql.contains("SELECT * FROM") { format!("{sql} WHERE true") } else { sql }
            }
        }
    }

    fn schema(&mut self) {
        let sql = match self.random.below(9) {
            0 => self.index(),
            1 | 2 => self.trigger(),
            3 => format!("DROP TRIGGER IF EXISTS g{}", self.random.between(1, 4)),
            4 => format!("CREATE TABLE extra{}(a, b)", self.random.below(2)),
            5 => "DROP TABLE IF EXISTS extra0".to_owned(),
            6 => {
                let table = self.random.pick(&self.others).name.clone();
                format!("ALTER TABLE {table} ADD COLUMN added{}", self.random.below(3))
            }
            7 => format!("CREATE TABLE copy{} AS SELECT * FROM {}", self.random.below(2), self.any_synced().name),
            _ => format!("CREATE VIEW IF NOT EXISTS v AS SELECT * FROM {}", self.any_synced().name),
        };
        // A new UNIQUE index is a schema change that does not travel yet.
        if !sql.starts_with("CREATE UNIQUE") {
            self.sql(sql);
        }
    }

    fn refused(&mut self) {
        let table = self.any_synced().name;
        let sql = match self.random.below(5) {
            0 => format!("DROP TABLE {table}"),
            1 => format!("ALTER TABLE {table} ADD COLUMN late"),
            2 => format!("ALTER TABLE {table} RENAME TO other"),
            3 => format!("ALTER TABLE {} RENAME COLUMN a TO q", table.to_uppercase()),
            _ => format!("CREATE TABLE IF NOT EXISTS {table}(other)"),
        };
        self.sql(sql);
    }

    fn attach(&mut self) {
        if !self.attached {
            self.attached = true;
            self.sql("ATTACH ':memory:' AS side".to_owned());
            let table = self.any_synced();
            let create = table.create().replacen("CREATE TABLE ", "CREATE TABLE side.", 1);
            // A table of the same name in another database is not the synced one.
            return self.sql(create.replace("REFERENCES", "CHECK(1) REFERENCES"));
        }
        let table = self.any_synced();
        let sql = match self.random.below(5) {
            0 => format!("INSERT OR IGNORE INTO side.{0} SELECT * FROM main.{0}", table.name),
            1 => format!("INSERT OR REPLACE INTO main.{0} SELECT * FROM side.{0}", table.name),
            2 => format!("DELETE FROM side.{}", table.name),
            3 => insert(self.random, &table.twin(&format!("side.{}", table.name)), "OR REPLACE"),
            _ => {
                self.attached = false;
                "DETACH side".to_owned()
            }
        };
        self.sql(sql);
    }

    fn temporary(&mut self) {
        let table = self.any_synced();
        let sql = match self.random.below(5) {
            0 => format!(
                "CREATE TEMP TRIGGER IF NOT EXISTS tt AFTER INSERT ON main.{} BEGIN INSERT INTO audit(note) VALUES('temp'); END",
                table.name
            ),
            1 => "DROP TRIGGER IF EXISTS temp.tt".to_owned(),
            2 => {
                self.is_hidden = true;
                table.twin(&format!("temp.{}", table.name)).create()
            }
            3 => format!("DROP TABLE IF EXISTS temp.{}", table.name),
            _ => "CREATE TEMP TABLE IF NOT EXISTS scratch AS SELECT 1 AS one".to_owned(),
        };
        self.sql(sql);
    }

    fn pragma(&mut self) {
        let choices = [
            "PRAGMA foreign_keys = ON",
            "PRAGMA foreign_keys = OFF",
            "PRAGMA defer_foreign_keys = ON",
            "PRAGMA recursive_triggers = ON",
            "PRAGMA recursive_triggers = OFF",
            "PRAGMA reverse_unordered_selects = ON",
            "PRAGMA cache_size = 10",
            "PRAGMA cache_spill = ON",
            "PRAGMA foreign_key_check",
            "PRAGMA user_version = 7",
            "PRAGMA short_column_names = OFF",
            "ANALYZE",
        ];
        let sql = match self.random.below(choices.len() + 1) {
            // Of one table: a replica has indexes of its own, which take the lock where plain SQLite has nothing to do.
            0 => format!("REINDEX {}", self.any_table().name),
            choice => choices[choice - 1].to_owned(),
        };
        self.sql(sql);
    }

    fn swap_keys(&mut self) {
        let table = self.any_synced();
        let key = table.key_columns()[0].clone();
        let (one, two) = (literal(self.random, key.kind), literal(self.random, key.kind));
        let name = &key.name;
        let spare = if self.random.percent(50) { "-77".to_owned() } else { literal(self.random, key.kind) };
        let clause = if self.random.percent(20) { format!("OR {} ", conflict(self.random)) } else { String::new() };
        let parts = [(&one, &spare), (&two, &one), (&spare, &two)];
        for (from, to) in parts {
            self.sql(format!("UPDATE {clause}{} SET {name} = {to} WHERE {name} = {from}", table.name));
        }
    }

    fn other_connection(&mut self) {
        let choices = [
            "BEGIN IMMEDIATE",
            "BEGIN",
            "SELECT count(*) FROM audit",
            "SELECT count(*) FROM audit",
            "INSERT INTO audit(note) VALUES('other')",
            "INSERT INTO audit(note) VALUES('other')",
            "COMMIT",
            "COMMIT",
            "ROLLBACK",
        ];
        let sql = (*self.random.pick(&choices)).to_owned();
        self.steps.push(Step::Other(sql));
    }

    fn returning(&mut self, table: &Table) -> String {
        let column = table.column(self.random).name.clone();
        match self.random.below(4) {
            0 => "*".to_owned(),
            1 => format!("{column}, typeof({column})"),
            2 if self.asks_changes => "changes(), total_changes(), last_insert_rowid()".to_owned(),
            2 => "total_changes(), last_insert_rowid()".to_owned(),
            _ => column,
        }
    }
}

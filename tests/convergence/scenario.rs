//! What happens in one run: drawn from the seed before anything runs, so that a failing run can be cut down event by event.

use std::fmt;

use crate::rng::Rng;
use crate::shapes::{SHAPES, Shape};
use crate::sql;

/// The order of a pull that takes all there is.
pub const EVERYTHING: u64 = u64::MAX;

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Event {
    /// A peer creates a table and its indexes.
    Create { peer: usize, table: usize },
    /// A peer takes a table in.
    Sync { peer: usize, table: usize },
    /// A peer runs SQL; what SQLite refuses is refused.
    Run { peer: usize, sql: Vec<String> },
    /// A peer seals what it wrote.
    Seal { peer: usize, bytes: usize },
    /// A peer stores some of what another has, in the order that the seed gives.
    Pull { to: usize, from: usize, order: u64 },
    /// A peer merges what it stored.
    Apply { peer: usize, bytes: usize },
    /// What a peer has merged so far is compared with the model.
    Check { peer: usize },
    /// A peer's device signs an entry that no SQL would make.
    Forge { peer: usize, table: usize, order: u64 },
    /// Time passes for everybody, in milliseconds.
    Wait { ms: u64 },
    /// A peer's clock is set.
    Skew { peer: usize, ms: i64 },
    /// A peer's file is copied and the copy opened, as one more peer.
    Copy { peer: usize },
    /// A peer's file is copied, to be restored later.
    BackUp { peer: usize },
    /// A peer's file is replaced by its last copy.
    Restore { peer: usize },
    /// A peer writes and everybody hears of it; its file is replaced, with the sidecar, by a copy from before that; it writes again and
    /// seals that before it learns of it.
    Strand { peer: usize, published: Vec<String>, stranded: Vec<String> },
    /// A peer's file is closed and opened again.
    Reopen { peer: usize },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { peer, table } => write!(f, "{peer}: create {}", SHAPES[*table].name),
            Self::Sync { peer, table } => write!(f, "{peer}: kith_sync {}", SHAPES[*table].name),
            Self::Run { peer, sql } => write!(f, "{peer}: {}", sql.join(";\n     ")),
            Self::Seal { peer, bytes } => write!(f, "{peer}: seal {bytes}"),
            Self::Pull { to, from, order } => write!(f, "{to}: pull from {from} (order {order})"),
            Self::Apply { peer, bytes } => write!(f, "{peer}: apply {bytes}"),
            Self::Forge { peer, table, order } => {
                write!(f, "{peer}: forge an entry of {} (order {order})", SHAPES[*table].name)
            }
            Self::Check { peer } => write!(f, "{peer}: check"),
            Self::Wait { ms } => write!(f, "wait {ms} ms"),
            Self::Skew { peer, ms } => write!(f, "{peer}: clock off by {ms} ms"),
            Self::Copy { peer } => write!(f, "{peer}: copy the file"),
            Self::BackUp { peer } => write!(f, "{peer}: back the file up"),
            Self::Restore { peer } => write!(f, "{peer}: restore the file"),
            Self::Strand { peer, published, stranded } => write!(
                f,
                "{peer}: publish {};\n     restore unnoticed and write {}",
                published.join(";\n     "),
                stranded.join(";\n     ")
            ),
            Self::Reopen { peer } => write!(f, "{peer}: close and open"),
        }
    }
}

/// One run.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    /// How many peers begin; copies come on top.
    pub peers: usize,
    /// Whether the peers have files.
    pub on_disk: bool,
    /// Whether some entries are forged.
    pub forges: bool,
    /// Tables, as indexes into [`SHAPES`], parents first.
    pub tables: Vec<usize>,
    /// How fast each peer's clock runs, in parts per thousand off.
    pub drifts: Vec<i64>,
    /// What each peer sets and which triggers it has.
    pub settings: Vec<Vec<String>>,
    pub events: Vec<Event>,
}

impl Scenario {
    /// Draws a run.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let rng = &mut rng;
        let on_disk = rng.chance(4);
        let peers = if on_disk { 2 + rng.below(2) } else { 2 + rng.weighted(&[40, 35, 15, 10]) };
        let tables = draw_tables(rng);
        let drifts = (0..peers).map(|_| if rng.chance(30) { rng.between(-50, 50) } else { 0 }).collect();
        let mut scenario = Self {
            seed,
            peers,
            on_disk,
            forges: rng.chance(20),
            tables,
            drifts,
            settings: Vec::new(),
            events: Vec::new(),
        };
        scenario.draw_settings(rng);
        scenario.draw_start(rng);
        let count = if on_disk { 12 + rng.below(16) } else { 20 + rng.below(56) };
        for _ in 0..count {
            scenario.draw_event(rng);
        }
        scenario
    }

    /// Draws a run of a few writes, one table known to all, and little said in between.
    pub fn draw_small(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x0de5);
        let rng = &mut rng;
        let peers = 2 + rng.below(2);
        let tables = draw_tables(rng);
        let settings = vec![vec!["PRAGMA foreign_keys = 1".to_owned()]; peers];
        let mut scenario = Self {
            seed,
            peers,
            on_disk: false,
            forges: rng.chance(30),
            tables,
            drifts: vec![0; peers],
            settings,
            events: Vec::new(),
        };
        for &table in &scenario.tables {
            scenario.events.push(Event::Create { peer: 0, table });
            scenario.events.push(Event::Sync { peer: 0, table });
        }
        scenario.events.push(Event::Seal { peer: 0, bytes: 1 << 20 });
        for to in 1..peers {
            scenario.events.push(Event::Pull { to, from: 0, order: EVERYTHING });
            scenario.events.push(Event::Apply { peer: to, bytes: 1 << 20 });
        }
        for _ in 0..4 + rng.below(4) {
            let peer = rng.below(peers);
            let event = match rng.below(if scenario.forges { 6 } else { 5 }) {
                0..3 => Event::Run { peer, sql: sql::program(rng, &scenario.shapes()) },
                3 => Event::Seal { peer, bytes: 1 << 20 },
                5 => Event::Forge { peer, table: *rng.pick(&scenario.tables), order: rng.next() },
                _ => {
                    let from = (peer + 1) % peers;
                    scenario.events.push(Event::Pull { to: peer, from, order: rng.next() });
                    Event::Apply { peer, bytes: 1 << 20 }
                }
            };
            scenario.events.push(event);
        }
        scenario
    }

    fn shapes(&self) -> Vec<&'static Shape> {
        self.tables.iter().map(|&table| &SHAPES[table]).collect()
    }

    fn draw_settings(&mut self, rng: &mut Rng) {
        let triggers = if rng.chance(25) { draw_triggers(rng, &self.shapes()) } else { Vec::new() };
        for _ in 0..self.peers {
            let mut settings = vec![
                format!("PRAGMA foreign_keys = {}", rng.chance(60)),
                format!("PRAGMA recursive_triggers = {}", rng.chance(50)),
            ];
            if rng.chance(80) {
                settings.extend(triggers.iter().cloned());
            }
            self.settings.push(settings);
        }
    }

    /// Who has which table and rows from the start, and whose clock is off.
    fn draw_start(&mut self, rng: &mut Rng) {
        for peer in 0..self.peers {
            if rng.chance(40) {
                self.events.push(Event::Skew { peer, ms: rng.between(-3_600_000, 3_600_000) });
            }
        }
        let mut equal_rows: Vec<Vec<String>> = Vec::new();
        for &table in &self.tables {
            let shape = &SHAPES[table];
            equal_rows.push((0..3).map(|_| sql::insert(rng, shape)).collect());
        }
        for (place, &table) in self.tables.clone().iter().enumerate() {
            let mut owners: Vec<usize> = (0..self.peers).filter(|_| rng.chance(60)).collect();
            if owners.is_empty() {
                owners.push(rng.below(self.peers));
            }
            for peer in owners {
                self.events.push(Event::Create { peer, table });
                if rng.chance(25) {
                    self.events.push(Event::Run { peer, sql: equal_rows[place].clone() });
                }
                if rng.chance(25) {
                    let sql = (0..2).map(|_| sql::insert(rng, &SHAPES[table])).collect();
                    self.events.push(Event::Run { peer, sql });
                }
                if !rng.chance(20) {
                    self.events.push(Event::Sync { peer, table });
                }
            }
        }
    }

    fn draw_event(&mut self, rng: &mut Rng) {
        let copies = self.events.iter().filter(|event| matches!(event, Event::Copy { .. })).count();
        let peers = self.peers + copies;
        let peer = rng.below(peers);
        let bytes = if rng.chance(70) { 1 << 20 } else { 1 };
        let event = match rng.weighted(&[
            36,
            10,
            26,
            14,
            6,
            2,
            if self.on_disk { 12 } else { 3 },
            if self.forges { 8 } else { 0 },
        ]) {
            0 => Event::Run { peer, sql: sql::program(rng, &self.shapes()) },
            1 => Event::Seal { peer, bytes },
            2 => {
                let from = (peer + 1 + rng.below(peers - 1)) % peers;
                self.events.push(Event::Pull { to: peer, from, order: rng.next() });
                if rng.chance(60) { Event::Apply { peer, bytes } } else { return }
            }
            3 if rng.chance(30) => Event::Check { peer },
            3 => Event::Apply { peer, bytes },
            4 => Event::Wait { ms: if rng.chance(10) { 900_000 } else { rng.next() % 20_000 } },
            5 => Event::Skew { peer, ms: rng.between(-3_600_000, 3_600_000) },
            7 => Event::Forge { peer, table: *rng.pick(&self.tables), order: rng.next() },
            _ if self.on_disk && rng.chance(50) && copies < 2 => Event::Copy { peer },
            _ if self.on_disk => match rng.below(9) {
                0..2 => Event::BackUp { peer },
                2..4 => Event::Restore { peer },
                4..8 => Event::Strand {
                    peer,
                    published: sql::program(rng, &self.shapes()),
                    stranded: sql::program(rng, &self.shapes()),
                },
                _ => Event::Reopen { peer },
            },
            _ => Event::Sync { peer, table: *rng.pick(&self.tables) },
        };
        self.events.push(event);
    }
}

fn draw_tables(rng: &mut Rng) -> Vec<usize> {
    let mut tables = Vec::new();
    for _ in 0..1 + rng.weighted(&[50, 35, 15]) {
        // Where rows can stand in each other's way, more can go wrong.
        let mut table = rng.below(SHAPES.len());
        if SHAPES[table].claims.is_empty() && rng.chance(40) {
            table = rng.below(SHAPES.len());
        }
        if !tables.contains(&table) {
            if let Some(parent) = SHAPES[table].parent.filter(|parent| !tables.contains(parent)) {
                tables.push(parent);
            }
            tables.push(table);
        }
    }
    tables
}

/// Triggers that write to a table that is not synced, to another synced table, or refuse.
fn draw_triggers(rng: &mut Rng, shapes: &[&Shape]) -> Vec<String> {
    let shape = *rng.pick(shapes);
    let other = *rng.pick(shapes);
    let event = *rng.pick(&["INSERT", "UPDATE", "DELETE"]);
    let time = *rng.pick(&["AFTER", "AFTER", "BEFORE"]);
    let body = match rng.below(7) {
        0 => format!(
            "INSERT {}INTO audit VALUES('{event}', (SELECT count(*) % 3 FROM audit))",
            rng.pick(&["", "OR IGNORE ", "OR REPLACE "])
        ),
        1 => "INSERT INTO nowhere VALUES(1)".to_owned(),
        2 | 3 => {
            let mut insert = sql::insert(rng, other);
            if let Some(rest) = insert.strip_prefix("INSERT INTO") {
                insert = format!("INSERT OR REPLACE INTO{rest}");
            }
            format!("INSERT INTO audit VALUES('before', 0); {insert}; INSERT INTO audit VALUES('after', 0)")
        }
        4 => {
            let cells: Vec<_> = other.columns.iter().filter(|column| column.key.is_none()).collect();
            let column = rng.pick(&cells);
            format!("UPDATE OR IGNORE {} SET {} = {}", other.name, column.name, column.fill.literal(rng))
        }
        _ => format!("SELECT RAISE({})", rng.pick(&["IGNORE", "ABORT, 'no'", "ROLLBACK, 'no'", "FAIL, 'no'"])),
    };
    let when = if body.contains("RAISE") { " WHEN (SELECT total(how) FROM audit) % 3 = 0" } else { "" };
    vec![
        "CREATE TABLE IF NOT EXISTS audit(what NOT NULL, how, UNIQUE(what, how))".to_owned(),
        format!("CREATE TRIGGER IF NOT EXISTS noted {time} {event} ON {}{when} BEGIN {body}; END", shape.name),
    ]
}

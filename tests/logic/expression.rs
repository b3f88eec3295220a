//! Random expressions over the columns that are in sight.

use kithdb_tests::random::Random;

/// Columns that an expression may name.
#[derive(Default, Clone)]
pub struct Sight {
    pub numbers: Vec<String>,
    pub texts: Vec<String>,
}

impl Sight {
    /// Returns all columns.
    pub fn all(&self) -> Vec<String> {
        self.numbers.iter().chain(&self.texts).cloned().collect()
    }
}

const NUMBERS: &[&str] =
    &["0", "1", "2", "-1", "3.5", "7", "10", "0.0", "NULL", "9223372036854775807", "1e3", "'3'", "x'31'"];
const TEXTS: &[&str] = &["'a'", "'A'", "'ab  '", "''", "'Oslo'", "'10'", "NULL", "'ä'", "'x%'", "'2026-01-05'"];
const COLLATIONS: &[&str] = &["BINARY", "NOCASE", "RTRIM"];

fn literal(random: &mut Random, among: &[&str]) -> String {
    (*random.pick(among)).to_owned()
}

/// Writes an expression that is a number, mostly.
pub fn number(random: &mut Random, sight: &Sight, depth: usize) -> String {
    if depth == 0 || random.percent(25) {
        if sight.numbers.is_empty() || random.percent(35) {
            return literal(random, NUMBERS);
        }
        return random.pick(&sight.numbers).clone();
    }
    let depth = depth - 1;
    match random.below(14) {
        0..4 => {
            let operator = *random.pick(&["+", "-", "*", "/", "%", "&", "|", "<<"]);
            format!("({} {operator} {})", number(random, sight, depth), number(random, sight, depth))
        }
        4 => format!("abs({} % 1000)", number(random, sight, depth)),
        5 => format!("coalesce({}, {})", number(random, sight, depth), number(random, sight, depth)),
        6 => format!("CAST({} AS {})", any(random, sight, depth), random.pick(&["INTEGER", "REAL", "NUMERIC"])),
        7 => format!("length({})", text(random, sight, depth)),
        8 => format!(
            "CASE WHEN {} THEN {} ELSE {} END",
            condition(random, sight, depth),
            number(random, sight, depth),
            number(random, sight, depth)
        ),
        9 => format!("round({}, {})", number(random, sight, depth), random.below(3)),
        10 => format!("nullif({}, {})", number(random, sight, depth), number(random, sight, depth)),
        11 => format!(
            "{}({}, {})",
            random.pick(&["max", "min"]),
            number(random, sight, depth),
            number(random, sight, depth)
        ),
        12 => format!("instr({}, {})", text(random, sight, depth), text(random, sight, depth)),
        _ => format!("(-{})", number(random, sight, depth)),
    }
}

/// Writes an expression that is a text, mostly.
pub fn text(random: &mut Random, sight: &Sight, depth: usize) -> String {
    if depth == 0 || random.percent(30) {
        if sight.texts.is_empty() || random.percent(30) {
            return literal(random, TEXTS);
        }
        return random.pick(&sight.texts).clone();
    }
    let depth = depth - 1;
    match random.below(10) {
        0..3 => format!("({} || {})", any(random, sight, depth), text(random, sight, depth)),
        3 => format!(
            "{}({})",
            random.pick(&["upper", "lower", "trim", "quote", "typeof", "hex"]),
            any(random, sight, depth)
        ),
        4 => format!("substr({}, {}, {})", text(random, sight, depth), random.below(4), random.below(4)),
        5 => format!("replace({}, 'a', {})", text(random, sight, depth), text(random, sight, depth)),
        6 => format!("printf('%s-%05.2f', {}, {})", any(random, sight, depth), number(random, sight, depth)),
        7 => format!("json_array({}, {})", number(random, sight, depth), text(random, sight, depth)),
        8 => format!("ifnull({}, {})", text(random, sight, depth), text(random, sight, depth)),
        _ => format!("date('2026-01-05', {} || ' days')", random.below(60)),
    }
}

/// Writes an expression of any type.
pub fn any(random: &mut Random, sight: &Sight, depth: usize) -> String {
    if random.percent(55) { number(random, sight, depth) } else { text(random, sight, depth) }
}

/// Writes an expression that is true, false or unknown.
pub fn condition(random: &mut Random, sight: &Sight, depth: usize) -> String {
    let inner = depth.saturating_sub(1);
    let compare = |random: &mut Random| {
        let operator = *random.pick(&["=", "<>", "<", "<=", ">", ">=", "IS", "IS NOT", "IS NOT DISTINCT FROM"]);
        if random.percent(60) {
            format!("{} {operator} {}", number(random, sight, inner), number(random, sight, inner))
        } else {
            let collate =
                if random.percent(30) { format!(" COLLATE {}", random.pick(COLLATIONS)) } else { String::new() };
            format!("{}{collate} {operator} {}", text(random, sight, inner), text(random, sight, inner))
        }
    };
    if depth == 0 {
        return compare(random);
    }
    match random.below(11) {
        0..3 => compare(random),
        3 => format!("({} AND {})", condition(random, sight, inner), condition(random, sight, inner)),
        4 => format!("({} OR {})", condition(random, sight, inner), condition(random, sight, inner)),
        5 => format!("NOT ({})", condition(random, sight, inner)),
        6 => format!("{} IS {}NULL", any(random, sight, inner), random.pick(&["", "NOT "])),
        7 => format!(
            "{} {}BETWEEN {} AND {}",
            number(random, sight, inner),
            random.pick(&["", "NOT "]),
            number(random, sight, 0),
            number(random, sight, 0)
        ),
        8 => format!(
            "{} {}LIKE {}",
            text(random, sight, inner),
            random.pick(&["", "NOT "]),
            random.pick(&["'%a%'", "'_'", "'O%'", "'%  '", "NULL"])
        ),
        9 => format!(
            "{} {}IN ({}, {}, {})",
            any(random, sight, inner),
            random.pick(&["", "NOT "]),
            any(random, sight, 0),
            any(random, sight, 0),
            any(random, sight, 0)
        ),
        _ => format!("{} GLOB {}", text(random, sight, inner), random.pick(&["'*a*'", "'[A-Z]*'", "'?'"])),
    }
}

//! The query plans of `kith_vector`: which conditions a search takes, and which are left to SQLite.
//!
//! A condition on `rowid` or `key` is a filter: it is applied before the nearest rows are chosen, wherever its other side is known when
//! the search begins. In a join that may run either way round, the search comes first: the plan that takes a column of another table
//! for a filter costs more than the one that does not, and has no other advantage.

use std::ffi::c_int;

use rusqlite::vtab::{IndexConstraintOp, IndexInfo};

/// The columns, in the order of the declaration.
pub(super) const KEY: c_int = 0;
pub(super) const DISTANCE: c_int = 1;
pub(super) const EMBEDDING: c_int = 2;
pub(super) const COUNT: c_int = 3;
pub(super) const EF: c_int = 4;
pub(super) const COMMAND: c_int = 5;
/// How constraints name the rowid.
const ROWID: c_int = -1;

/// The arguments of a search that a plan hands to its cursor first, in this order; the names stand in `EXPLAIN QUERY PLAN`.
const ARGUMENTS: [&str; 5] = ["query", "k", "limit", "offset", "ef"];
const QUERY: usize = 0;
const K: usize = 1;
const LIMIT: usize = 2;
const OFFSET: usize = 3;

/// A condition that a cursor is handed.
struct Taken {
    index: usize,
    word: &'static str,
    /// Whether SQLite need not look at the rows again.
    is_settled: bool,
}

/// Names a condition on rows: the words that `cursor.rs` reads.
fn condition(operator: IndexConstraintOp, column: c_int, is_list: bool) -> Option<(&'static str, bool)> {
    use IndexConstraintOp as Op;
    Some(match (operator, column) {
        (Op::SQLITE_INDEX_CONSTRAINT_EQ, ROWID) if is_list => ("rowid in", true),
        (Op::SQLITE_INDEX_CONSTRAINT_EQ, KEY) if is_list => ("key in", true),
        (Op::SQLITE_INDEX_CONSTRAINT_EQ | Op::SQLITE_INDEX_CONSTRAINT_IS, ROWID) => ("rowid", true),
        (Op::SQLITE_INDEX_CONSTRAINT_EQ | Op::SQLITE_INDEX_CONSTRAINT_IS, KEY) => ("key", true),
        (Op::SQLITE_INDEX_CONSTRAINT_NE | Op::SQLITE_INDEX_CONSTRAINT_ISNOT, ROWID) => ("rowid not", false),
        (Op::SQLITE_INDEX_CONSTRAINT_NE | Op::SQLITE_INDEX_CONSTRAINT_ISNOT, KEY) => ("key not", false),
        (Op::SQLITE_INDEX_CONSTRAINT_GT, ROWID) => ("rowid above", false),
        (Op::SQLITE_INDEX_CONSTRAINT_GE, ROWID) => ("rowid from", false),
        (Op::SQLITE_INDEX_CONSTRAINT_LT, ROWID) => ("rowid below", false),
        (Op::SQLITE_INDEX_CONSTRAINT_LE, ROWID) => ("rowid to", false),
        // Of the nearest rows those beyond a distance are the last: it makes no difference when they are left out.
        (Op::SQLITE_INDEX_CONSTRAINT_LT | Op::SQLITE_INDEX_CONSTRAINT_LE, DISTANCE) => ("distance", false),
        _ => return None,
    })
}

/// Chooses a plan: the words of what it takes, in the order in which the cursor is handed it, after what `tier` says.
pub(super) fn plan(info: &mut IndexInfo, tier: impl FnOnce(bool) -> String) -> rusqlite::Result<bool> {
    let is_nearest_first = {
        let mut terms = info.order_bys();
        let first = terms.next();
        let is_distance = first.as_ref().is_some_and(|term| term.column() == DISTANCE && !term.is_order_by_desc());
        is_distance && terms.next().is_none()
    };
    let is_ordered = info.num_of_order_by() == 0 || is_nearest_first;
    let mut arguments = [None; ARGUMENTS.len()];
    let mut conditions = Vec::new();
    let mut has_unusable = false;
    for (index, constraint) in info.constraints().enumerate() {
        let place = match (constraint.operator(), constraint.column()) {
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_MATCH, EMBEDDING) => QUERY,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ, COUNT) => K,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LIMIT, _) if is_ordered => LIMIT,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_OFFSET, _) if is_ordered => OFFSET,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ, EF) => 4,
            (operator, column) => {
                if constraint.is_usable() {
                    conditions.push((index, operator, column));
                }
                continue;
            }
        };
        if !constraint.is_usable() {
            // The arguments of a search must be known before it begins; a filter can also be judged afterwards.
            has_unusable |= !matches!(place, LIMIT | OFFSET);
        } else if arguments[place].is_none() {
            arguments[place] = Some(index);
        }
    }
    if has_unusable {
        return Ok(false);
    }
    let is_search = arguments[QUERY].is_some();
    if arguments[K].is_some() || !is_search {
        // With `k`, SQLite cuts the answer itself.
        (arguments[LIMIT], arguments[OFFSET]) = (None, None);
    }
    let mut taken: Vec<Taken> = (ARGUMENTS.iter().zip(arguments).enumerate())
        // LIMIT and OFFSET are SQLite's to apply.
        .filter_map(|(place, (&word, index))| {
            Some(Taken { index: index?, word, is_settled: !matches!(place, LIMIT | OFFSET) })
        })
        .collect();
    let (mut is_narrow, mut is_foreign) = (false, false);
    for (index, operator, column) in conditions {
        let is_list =
            matches!(column, ROWID | KEY) && info.is_in_constraint(index)? && info.set_in_constraint(index, true)?;
        let Some((word, is_settled)) = condition(operator, column, is_list) else { continue };
        if is_settled {
            is_narrow = true;
            // It may be a column of another table, whose rows are rather to be found among the nearest.
            is_foreign |= !is_list && info.rhs_value(index)?.is_none();
        } else if !is_search {
            continue;
        }
        taken.push(Taken { index, word, is_settled });
    }
    for (place, taken) in (1..).zip(&taken) {
        let mut usage = info.constraint_usage(taken.index);
        usage.set_argv_index(place);
        usage.set_omit(taken.is_settled);
    }
    if is_search {
        info.set_order_by_consumed(is_nearest_first);
        info.set_estimated_cost(match (is_narrow, is_foreign) {
            (true, false) => 900.0,
            (false, _) => 1000.0,
            (true, true) => 5000.0,
        });
        info.set_estimated_rows(10);
    } else {
        info.set_estimated_cost(if is_narrow { 10.0 } else { 1e6 });
        info.set_estimated_rows(if is_narrow { 1 } else { 100_000 });
    }
    info.set_idx_num(c_int::from(is_search));
    let words: Vec<&str> = taken.iter().map(|taken| taken.word).collect();
    let words = words.join(", ");
    let is_filtered = is_narrow || words.contains("rowid") || words.contains("key");
    info.set_idx_str(&if is_search { format!("{}: {words}", tier(is_filtered)) } else { words });
    Ok(true)
}

/// Returns the words of a plan, each of which has an argument.
pub(super) fn words(plan: &str) -> impl Iterator<Item = &str> {
    let words = plan.split_once(": ").map_or(plan, |(_, words)| words);
    words.split(", ").filter(|word| !word.is_empty())
}

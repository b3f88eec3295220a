//! The query plans of `kith_vector`: which conditions a search takes, and which are left to SQLite.

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

/// What a plan hands to its cursor, in this order; the names stand in `EXPLAIN QUERY PLAN`.
const ARGUMENTS: [&str; 7] = ["query", "k", "limit", "offset", "ef", "rowids", "keys"];

/// Chooses a plan: the words of [`ARGUMENTS`] that it uses, in that order.
pub(super) fn plan(info: &mut IndexInfo) -> rusqlite::Result<bool> {
    let is_nearest_first = {
        let mut terms = info.order_bys();
        let first = terms.next();
        let is_distance = first.as_ref().is_some_and(|term| term.column() == DISTANCE && !term.is_order_by_desc());
        is_distance && terms.next().is_none()
    };
    let is_ordered = info.num_of_order_by() == 0 || is_nearest_first;
    let mut chosen = [None; ARGUMENTS.len()];
    let mut has_unusable = false;
    for (index, constraint) in info.constraints().enumerate() {
        let place = match (constraint.operator(), constraint.column()) {
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_MATCH, EMBEDDING) => 0,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ, COUNT) => 1,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LIMIT, _) if is_ordered => 2,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_OFFSET, _) if is_ordered => 3,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ, EF) => 4,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ, ROWID) => 5,
            (IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ, KEY) => 6,
            _ => continue,
        };
        if !constraint.is_usable() {
            // The arguments of a search must be known before it begins; a filter can also be judged afterwards.
            has_unusable |= matches!(place, 0 | 1 | 4);
        } else if chosen[place].is_none() {
            chosen[place] = Some(index);
        }
    }
    if has_unusable {
        return Ok(false);
    }
    let is_search = chosen[0].is_some();
    if chosen[1].is_some() || !is_search {
        // With `k`, SQLite cuts the answer itself.
        (chosen[2], chosen[3]) = (None, None);
    }
    for place in [5, 6] {
        let Some(index) = chosen[place] else { continue };
        // `rowid = …` may come row by row from a join, whose rows are to be found among the k nearest.
        let is_list = info.is_in_constraint(index)? && info.set_in_constraint(index, true)?;
        let is_filter = is_list || !is_search || info.rhs_value(index)?.is_some();
        if !is_filter {
            chosen[place] = None;
        }
    }
    if chosen[5].is_some() {
        chosen[6] = None;
    }
    let mut words = Vec::new();
    for (place, index) in chosen.iter().enumerate() {
        let Some(index) = *index else { continue };
        words.push(match place {
            5 if info.is_in_constraint(index)? => "rowid in",
            6 if info.is_in_constraint(index)? => "key in",
            5 => "rowid",
            6 => "key",
            place => ARGUMENTS[place],
        });
        let mut usage = info.constraint_usage(index);
        usage.set_argv_index(words.len() as c_int);
        // LIMIT and OFFSET are SQLite's to apply.
        usage.set_omit(!matches!(place, 2 | 3));
    }
    let is_narrow = chosen[5].is_some() || chosen[6].is_some();
    if is_search {
        info.set_order_by_consumed(is_nearest_first);
        info.set_estimated_cost(if is_narrow { 900.0 } else { 1000.0 });
        info.set_estimated_rows(10);
    } else {
        info.set_estimated_cost(if is_narrow { 10.0 } else { 1e6 });
        info.set_estimated_rows(if is_narrow { 1 } else { 100_000 });
    }
    info.set_idx_num(c_int::from(is_search));
    info.set_idx_str(&words.join(", "));
    Ok(true)
}

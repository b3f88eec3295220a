//! The query plans of `vec0`: which conditions a search or a listing takes, and which are left to SQLite.
//!
//! A plan is written as its terms in the order of their values, as in `embedding match, k, user_id =`; this stands in
//! `EXPLAIN QUERY PLAN`, and the cursor reads it.

use std::ffi::c_int;

use rusqlite::vtab::{IndexConstraintOp, IndexFlags, IndexInfo};

use super::declaration::{Column, Declaration, Kind, Type};
use super::rows::Operator;
use super::table::error;

/// How constraints name the rowid.
const ROWID: c_int = -1;

/// One term of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    /// The embedding that the column with this place is searched for.
    Match(usize),
    Count,
    Limit,
    Offset,
    Distance(Operator),
    /// A condition on the column with this place, 0 being the primary key, or on the rowid.
    Compare(Option<usize>, Operator),
}

impl Declaration {
    /// Returns the place of the hidden column `distance`.
    pub(super) fn distance(&self) -> c_int {
        self.columns.len() as c_int + 1
    }

    /// Returns the place of the hidden column `k`.
    pub(super) fn count(&self) -> c_int {
        self.columns.len() as c_int + 2
    }

    fn column_at(&self, place: c_int) -> Option<&Column> {
        usize::try_from(place).ok()?.checked_sub(1).and_then(|place| self.columns.get(place))
    }
}

impl Term {
    /// Writes the term.
    pub(super) fn write(self, declaration: &Declaration) -> String {
        let name = |place: usize| {
            let column = place.checked_sub(1).and_then(|place| declaration.columns.get(place));
            column.map_or(&declaration.key, |column| &column.name).clone()
        };
        let written = |operator| {
            let found = Operator::WRITTEN.iter().find(|(known, _)| *known == operator);
            found.map_or("", |(_, written)| *written)
        };
        match self {
            Self::Match(place) => format!("{} match", name(place)),
            Self::Count => "k".to_owned(),
            Self::Limit => "limit".to_owned(),
            Self::Offset => "offset".to_owned(),
            Self::Distance(operator) => format!("distance {}", written(operator)),
            Self::Compare(Some(place), operator) => format!("{} {}", name(place), written(operator)),
            Self::Compare(None, operator) => format!("rowid {}", written(operator)),
        }
    }

    /// Reads a term that was written.
    pub(super) fn read(text: &str, declaration: &Declaration) -> Option<Self> {
        let Some((name, rest)) = text.split_once(' ') else {
            return match text {
                "k" => Some(Self::Count),
                "limit" => Some(Self::Limit),
                "offset" => Some(Self::Offset),
                _ => None,
            };
        };
        let found = declaration.columns.iter().position(|column| column.name == name).map(|place| place + 1);
        let place = found.or((name == declaration.key).then_some(0));
        if rest == "match" {
            return place.map(Self::Match);
        }
        let operator = Operator::WRITTEN.iter().find(|(_, written)| *written == rest)?.0;
        match (place, name) {
            (None, "distance") => Some(Self::Distance(operator)),
            (None, "rowid") => Some(Self::Compare(None, operator)),
            (None, _) => None,
            (place, _) => Some(Self::Compare(place, operator)),
        }
    }
}

/// Chooses a plan.
pub(super) fn plan(info: &mut IndexInfo, declaration: &Declaration) -> rusqlite::Result<bool> {
    let is_search = match embedding_searched(info, declaration)? {
        Searched::Nothing => false,
        Searched::Later => return Ok(false),
        Searched::Column => true,
    };
    let is_nearest_first = {
        let mut terms = info.order_bys();
        let first = terms.next();
        let is_distance =
            first.as_ref().is_some_and(|term| term.column() == declaration.distance() && !term.is_order_by_desc());
        is_distance && terms.next().is_none()
    };
    let is_ordered = info.num_of_order_by() == 0 || is_nearest_first;
    let mut chosen: Vec<(Term, usize)> = Vec::new();
    for index in 0..info.constraints().count() {
        let Some((column, operator, is_usable)) = constraint(info, index) else { continue };
        if !is_usable {
            // What a search is for must be known before it begins.
            if is_search && column == declaration.count() {
                return Ok(false);
            }
            continue;
        }
        let term = if is_search {
            search_term(info, declaration, index, column, operator)?
        } else {
            list_term(declaration, column, operator)
        };
        let Some(term) = term else { continue };
        let is_taken = match term {
            Term::Limit | Term::Offset if !is_ordered => false,
            Term::Compare(..) | Term::Distance(_) => true,
            _ => chosen.iter().all(|(known, _)| *known != term),
        };
        if is_taken {
            chosen.push((term, index));
        }
    }
    if is_search {
        let has = |wanted: Term| chosen.iter().any(|(term, _)| *term == wanted);
        match (has(Term::Count), has(Term::Limit)) {
            (true, true) => {
                return Err(error("vec0: only LIMIT or 'k = ?' can be given in a KNN query, not both"));
            }
            (true, false) => chosen.retain(|(term, _)| *term != Term::Offset),
            (false, true) => {}
            (false, false) => {
                return Err(error("vec0: a LIMIT or 'k = ?' constraint is required in KNN queries, as in AND k = 10"));
            }
        }
    }
    let is_one = chosen.iter().any(|(term, _)| matches!(term, Term::Compare(None | Some(0), Operator::Equal)));
    for (place, (term, index)) in chosen.iter().enumerate() {
        let mut usage = info.constraint_usage(*index);
        usage.set_argv_index(place as c_int + 1);
        // LIMIT and OFFSET are SQLite's to apply, and what a listing leaves out may not be all.
        let is_left = matches!(term, Term::Limit | Term::Offset)
            || !is_search && !matches!(term, Term::Compare(None | Some(0), Operator::Equal));
        usage.set_omit(!is_left);
    }
    if is_search {
        info.set_order_by_consumed(is_nearest_first);
        info.set_estimated_cost(30.0);
        info.set_estimated_rows(10);
    } else if is_one {
        info.set_estimated_cost(10.0);
        info.set_estimated_rows(1);
        info.set_idx_flags(IndexFlags::SQLITE_INDEX_SCAN_UNIQUE);
    } else {
        info.set_estimated_cost(if chosen.is_empty() { 3e6 } else { 1e6 });
        info.set_estimated_rows(100_000);
    }
    info.set_idx_num(c_int::from(is_search));
    let words: Vec<_> = chosen.iter().map(|(term, _)| term.write(declaration)).collect();
    info.set_idx_str(&words.join(", "));
    Ok(true)
}

fn constraint(info: &IndexInfo, index: usize) -> Option<(c_int, IndexConstraintOp, bool)> {
    let constraint = info.constraints().nth(index)?;
    Some((constraint.column(), constraint.operator(), constraint.is_usable()))
}

enum Searched {
    Nothing,
    /// An embedding that is not known yet.
    Later,
    Column,
}

fn embedding_searched(info: &IndexInfo, declaration: &Declaration) -> rusqlite::Result<Searched> {
    let mut searched = Searched::Nothing;
    for constraint in info.constraints() {
        let column = declaration.column_at(constraint.column());
        let is_embedding = column.is_some_and(|column| matches!(column.kind, Kind::Embedding { .. }));
        if constraint.operator() != IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_MATCH || !is_embedding {
            continue;
        }
        match searched {
            Searched::Nothing if constraint.is_usable() => searched = Searched::Column,
            Searched::Nothing => searched = Searched::Later,
            _ => return Err(error("vec0: only one MATCH is allowed in a query")),
        }
    }
    Ok(searched)
}

/// Says what a search does with a constraint; nothing if SQLite is to judge the answers by it.
fn search_term(
    info: &mut IndexInfo,
    declaration: &Declaration,
    index: usize,
    column: c_int,
    operator: IndexConstraintOp,
) -> rusqlite::Result<Option<Term>> {
    match operator {
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LIMIT => return Ok(Some(Term::Limit)),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_OFFSET => return Ok(Some(Term::Offset)),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_MATCH => {
            let is_column = declaration.column_at(column).is_some();
            return Ok(usize::try_from(column).ok().filter(|_| is_column).map(Term::Match));
        }
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ if column == declaration.count() => return Ok(Some(Term::Count)),
        _ => {}
    }
    let Some(operator) = self::operator(operator) else { return Ok(None) };
    if column == declaration.distance() {
        let is_bound =
            matches!(operator, Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual);
        return Ok(is_bound.then_some(Term::Distance(operator)));
    }
    let is_list = operator == Operator::Equal && info.is_in_constraint(index)?;
    let is_filter = match (column, declaration.column_at(column).map(|column| column.kind)) {
        // `id = …` may come row by row from a join, whose rows are to be found among the k nearest.
        (ROWID | 0, _) => is_list,
        // A list is handed on as JSON, which has no BLOBs.
        (_, Some(Kind::Auxiliary(Type::Blob))) => !is_list,
        (_, Some(Kind::Partition(_) | Kind::Metadata(_) | Kind::Auxiliary(_))) => true,
        _ => false,
    };
    let is_binary = || info.collation(index).is_ok_and(|name| name.eq_ignore_ascii_case("BINARY"));
    if !is_filter || !is_binary() {
        return Ok(None);
    }
    let operator = if is_list && info.set_in_constraint(index, true)? { Operator::In } else { operator };
    Ok(Some(Term::Compare(usize::try_from(column).ok(), operator)))
}

/// Says what a listing does with a constraint, by which SQLite judges the rows all the same.
fn list_term(declaration: &Declaration, column: c_int, operator: IndexConstraintOp) -> Option<Term> {
    let operator = self::operator(operator)?;
    let is_equal = operator == Operator::Equal;
    match (column, declaration.column_at(column).map(|column| column.kind)) {
        (ROWID, _) if is_equal => Some(Term::Compare(None, operator)),
        (0, _) if is_equal => Some(Term::Compare(Some(0), operator)),
        _ => None,
    }
}

fn operator(operator: IndexConstraintOp) -> Option<Operator> {
    Some(match operator {
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => Operator::Equal,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_NE => Operator::Unequal,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => Operator::Less,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => Operator::LessOrEqual,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => Operator::Greater,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => Operator::GreaterOrEqual,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_IS => Operator::Is,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_ISNOT => Operator::IsNot,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_ISNULL => Operator::IsNull,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_ISNOTNULL => Operator::IsNotNull,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LIKE => Operator::Like,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GLOB => Operator::Glob,
        _ => return None,
    })
}

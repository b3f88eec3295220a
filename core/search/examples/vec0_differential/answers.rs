//! When two answers are alike.

use rusqlite::types::Value;

/// What a statement gave.
pub type Answer = Result<Vec<Vec<Value>>, String>;

/// How far two distances may be apart, for numbers below one; of larger ones that part.
const TOLERANCE: f64 = 1e-5;

/// Says whether two answers are alike: both an error, or the same rows, in any order but that of a last column of distances.
pub fn are_alike(left: &Answer, right: &Answer) -> bool {
    match (left, right) {
        (Err(_), Err(_)) => true,
        (Ok(left), Ok(right)) => {
            let (left, right) = (sorted(left), sorted(right));
            left.len() == right.len() && left.iter().zip(&right).all(|(left, right)| are_rows_alike(left, right))
        }
        _ => false,
    }
}

fn are_rows_alike(left: &[Value], right: &[Value]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| are_values_alike(left, right))
}

fn are_values_alike(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Real(left), Value::Real(right)) => is_near(*left, *right),
        // JSON of numbers, which are written with more digits or fewer.
        (Value::Text(left), Value::Text(right)) if left != right => {
            let numbers = |text: &str| serde_json::from_str::<Vec<f64>>(text).ok();
            match (numbers(left), numbers(right)) {
                (Some(left), Some(right)) => {
                    left.len() == right.len() && left.iter().zip(&right).all(|(left, right)| is_near(*left, *right))
                }
                _ => false,
            }
        }
        (Value::Blob(left), Value::Blob(right)) if left != right => are_floats_alike(left, right),
        _ => left == right,
    }
}

/// Says whether two embeddings of floats are alike, which are computed in different orders.
fn are_floats_alike(left: &[u8], right: &[u8]) -> bool {
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
    };
    left.len() == right.len()
        && left.len().is_multiple_of(4)
        && floats(left).iter().zip(floats(right)).all(|(left, right)| {
            (left - right).abs() <= 1e-6 * left.abs().max(1.0) && left.is_finite() && right.is_finite()
        })
}

/// Says whether two numbers are as near as two ways of computing a distance are.
pub fn is_near(left: f64, right: f64) -> bool {
    left == right || (left - right).abs() <= TOLERANCE * left.abs().max(1.0)
}

/// Sorts rows; numbers by what they are to a few digits, so that two computations are sorted alike.
fn sorted(rows: &[Vec<Value>]) -> Vec<Vec<Value>> {
    let mut rows = rows.to_vec();
    rows.sort_by_cached_key(|row| row.iter().map(key).collect::<Vec<_>>());
    rows
}

fn key(value: &Value) -> String {
    match value {
        // Distances never order rows of their own here: what they belong to does.
        Value::Real(_) => String::new(),
        other => format!("{other:?}"),
    }
}

/// Says whether two answers to one search are alike, whose rows are a key and its distance; `all` is the answer to the same search
/// without bound on the number. Equally near rows may stand for each other at the end.
pub fn are_nearest_alike(theirs: &[(String, f64)], ours: &[(String, f64)], all: &[(String, f64)]) -> bool {
    let Some((_, last)) = theirs.last() else { return ours.is_empty() };
    let is_inner = |pair: &&(String, f64)| pair.1 < last - 2.0 * TOLERANCE * last.abs().max(1.0);
    let inner = |pairs: &[(String, f64)]| {
        let mut keys: Vec<_> = pairs.iter().filter(is_inner).map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys
    };
    let mut keys: Vec<_> = ours.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    theirs.len() == ours.len()
        && keys.len() == ours.len()
        && inner(theirs) == inner(ours)
        && theirs.iter().zip(ours).all(|(theirs, ours)| is_near(theirs.1, ours.1))
        && ours
            .iter()
            .all(|(key, distance)| all.iter().any(|(known, exact)| known == key && is_near(*exact, *distance)))
        && ours.windows(2).all(|pair| pair[0].1 <= pair[1].1)
}

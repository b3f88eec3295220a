//! Scalar functions over embeddings, with the names and conventions of sqlite-vec and of libSQL.

use kithdb_vector::metric::Metric;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::Value;
use rusqlite::{Connection, Error};

use super::distance::distance;
use super::value::{Element, Embedding, ValueError};
use crate::function::{scalar, whole_number};

/// The version of sqlite-vec whose functions these are like; `cargo xtask test` holds them against it.
const SQLITE_VEC: &str = "v0.1.9";

/// The subtype of JSON, by which SQLite's own functions know it.
const JSON: u32 = 74;

type Output<T> = rusqlite::Result<T>;

/// A BLOB with the subtype that says what it holds.
type Typed = (Vec<u8>, Option<u32>);

/// Registers the functions.
pub(super) fn register(conn: &Connection) -> rusqlite::Result<()> {
    let pure = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    let reads = pure | FunctionFlags::SQLITE_SUBTYPE;
    let makes = reads | FunctionFlags::SQLITE_RESULT_SUBTYPE;
    for (name, element) in [
        ("vec_f32", Element::Float32),
        ("vec_int8", Element::Int8),
        ("vec_bit", Element::Bit),
        ("vector", Element::Float32),
        ("vector32", Element::Float32),
    ] {
        scalar(conn, name, 1, makes, move |context| {
            Embedding::read(context.get_raw(0), element).map(|embedding| typed(&embedding)).map_err(|e| of(name, &e))
        })?;
    }
    scalar(conn, "vec_length", 1, reads, |context| Ok(argument(context, "vec_length", 0)?.len() as i64))?;
    scalar(conn, "vec_type", 1, reads, |context| Ok(argument(context, "vec_type", 0)?.element().name()))?;
    scalar(conn, "vec_to_json", 1, makes, |context| Ok((argument(context, "vec_to_json", 0)?.to_json(), Some(JSON))))?;
    scalar(conn, "vector_extract", 1, reads, |context| Ok(argument(context, "vector_extract", 0)?.to_json()))?;
    scalar(conn, "vec_version", 0, pure, |_| Ok(SQLITE_VEC))?;
    scalar(conn, "vec_debug", 0, pure, |_| {
        Ok(format!("Version: {SQLITE_VEC}\nBuild: KithDB {}, which stands in for it", env!("CARGO_PKG_VERSION")))
    })?;
    scalar(conn, "vec_quantize_int8", 2, makes, quantize_int8)?;
    scalar(conn, "vec_add", 2, makes, |context| combine(context, "vec_add", |l, r| l + r, i8::wrapping_add))?;
    scalar(conn, "vec_sub", 2, makes, |context| combine(context, "vec_sub", |l, r| l - r, i8::wrapping_sub))?;
    scalar(conn, "vec_normalize", 1, makes, normalize)?;
    scalar(conn, "vec_slice", 3, makes, slice)?;
    scalar(conn, "vec_quantize_binary", 1, makes, quantize_binary)?;
    for (name, metric) in [
        ("vec_distance_cosine", Metric::Cosine),
        ("vec_distance_l2", Metric::L2),
        ("vec_distance_l1", Metric::L1),
        ("vec_distance_hamming", Metric::Hamming),
        ("vector_distance_cos", Metric::Cosine),
        ("vector_distance_l2", Metric::L2),
    ] {
        scalar(conn, name, 2, reads, move |context| compare(context, name, metric))?;
    }
    Ok(())
}

fn error(message: impl Into<String>) -> Error {
    Error::UserFunctionError(message.into().into())
}

fn of(name: &str, reason: &ValueError) -> Error {
    error(format!("{name}(): {reason}"))
}

fn typed(embedding: &Embedding) -> Typed {
    (embedding.to_blob(), Some(embedding.element().subtype()))
}

fn argument(context: &Context<'_>, name: &str, position: usize) -> Output<Embedding> {
    let element = Element::of_subtype(context.get_subtype(position));
    Embedding::read(context.get_raw(position), element).map_err(|reason| of(name, &reason))
}

/// Reads two embeddings of one type and length.
fn pair(context: &Context<'_>, name: &str) -> Output<(Embedding, Embedding)> {
    let (left, right) = (argument(context, name, 0)?, argument(context, name, 1)?);
    if left.element() != right.element() {
        let (left, right) = (left.element().name(), right.element().name());
        return Err(error(format!("{name}(): the first embedding is {left}, the second {right}; convert one of them")));
    }
    if left.len() != right.len() {
        let (left, right) = (left.len(), right.len());
        return Err(error(format!("{name}(): the first embedding has {left} dimensions, the second {right}")));
    }
    Ok((left, right))
}

fn combine(context: &Context<'_>, name: &str, floats: fn(f32, f32) -> f32, bytes: fn(i8, i8) -> i8) -> Output<Typed> {
    fn each<T: Copy>(left: Vec<T>, right: Vec<T>, operation: fn(T, T) -> T) -> Vec<T> {
        left.into_iter().zip(right).map(|(l, r)| operation(l, r)).collect()
    }
    let result = match pair(context, name)? {
        (Embedding::Float32(left), Embedding::Float32(right)) => Embedding::Float32(each(left, right, floats)),
        (Embedding::Int8(left), Embedding::Int8(right)) => Embedding::Int8(each(left, right, bytes)),
        _ => return Err(error(format!("{name}() takes float32 or int8 embeddings, not bits"))),
    };
    Ok(typed(&result))
}

fn normalize(context: &Context<'_>) -> Output<Typed> {
    let Embedding::Float32(mut numbers) = argument(context, "vec_normalize", 0)? else {
        return Err(error("vec_normalize() takes a float32 embedding"));
    };
    let norm = numbers.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>().sqrt();
    if norm == 0.0 {
        return Err(error("vec_normalize(): the embedding is all zero and has no direction"));
    }
    for number in &mut numbers {
        *number = (f64::from(*number) / norm) as f32;
    }
    Ok(typed(&Embedding::Float32(numbers)))
}

fn slice(context: &Context<'_>) -> Output<Typed> {
    let embedding = argument(context, "vec_slice", 0)?;
    let bound = |place| {
        let number = whole_number(context.get_raw(place));
        number.ok_or_else(|| error("vec_slice(): the start and the end of the part are whole numbers"))
    };
    let (start, end) = (bound(1)?, bound(2)?);
    let len = embedding.len();
    let bounds =
        usize::try_from(start).ok().zip(usize::try_from(end).ok()).filter(|(from, to)| from < to && *to <= len);
    let Some((from, to)) = bounds else {
        return Err(error(format!(
            "vec_slice(): {start}..{end} is no part of an embedding of {len} dimensions; 0 <= start < end <= {len}"
        )));
    };
    let part = match embedding {
        Embedding::Float32(numbers) => Embedding::Float32(numbers[from..to].to_vec()),
        Embedding::Int8(numbers) => Embedding::Int8(numbers[from..to].to_vec()),
        Embedding::Bit(bytes) if from % 8 == 0 && to % 8 == 0 => Embedding::Bit(bytes[from / 8..to / 8].to_vec()),
        Embedding::Bit(_) => return Err(error("vec_slice(): the start and end of a part of bits are multiples of 8")),
    };
    Ok(typed(&part))
}

fn quantize_binary(context: &Context<'_>) -> Output<Typed> {
    let embedding = argument(context, "vec_quantize_binary", 0)?;
    if embedding.element() == Element::Bit || embedding.len() % 8 != 0 {
        return Err(error(format!(
            "vec_quantize_binary() takes a float32 or int8 embedding with a multiple of 8 dimensions, not {} with {}",
            embedding.element().name(),
            embedding.len()
        )));
    }
    let numbers = embedding.into_floats();
    let byte = |numbers: &[f32]| {
        numbers.iter().enumerate().fold(0, |byte, (bit, &number)| byte | u8::from(number > 0.0) << bit)
    };
    Ok(typed(&Embedding::Bit(numbers.chunks(8).map(byte).collect())))
}

/// Makes a signed byte of each number from -1 to 1, in the arithmetic of sqlite-vec; what is beyond becomes the last byte.
fn quantize_int8(context: &Context<'_>) -> Output<Typed> {
    let Embedding::Float32(numbers) = argument(context, "vec_quantize_int8", 0)? else {
        return Err(error("vec_quantize_int8() takes a float32 embedding"));
    };
    let range: String = context.get(1)?;
    if !range.eq_ignore_ascii_case("unit") {
        return Err(error("vec_quantize_int8(): the second argument is 'unit', for numbers from -1 to 1"));
    }
    let step = f64::from(2.0_f32 / 255.0);
    let byte = |number: f32| ((f64::from(number) + 1.0) / step - 128.0) as i8;
    Ok(typed(&Embedding::Int8(numbers.into_iter().map(byte).collect())))
}

/// Returns the distance; NULL where one embedding has no direction or holds what is not a number.
fn compare(context: &Context<'_>, name: &str, metric: Metric) -> Output<Value> {
    let (left, right) = pair(context, name)?;
    if let (Metric::L1, Embedding::Int8(left), Embedding::Int8(right)) = (metric, &left, &right) {
        let sum = left.iter().zip(right).map(|(left, right)| i64::from(left.abs_diff(*right))).sum();
        return Ok(Value::Integer(sum));
    }
    if (metric == Metric::Hamming) != (left.element() == Element::Bit) {
        let kinds = if metric == Metric::Hamming { "embeddings of bits" } else { "float32 or int8 embeddings" };
        return Err(error(format!("{name}() compares {kinds}, not {}", left.element().name())));
    }
    let distance = f64::from(distance(metric, &left.into_floats(), &right.into_floats()));
    Ok(if distance.is_finite() { Value::Real(distance) } else { Value::Null })
}

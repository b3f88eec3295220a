//! The arguments of `CREATE VIRTUAL TABLE … USING kith_vector(…)`.

use kithdb_vector::index::{Encoding, Engine, IndexOptions};
use kithdb_vector::limits::{CONNECTIONS_MAX, CONNECTIONS_MIN, DIMENSIONS_MAX, EF_CONSTRUCTION_MAX};
use kithdb_vector::metric::Metric;
use rusqlite::vtab::parameter;

use super::memory::MAX_MEMORY_LEAST;
use super::value::Element;

/// Edges of a point (`m`), as in hnswlib and the paper.
pub(super) const CONNECTIONS: usize = 16;
/// Candidates while a point is inserted (`ef_construction`), as in hnswlib.
pub(super) const EF_CONSTRUCTION: usize = 200;
/// The recall at 10 that searches aim at, in thousandths.
pub(super) const RECALL_PERMILLE: u32 = 950;
/// As much memory as can be asked for: no machine has more.
const MAX_MEMORY_MOST: usize = isize::MAX.cast_unsigned();
/// Where the random layers begin; two builds of one table are alike.
pub(super) const SEED: u64 = 0x6b69_7468;

/// The names of the hidden and shown columns beside the content's own.
pub(super) const COLUMNS: [&str; 5] = ["key", "distance", "k", "ef", "command"];

/// What a `kith_vector` table is made over, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declaration {
    /// The ordinary table that holds the embeddings.
    pub(super) content: String,
    /// Its column with them.
    pub(super) column: String,
    /// What the column holds where a BLOB does not say so.
    pub(super) element: Element,
    /// Its column with the texts that they are made of, if they are made here.
    pub(super) source: Option<String>,
    /// The model that makes them, and those of texts that are searched for.
    pub(super) model: Option<String>,
    /// Whether what is to be embedded is embedded by a thread of this process.
    pub(super) is_in_background: bool,
    /// Columns by whose values rows are to lie together in memory.
    pub(super) order: Vec<String>,
    /// How the index is made.
    pub(super) options: IndexOptions,
    /// The part of the true nearest that a search is to find, in thousandths.
    pub(super) recall_permille: u32,
    /// The memory that the index takes at most; `None` for as much as it needs.
    pub(super) max_memory_bytes: Option<usize>,
}

/// Why the arguments are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DeclarationError {
    #[error("kith_vector: argument {argument:?} is not of the form name=value")]
    Form { argument: String },
    #[error(
        "kith_vector: unknown argument {name:?}; there are content, column, dims, source, model, background, metric, encoding, engine, recall, m, ef_construction and max_memory"
    )]
    Unknown { name: String },
    #[error("kith_vector: {name}= is missing, as in kith_vector(content=docs, column=embedding, dims=384)")]
    Missing { name: &'static str },
    #[error("kith_vector: {name}={value} is not possible; {expected}")]
    Value { name: &'static str, value: String, expected: String },
    #[error(
        "kith_vector: a column named {column:?} cannot be indexed, since the virtual table has one of that name itself; rename it"
    )]
    ColumnName { column: String },
    #[error("kith_vector: {reason}; with dims= the table can be created before the model is there")]
    Model { reason: String },
}

impl Declaration {
    /// Reads the arguments.
    pub(super) fn parse(arguments: &[&[u8]]) -> Result<Self, DeclarationError> {
        let (mut content, mut column, mut dimensions) = (None, None, None);
        let (mut source, mut model, mut is_in_background) = (None, None, true);
        let (mut metric, mut encoding, mut engine) = (Metric::Cosine, Encoding::Int8, Engine::Auto);
        let (mut connections, mut ef_construction) = (CONNECTIONS, EF_CONSTRUCTION);
        let (mut recall_permille, mut max_memory_bytes) = (RECALL_PERMILLE, None);
        for argument in arguments {
            let form = || DeclarationError::Form { argument: String::from_utf8_lossy(argument).trim().to_owned() };
            let (name, value) = parameter(argument).map_err(|_| form())?;
            let value = value.as_ref();
            match name.to_ascii_lowercase().as_str() {
                "content" => content = Some(value.to_owned()),
                "column" => column = Some(value.to_owned()),
                "background" => is_in_background = is_on("background", value)?,
                "source" => source = Some(value.to_owned()),
                "model" => model = Some(value.to_owned()),
                "dims" => dimensions = Some(number("dims", value, 1, DIMENSIONS_MAX)?),
                "metric" => metric = metric_of(value)?,
                "encoding" => encoding = encoding_of(value)?,
                "engine" => engine = engine_of(value)?,
                "recall" => recall_permille = recall(value)?,
                "m" => connections = number("m", value, CONNECTIONS_MIN, CONNECTIONS_MAX)?,
                "ef_construction" => {
                    ef_construction = number("ef_construction", value, 1, EF_CONSTRUCTION_MAX)?;
                }
                "max_memory" => max_memory_bytes = Some(memory(value)?),
                _ => return Err(DeclarationError::Unknown { name: name.to_owned() }),
            }
        }
        let column = column.ok_or(DeclarationError::Missing { name: "column" })?;
        if source.is_some() && model.is_none() {
            return Err(DeclarationError::Missing { name: "model" });
        }
        if let Some(source) = source.as_ref().filter(|source| source.eq_ignore_ascii_case(&column)) {
            return Err(value_error(
                "source",
                source,
                "the column of texts, not that of their embeddings, is expected",
            ));
        }
        if max_memory_bytes.is_some() && engine == Engine::HnswRs {
            let remedy = "hnsw_rs holds copies in memory that cannot be bounded; take the engine auto, scan or hnsw";
            return Err(value_error("engine", "hnsw_rs", remedy));
        }
        if dimensions.is_none() && model.is_none() {
            return Err(DeclarationError::Missing { name: "dims" });
        }
        if COLUMNS.iter().any(|name| name.eq_ignore_ascii_case(&column)) {
            return Err(DeclarationError::ColumnName { column });
        }
        Ok(Self {
            content: content.ok_or(DeclarationError::Missing { name: "content" })?,
            column,
            element: Element::Float32,
            source,
            model,
            is_in_background,
            order: Vec::new(),
            options: IndexOptions {
                dimensions: dimensions.unwrap_or_default(),
                metric,
                encoding,
                engine,
                connections,
                ef_construction,
                seed: SEED,
            },
            recall_permille,
            max_memory_bytes,
        })
    }
}

fn value_error(name: &'static str, value: &str, expected: impl Into<String>) -> DeclarationError {
    DeclarationError::Value { name, value: value.to_owned(), expected: expected.into() }
}

fn number(name: &'static str, value: &str, least: usize, most: usize) -> Result<usize, DeclarationError> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| value_error(name, value, format!("a whole number from {least} to {most} is expected")))
}

fn is_on(name: &'static str, value: &str) -> Result<bool, DeclarationError> {
    match value.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(value_error(name, value, "on or off is expected")),
    }
}

/// Reads a number of bytes, with a unit or without.
fn memory(value: &str) -> Result<usize, DeclarationError> {
    let value = value.trim();
    let digits = value.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(value.len());
    let unit = match value[digits..].trim_start().to_ascii_uppercase().as_str() {
        "" => Some(1),
        "KB" => Some(1_000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "KIB" => Some(1 << 10),
        "MIB" => Some(1 << 20),
        "GIB" => Some(1 << 30),
        _ => None,
    };
    let bytes = value[..digits].parse().ok().zip(unit).and_then(|(number, unit)| usize::checked_mul(number, unit));
    bytes.filter(|bytes| (MAX_MEMORY_LEAST..=MAX_MEMORY_MOST).contains(bytes)).ok_or_else(|| {
        let least = MAX_MEMORY_LEAST / 1_000_000;
        let expected = format!(
            "a whole number of bytes, KB, MB, GB, KiB, MiB or GiB from {least}MB on is expected, as in max_memory='256MB'"
        );
        value_error("max_memory", value, expected)
    })
}

pub(super) fn recall(value: &str) -> Result<u32, DeclarationError> {
    let recall: Option<f64> = value.parse().ok().filter(|recall| (0.5..=1.0).contains(recall));
    let recall = recall.ok_or_else(|| value_error("recall", value, "a number from 0.5 to 1 is expected"))?;
    Ok((recall * 1000.0).round() as u32)
}

fn metric_of(value: &str) -> Result<Metric, DeclarationError> {
    Ok(match value.to_ascii_lowercase().as_str() {
        "cosine" => Metric::Cosine,
        "l2" | "euclidean" => Metric::L2,
        "ip" | "dot" => Metric::InnerProduct,
        "l1" => Metric::L1,
        "hamming" => Metric::Hamming,
        _ => return Err(value_error("metric", value, "there are cosine, l2, ip, l1 and hamming")),
    })
}

fn encoding_of(value: &str) -> Result<Encoding, DeclarationError> {
    Ok(match value.to_ascii_lowercase().as_str() {
        "f32" => Encoding::F32,
        "f16" => Encoding::F16,
        "int8" => Encoding::Int8,
        "bit" => Encoding::Bit,
        _ => return Err(value_error("encoding", value, "there are f32, f16, int8 and bit")),
    })
}

fn engine_of(value: &str) -> Result<Engine, DeclarationError> {
    Ok(match value.to_ascii_lowercase().as_str() {
        "auto" => Engine::Auto,
        "scan" => Engine::Scan,
        "hnsw" => Engine::Hnsw,
        "hnsw_rs" if cfg!(feature = "hnsw-rs") => Engine::HnswRs,
        "hnsw_rs" => {
            let remedy = "this build lacks the cargo feature hnsw-rs; take auto, scan or hnsw";
            return Err(value_error("engine", value, remedy));
        }
        _ => return Err(value_error("engine", value, "there are auto, scan, hnsw and hnsw_rs")),
    })
}

/// Returns the word for a metric.
pub(super) const fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => "cosine",
        Metric::L2 => "l2",
        Metric::InnerProduct => "ip",
        Metric::L1 => "l1",
        Metric::Hamming => "hamming",
    }
}

/// Returns the word for an encoding.
pub(super) const fn encoding_name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::F32 => "f32",
        Encoding::F16 => "f16",
        Encoding::Int8 => "int8",
        Encoding::Bit => "bit",
    }
}

/// Returns the word for an engine.
pub(super) const fn engine_name(engine: Engine) -> &'static str {
    match engine {
        Engine::Auto => "auto",
        Engine::Scan => "scan",
        Engine::Hnsw => "hnsw",
        Engine::HnswRs => "hnsw_rs",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Declaration, String> {
        let arguments: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_bytes()).collect();
        Declaration::parse(&arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_are_read_with_quotes_and_spaces() {
        let declaration =
            parse(&[" content = 'my docs' ", "column=\"e\"", "dims=3", "Metric=L2", "recall=0.99"]).unwrap();
        assert_eq!((declaration.content.as_str(), declaration.column.as_str()), ("my docs", "e"));
        assert_eq!((declaration.options.dimensions, declaration.options.metric), (3, Metric::L2));
        assert_eq!(declaration.recall_permille, 990);
    }

    #[test]
    fn memory_is_read_with_units() {
        let memory = |value: &str| parse(&["content=d", "column=e", "dims=3", &format!("max_memory={value}")]);
        for (value, bytes) in [
            ("16000000", 16_000_000),
            ("16MB", 16_000_000),
            ("20000kb", 20_000_000),
            ("'256 MiB'", 256 << 20),
            ("2GB", 2_000_000_000),
            ("1GiB", 1 << 30),
            ("16384KiB", 16 << 20),
        ] {
            assert_eq!(memory(value).unwrap().max_memory_bytes, Some(bytes), "{value}");
        }
        for value in ["999999", "0", "-1", "1.5GB", "256", "256M", "MB", "99999999999999999999", "9999999999GiB"] {
            assert!(memory(value).unwrap_err().contains("from 1MB on is expected"), "{value}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let base = ["content=d", "column=e", "dims=3"];
        let with = |extra: &'static str| parse(&[&base[..], &[extra]].concat()).unwrap_err();
        assert!(with("distance=3").contains("unknown argument \"distance\""));
        assert!(with("flat").contains("name=value"));
        assert!(with("dims=0").contains("from 1 to 8192"));
        // What the index takes and a saved one is checked by.
        assert!(with("m=129").contains("from 2 to 128"));
        assert!(with("metric=near").contains("hamming"));
        assert!(with("recall=2").contains("0.5 to 1"));
        // With more an index could not be saved.
        assert!(with("m=129").contains("from 2 to 128"));
        assert!(with("ef_construction=4097").contains("from 1 to 4096"));
        assert!(with("column=Key").contains("rename"));
        assert!(parse(&base[..2]).unwrap_err().contains("dims= is missing"));
        assert!(with("source=body").contains("model= is missing"));
        assert!(parse(&[&base[..], &["source=E", "model=m"]].concat()).unwrap_err().contains("the column of texts"));
        assert_eq!(parse(&[&base[..2], &["model=m"]].concat()).unwrap().options.dimensions, 0);
    }
}

//! The arguments of `CREATE VIRTUAL TABLE … USING vec0(…)`, read as sqlite-vec 0.1.9 reads them.

use kithdb_vector::limits::DIMENSIONS_MAX;
use kithdb_vector::metric::Metric;

use crate::vector::rowid_index::parse_recall;
use crate::vector::value::Element;

/// Most columns of each kind, as in sqlite-vec.
pub(super) const EMBEDDINGS_MAX: usize = 16;
const PARTITION_KEYS_MAX: usize = 4;
const METADATA_MAX: usize = 16;
const AUXILIARY_MAX: usize = 16;
/// The largest chunk of sqlite-vec.
const CHUNK_SIZE_MAX: u32 = 4096;

/// What a `vec0` table is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declaration {
    /// The name of the primary key; `rowid` where none is declared.
    pub(super) key: String,
    /// Whether the primary key is text.
    pub(super) has_text_key: bool,
    /// The other columns, in order.
    pub(super) columns: Vec<Column>,
    /// The recall that searches aim at, in thousandths; `None` if they are to miss nothing.
    pub(super) recall_permille: Option<u32>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Embedding { element: Element, dimensions: usize, metric: Metric },
    Partition(Type),
    Metadata(Type),
    Auxiliary(Type),
}

/// What a column holds that is not an embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Integer,
    Float,
    Text,
    Boolean,
    Blob,
}

impl Type {
    /// Returns the name of the type in SQL.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Integer => "INTEGER",
            Self::Float => "FLOAT",
            Self::Text => "TEXT",
            Self::Boolean => "BOOLEAN",
            Self::Blob => "BLOB",
        }
    }
}

/// Why the arguments are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DeclarationError {
    #[error("vec0: could not parse {argument:?}; a column is `name type`, as in embedding float[384]")]
    Form { argument: String },
    #[error(
        "vec0: could not parse the vector column {argument:?}; it is `name float[N]`, `int8[N]` or `bit[N]` and then distance_metric=l2, l1 or cosine, which bits do not take"
    )]
    Embedding { argument: String },
    #[error("vec0: vector column {name:?} has {got} dimensions; there can be 1 to {DIMENSIONS_MAX}")]
    Dimensions { name: String, got: String },
    #[error("vec0: vector column {name:?} has {got} bits, which do not fill bytes; take a multiple of 8")]
    Bits { name: String, got: usize },
    #[error("vec0: unknown table option {name:?}; there are chunk_size and recall, and columns as `name type`")]
    Option { name: String },
    #[error(
        "vec0: chunk_size={value} is not possible; it is a multiple of 8 up to {CHUNK_SIZE_MAX}, and has no effect here"
    )]
    ChunkSize { value: String },
    #[error(
        "vec0: a second column would be called {name:?}; take another name (distance, k and, without a primary key, rowid are there already)"
    )]
    Name { name: String },
    #[error("vec0: more than one primary key is declared; a table has one")]
    TwoKeys,
    #[error("vec0: at least one vector column is required, as in embedding float[384]")]
    NoEmbedding,
    #[error("vec0: more than {most} {kind} columns are declared")]
    TooMany { most: usize, kind: &'static str },
    #[error("{0}")]
    Recall(String),
}

/// A word, a number or a sign of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Number(String),
    Sign(char),
}

impl Declaration {
    /// Reads the arguments.
    pub(super) fn parse(arguments: &[&[u8]]) -> Result<Self, DeclarationError> {
        let (mut key, mut columns, mut recall_permille) = (None, Vec::new(), None);
        for argument in arguments {
            let argument = String::from_utf8_lossy(argument).trim().to_owned();
            if argument.is_empty() {
                continue;
            }
            let tokens = tokens(&argument).ok_or_else(|| DeclarationError::Form { argument: argument.clone() })?;
            let words: Vec<String> = tokens.iter().map(Token::lower).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match (tokens.as_slice(), words.as_slice()) {
                ([Token::Word(_), Token::Sign('='), ..], [name, _, ..]) => {
                    let value = argument.split_once('=').map_or("", |(_, value)| value.trim());
                    match *name {
                        "chunk_size" => check_chunk_size(value)?,
                        "recall" => {
                            let recall = parse_recall(value);
                            recall_permille =
                                Some(recall.map_err(|reason| DeclarationError::Recall(reason.to_string()))?);
                        }
                        _ => return Err(DeclarationError::Option { name: (*name).to_owned() }),
                    }
                }
                ([Token::Sign('+'), Token::Word(name), ..], [_, _, kind, ..]) => {
                    let kind =
                        auxiliary_type(kind).ok_or_else(|| DeclarationError::Form { argument: argument.clone() })?;
                    columns.push(Column { name: name.clone(), kind: Kind::Auxiliary(kind) });
                }
                ([Token::Word(name), _, ..], [_, kind, "primary", "key", ..]) if key_type(kind).is_some() => {
                    if key.is_some() {
                        return Err(DeclarationError::TwoKeys);
                    }
                    key = Some((name.clone(), key_type(kind) == Some(Type::Text)));
                }
                ([Token::Word(name), _, ..], [_, kind, "partition", "key", ..]) if key_type(kind).is_some() => {
                    let kind = Kind::Partition(key_type(kind).unwrap_or(Type::Text));
                    columns.push(Column { name: name.clone(), kind });
                }
                ([Token::Word(name), Token::Word(_), Token::Sign('['), rest @ ..], [_, kind, ..]) => {
                    let refused = || DeclarationError::Embedding { argument: argument.clone() };
                    let element = element(kind).ok_or_else(refused)?;
                    columns.push(Column { name: name.clone(), kind: embedding(name, element, rest, refused)? });
                }
                ([Token::Word(name), Token::Word(_), ..], [_, kind, ..]) => {
                    let kind =
                        metadata_type(kind).ok_or_else(|| DeclarationError::Form { argument: argument.clone() })?;
                    columns.push(Column { name: name.clone(), kind: Kind::Metadata(kind) });
                }
                _ => return Err(DeclarationError::Form { argument }),
            }
        }
        check_numbers(&columns)?;
        let (key, has_text_key) = key.unwrap_or_else(|| ("rowid".to_owned(), false));
        let mut taken = vec!["distance", "k"];
        for name in std::iter::once(&key).chain(columns.iter().map(|column| &column.name)) {
            if taken.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                return Err(DeclarationError::Name { name: name.clone() });
            }
            taken.push(name);
        }
        Ok(Self { key, has_text_key, columns, recall_permille })
    }

    /// Returns the columns that the index of filters has, in its order: the partition keys, then the metadata.
    pub(super) fn filters(&self) -> impl Iterator<Item = &Column> {
        let of = |is_meant: fn(Kind) -> bool| self.columns.iter().filter(move |column| is_meant(column.kind));
        of(|kind| matches!(kind, Kind::Partition(_))).chain(of(|kind| matches!(kind, Kind::Metadata(_))))
    }

    /// Returns the embedding columns with their places among all of them.
    pub(super) fn embeddings(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| matches!(column.kind, Kind::Embedding { .. }))
    }
}

impl Token {
    fn lower(&self) -> String {
        match self {
            Self::Word(text) | Self::Number(text) => text.to_ascii_lowercase(),
            Self::Sign(sign) => sign.to_string(),
        }
    }
}

/// Splits an argument; `None` if it holds what no declaration has.
fn tokens(argument: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = argument;
    while let Some(first) = rest.chars().next() {
        let length = |is_part: fn(char) -> bool| rest.find(|sign| !is_part(sign)).unwrap_or(rest.len());
        let (token, taken) = match first {
            sign if sign.is_ascii_whitespace() => (None, 1),
            sign if sign.is_ascii_alphabetic() || sign == '_' => {
                let end = length(|sign| sign.is_ascii_alphanumeric() || sign == '_');
                (Some(Token::Word(rest[..end].to_owned())), end)
            }
            sign if sign.is_ascii_digit() => {
                let end = length(|sign| sign.is_ascii_digit() || sign == '.');
                (Some(Token::Number(rest[..end].to_owned())), end)
            }
            sign @ ('[' | ']' | '=' | '+' | '(' | ')' | '-') => (Some(Token::Sign(sign)), 1),
            _ => return None,
        };
        tokens.extend(token);
        rest = &rest[taken..];
    }
    Some(tokens)
}

fn check_chunk_size(value: &str) -> Result<(), DeclarationError> {
    let size: Option<u32> = value.parse().ok();
    let is_possible = size.is_some_and(|size| size > 0 && size % 8 == 0 && size <= CHUNK_SIZE_MAX);
    if is_possible { Ok(()) } else { Err(DeclarationError::ChunkSize { value: value.to_owned() }) }
}

fn check_numbers(columns: &[Column]) -> Result<(), DeclarationError> {
    let count = |is_meant: fn(Kind) -> bool| columns.iter().filter(|column| is_meant(column.kind)).count();
    let embeddings = count(|kind| matches!(kind, Kind::Embedding { .. }));
    if embeddings == 0 {
        return Err(DeclarationError::NoEmbedding);
    }
    for (got, most, kind) in [
        (embeddings, EMBEDDINGS_MAX, "vector"),
        (count(|kind| matches!(kind, Kind::Partition(_))), PARTITION_KEYS_MAX, "partition key"),
        (count(|kind| matches!(kind, Kind::Metadata(_))), METADATA_MAX, "metadata"),
        (count(|kind| matches!(kind, Kind::Auxiliary(_))), AUXILIARY_MAX, "auxiliary"),
    ] {
        if got > most {
            return Err(DeclarationError::TooMany { most, kind });
        }
    }
    Ok(())
}

/// Reads what follows the opening bracket of an embedding column.
fn embedding(
    name: &str,
    element: Element,
    rest: &[Token],
    refused: impl Fn() -> DeclarationError,
) -> Result<Kind, DeclarationError> {
    let [Token::Number(number), Token::Sign(']'), options @ ..] = rest else { return Err(refused()) };
    let dimensions = number.parse().ok().filter(|number| (1..=DIMENSIONS_MAX).contains(number));
    let dimensions =
        dimensions.ok_or_else(|| DeclarationError::Dimensions { name: name.to_owned(), got: number.clone() })?;
    if element == Element::Bit && dimensions % 8 != 0 {
        return Err(DeclarationError::Bits { name: name.to_owned(), got: dimensions });
    }
    let mut metric = if element == Element::Bit { Metric::Hamming } else { Metric::L2 };
    for option in options.chunks(3) {
        let [Token::Word(name), Token::Sign('='), Token::Word(value)] = option else { return Err(refused()) };
        if !name.eq_ignore_ascii_case("distance_metric") || element == Element::Bit {
            return Err(refused());
        }
        metric = match value.to_ascii_lowercase().as_str() {
            "l2" => Metric::L2,
            "l1" => Metric::L1,
            "cosine" => Metric::Cosine,
            _ => return Err(refused()),
        };
    }
    Ok(Kind::Embedding { element, dimensions, metric })
}

fn element(word: &str) -> Option<Element> {
    match word {
        "float" | "float32" | "f32" => Some(Element::Float32),
        "int8" | "i8" => Some(Element::Int8),
        "bit" => Some(Element::Bit),
        _ => None,
    }
}

fn key_type(word: &str) -> Option<Type> {
    match word {
        "int" | "integer" | "int64" => Some(Type::Integer),
        "text" => Some(Type::Text),
        _ => None,
    }
}

fn metadata_type(word: &str) -> Option<Type> {
    match word {
        "float" | "double" | "float64" | "f64" => Some(Type::Float),
        "boolean" | "bool" => Some(Type::Boolean),
        word => key_type(word),
    }
}

fn auxiliary_type(word: &str) -> Option<Type> {
    match word {
        "float" | "double" => Some(Type::Float),
        "blob" => Some(Type::Blob),
        word => key_type(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Declaration, String> {
        let arguments: Vec<&[u8]> = text.split(',').map(str::as_bytes).collect();
        Declaration::parse(&arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_of_every_kind_are_told_apart() {
        let declaration = parse(
            "id TEXT primary key, e float [4] distance_metric = cosine, b BIT[16], user_id integer partition key, t text, o bool, +body text, chunk_size=8",
        )
        .unwrap();
        assert_eq!((declaration.key.as_str(), declaration.has_text_key), ("id", true));
        let kinds: Vec<_> = declaration.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
        assert_eq!(
            kinds,
            [
                ("e", Kind::Embedding { element: Element::Float32, dimensions: 4, metric: Metric::Cosine }),
                ("b", Kind::Embedding { element: Element::Bit, dimensions: 16, metric: Metric::Hamming }),
                ("user_id", Kind::Partition(Type::Integer)),
                ("t", Kind::Metadata(Type::Text)),
                ("o", Kind::Metadata(Type::Boolean)),
                ("body", Kind::Auxiliary(Type::Text)),
            ]
        );
        assert_eq!(parse("e float[4]").unwrap().key, "rowid");
        assert_eq!(parse("e float[4], recall=0.99").unwrap().recall_permille, Some(990));
    }

    #[test]
    fn refused_declarations_say_what_is_wrong() {
        for (text, part) in [
            ("e float[0]", "0 dimensions"),
            ("e float[9000]", "9000 dimensions"),
            ("e float[2] distance_metric=hamming", "could not parse the vector column"),
            ("b bit[8] distance_metric=l2", "could not parse the vector column"),
            ("b bit[7]", "multiple of 8"),
            ("n integer", "at least one vector column"),
            ("e float[2], foo=3", "unknown table option"),
            ("e float[2], chunk_size=7", "multiple of 8"),
            ("e float[2], z blob", "could not parse"),
            ("'e' float[2]", "could not parse"),
            ("id integer primary key, i text primary key, e float[2]", "more than one primary key"),
            ("e float[2], recall=2", "recall"),
            ("e float[2], K text", "called \"K\""),
            ("e float[2], t text, T text", "called \"T\""),
            ("e float[2], rowid integer", "without a primary key, rowid"),
            ("distance integer primary key, e float[2]", "called \"distance\""),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}

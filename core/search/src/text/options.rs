//! The arguments of `kith_text` and the options of the searches, checked before anything is done with them.

use serde_json::{Map, Value};

use super::error::TextError;

/// How an index is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexOptions {
    /// FTS5's `tokenize` setting.
    pub(super) tokenizer: String,
    /// FTS5's `prefix` setting, empty for none.
    pub(super) prefix: String,
    /// The name of the FTS5 table, if it is not to be the usual one.
    pub(super) name: Option<String>,
}

/// Words of scripts with spaces, letter case and accents folded: "Café" is found by "cafe".
const TOKENIZER: &str = "unicode61 remove_diacritics 2";
/// FTS5's own limit for a prefix index, in characters.
const PREFIX_CHARS_MAX: u64 = 999;

impl Default for IndexOptions {
    fn default() -> Self {
        Self { tokenizer: TOKENIZER.to_owned(), prefix: String::new(), name: None }
    }
}

impl IndexOptions {
    /// Reads the options of `kith_text`, a JSON object.
    pub(super) fn parse(json: &str) -> Result<Self, TextError> {
        let mut options = Self::default();
        for (name, value) in object("kith_text", json)? {
            match (name.as_str(), &value) {
                ("tokenizer", Value::String(text)) if !text.trim().is_empty() => options.tokenizer.clone_from(text),
                ("name", Value::String(text)) if !text.is_empty() => options.name = Some(text.clone()),
                ("prefix", Value::Number(_) | Value::Array(_)) => options.prefix = prefix(&value)?,
                _ => return Err(unknown("kith_text", &name, &value, "tokenizer, prefix and name")),
            }
        }
        Ok(options)
    }
}

fn prefix(value: &Value) -> Result<String, TextError> {
    let listed = match value {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let lengths: Option<Vec<String>> = listed
        .iter()
        .map(|length| length.as_u64().filter(|length| (1..=PREFIX_CHARS_MAX).contains(length)).map(|n| n.to_string()))
        .collect();
    let lengths = lengths.ok_or_else(|| {
        TextError::argument("the option \"prefix\" is a number of characters from 1 to 999, or a list of such")
    })?;
    Ok(lengths.join(" "))
}

/// Reads a list of columns: `title,body`, or a JSON array for names with commas in them.
pub(super) fn columns(text: &str) -> Vec<String> {
    if let Ok(Value::Array(list)) = serde_json::from_str::<Value>(text) {
        let names: Option<Vec<String>> = list.iter().map(|name| name.as_str().map(str::to_owned)).collect();
        if let Some(names) = names {
            return names;
        }
    }
    text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Reads a JSON object.
pub(super) fn object(function: &str, json: &str) -> Result<Map<String, Value>, TextError> {
    match serde_json::from_str(json) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(TextError::argument(format!("the options of {function} are a JSON object, not {json}"))),
    }
}

/// Says that an option is not known, or not with that value.
pub(super) fn unknown(function: &str, name: &str, value: &Value, known: &str) -> TextError {
    TextError::argument(format!("{function} has no option \"{name}\" with the value {value}; it has {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_others_refused() {
        let read = IndexOptions::parse(r#"{"tokenizer":"porter ascii","prefix":[2,3],"name":"n"}"#).unwrap();
        assert_eq!(
            (read.tokenizer.as_str(), read.prefix.as_str(), read.name.as_deref()),
            ("porter ascii", "2 3", Some("n"))
        );
        assert_eq!(IndexOptions::parse(r#"{"prefix":2}"#).unwrap().prefix, "2");
        for bad in ["[]", "x", r#"{"prefix":0}"#, r#"{"prefix":"2"}"#, r#"{"stem":true}"#, r#"{"tokenizer":""}"#] {
            assert!(IndexOptions::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn columns_are_listed_with_commas_or_as_json() {
        assert_eq!(columns(" title, body ,"), ["title", "body"]);
        assert_eq!(columns(r#"["a,b", "c"]"#), ["a,b", "c"]);
    }
}

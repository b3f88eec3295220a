//! Which rows a search may return: conditions that are checked against the table's columns, with values that are always bound.

use rusqlite::types::Value;
use serde_json::{Map, Value as Json};

use super::content::Content;
use super::error::TextError;
use crate::sql::quote;

/// Conditions on the row `t`, and the rowids it must be among.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    conditions: Vec<String>,
    values: Vec<Value>,
    /// Lists of rowids, each a JSON array, from `rowid IN (…)` in the statement itself.
    rowids: Vec<String>,
}

const COMPARISONS: [(&str, &str); 8] = [
    ("=", "IS"),
    ("<>", "IS NOT"),
    ("!=", "IS NOT"),
    ("<", "<"),
    ("<=", "<="),
    (">", ">"),
    (">=", ">="),
    ("like", "LIKE"),
];

impl Filter {
    /// Adds what the option `where` says: `{"lang":"en","year":{">=":2000},"kind":["a","b"]}`.
    pub(super) fn add_where(&mut self, content: &Content, json: &Json) -> Result<(), TextError> {
        let malformed = || {
            TextError::argument(
                r#"the option "where" is an object such as {"lang":"en","year":{">=":2000},"kind":["a","b"]}; comparisons are =, <>, <, <=, >, >= and like"#,
            )
        };
        let Json::Object(map) = json else { return Err(malformed()) };
        for (name, wanted) in map {
            let column = format!("t.{}", quote(content.column(name)?));
            match wanted {
                Json::Array(list) => {
                    let mut any = Vec::with_capacity(list.len());
                    for value in list {
                        any.push(format!("{column} IS {}", self.bind(value).ok_or_else(malformed)?));
                    }
                    // Two and two: SQLite takes no expression that is nested as deep as a long list is long.
                    while any.len() > 1 {
                        any = any.chunks(2).map(|pair| format!("({})", pair.join(" OR "))).collect();
                    }
                    self.conditions.push(any.pop().unwrap_or_else(|| "0".to_owned()));
                }
                Json::Object(comparisons) => {
                    for (operator, value) in comparisons as &Map<String, Json> {
                        let known = COMPARISONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(operator));
                        let (_, operator) = known.ok_or_else(malformed)?;
                        let value = self.bind(value).ok_or_else(malformed)?;
                        self.conditions.push(format!("{column} {operator} {value}"));
                    }
                }
                value => {
                    let value = self.bind(value).ok_or_else(malformed)?;
                    self.conditions.push(format!("{column} IS {value}"));
                }
            }
        }
        Ok(())
    }

    /// Lets only these rowids through, besides what else is asked.
    pub(super) fn add_rowids(&mut self, rowids: &[i64]) {
        let listed: Vec<String> = rowids.iter().map(i64::to_string).collect();
        self.rowids.push(format!("[{}]", listed.join(",")));
    }

    /// Tells whether every row may be returned.
    pub(super) fn is_empty(&self) -> bool {
        self.conditions.is_empty() && self.rowids.is_empty()
    }

    fn bind(&mut self, value: &Json) -> Option<&'static str> {
        self.values.push(match value {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Integer(i64::from(*value)),
            Json::String(text) => Value::Text(text.clone()),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Value::Integer(whole),
                None => Value::Real(number.as_f64()?),
            },
            Json::Array(_) | Json::Object(_) => return None,
        });
        Some("?")
    }

    /// Returns ` AND …` for rows `t` whose number is `rowid`, and appends the values of its nameless parameters.
    pub(super) fn to_sql(&self, rowid: &str, values: &mut Vec<Value>) -> String {
        let mut out = String::new();
        for condition in &self.conditions {
            out.push_str(" AND ");
            out.push_str(condition);
        }
        values.extend(self.values.iter().cloned());
        for list in &self.rowids {
            out.push_str(&format!(" AND {rowid} IN (SELECT value FROM json_each(?))"));
            values.push(Value::Text(list.clone()));
        }
        out
    }
}

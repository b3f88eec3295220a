//! Reads a JSON object field by field; one that nobody asked for is an error.

use serde_json::{Map, Value};

use super::error::GraphError;

/// The fields of an object that have not been read yet.
pub(super) struct Fields {
    place: String,
    example: &'static str,
    values: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Reads the text of an argument; no text has no fields.
    pub(super) fn parse(place: &str, text: Option<&str>, example: &'static str) -> Result<Self, GraphError> {
        let value = match text {
            None => Value::Object(Map::new()),
            Some(text) => serde_json::from_str(text).map_err(|error| GraphError::NotJson {
                place: place.to_owned(),
                detail: format!("this is not JSON ({error})"),
                example,
            })?,
        };
        Self::of(place, value, example)
    }

    pub(super) fn of(place: &str, value: Value, example: &'static str) -> Result<Self, GraphError> {
        let Value::Object(values) = value else {
            return Err(GraphError::NotJson {
                place: place.to_owned(),
                detail: "this JSON is not an object".to_owned(),
                example,
            });
        };
        Ok(Self { place: place.to_owned(), example, values, known: Vec::new() })
    }

    /// Takes a field, if it is there and not null.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.values.remove(name).filter(|value| !value.is_null())
    }

    /// Takes a field that is an object of its own.
    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<Map<String, Value>>, GraphError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(self.wrong(name, "an object of columns, such as {\"since\":{\">=\":2020}}")),
        }
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, GraphError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "a text")),
        }
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, GraphError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// Takes a number that lies in a range.
    pub(super) fn real(&mut self, name: &'static str, least: f64, most: f64) -> Result<Option<f64>, GraphError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_f64().filter(|real| (least..=most).contains(real)) {
                Some(real) => Ok(Some(real)),
                None => Err(self.wrong(name, &format!("a number from {least} to {most}"))),
            },
        }
    }

    pub(super) fn count(&mut self, name: &'static str) -> Result<Option<u64>, GraphError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| self.wrong(name, "a whole number, 0 or more")),
        }
    }

    pub(super) fn wrong(&self, name: &str, expected: &str) -> GraphError {
        GraphError::Option { place: self.place.clone(), name: name.to_owned(), expected: expected.to_owned() }
    }

    /// Ends the reading: what is left is not known.
    pub(super) fn end(self) -> Result<(), GraphError> {
        match self.values.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => {
                let known = if self.known.is_empty() { self.example.to_owned() } else { self.known.join(", ") };
                Err(GraphError::UnknownOption { place: self.place, name, known })
            }
        }
    }
}

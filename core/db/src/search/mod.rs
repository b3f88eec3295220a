//! Search in SQL.

pub mod text;

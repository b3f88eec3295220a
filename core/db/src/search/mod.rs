//! Search inside SQL, on every connection.

pub mod text;
pub mod vector;

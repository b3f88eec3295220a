//! Search inside SQL, on every connection.

pub mod embed;
pub mod text;
pub mod vector;

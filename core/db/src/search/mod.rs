//! Search inside SQL, on every connection.

pub mod vector;

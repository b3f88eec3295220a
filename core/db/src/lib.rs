//! core/db

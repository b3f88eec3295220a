//! core/log

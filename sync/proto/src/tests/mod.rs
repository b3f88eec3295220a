//! Tests of whole sessions.

mod meeting;

//! From what a person types to an FTS5 expression that cannot be malformed.
//!
//! Words are joined by OR and ranked. `"two words"` is a phrase, `begin*` a prefix; everything else is text, whatever it means to FTS5.

/// One thing to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    /// The text, quoted by nothing.
    pub(super) text: String,
    /// Whether it was written in double quotes.
    pub(super) is_phrase: bool,
    /// Whether words that begin with it are meant, too.
    pub(super) is_prefix: bool,
}

/// The greatest number of clauses that are looked for; what comes after is left out.
const CLAUSES_MAX: usize = 64;

impl Clause {
    /// Writes it as an FTS5 string.
    pub(super) fn to_fts(&self) -> String {
        format!("\"{}\"{}", self.text.replace('"', "\"\""), if self.is_prefix { " *" } else { "" })
    }
}

/// Splits what a person typed.
pub(super) fn parse(text: &str) -> Vec<Clause> {
    let mut clauses = Vec::new();
    // FTS5 reads up to the first NUL.
    let text = text.replace('\0', " ");
    let mut rest = text.trim_start();
    while !rest.is_empty() && clauses.len() < CLAUSES_MAX {
        let (piece, is_phrase, after) = match rest.strip_prefix('"').and_then(|inner| inner.split_once('"')) {
            Some((phrase, after)) => (phrase, true, after),
            None => {
                // A quote without an end is no quote.
                let rest = rest.strip_prefix('"').unwrap_or(rest);
                let end = rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(rest.len());
                (&rest[..end], false, &rest[end..])
            }
        };
        let (piece, is_starred, after) = match (piece.strip_suffix('*'), after.strip_prefix('*')) {
            (Some(piece), _) if !is_phrase => (piece, true, after),
            (_, Some(after)) if is_phrase => (piece, true, after),
            _ => (piece, false, after),
        };
        // Without a letter or a digit no tokenizer finds a token in it.
        if piece.chars().any(char::is_alphanumeric) {
            // What ends in no letter would extend another word than the one before the star.
            let is_prefix = is_starred && piece.ends_with(char::is_alphanumeric);
            let clause = Clause { text: piece.to_owned(), is_phrase, is_prefix };
            // A word asked for twice would count twice.
            if !clauses.contains(&clause) {
                clauses.push(clause);
            }
        }
        rest = after.trim_start();
    }
    clauses
}

/// Joins clauses to an expression; `None` if there are none.
pub(super) fn expression(clauses: &[Clause], all: bool) -> Option<String> {
    if clauses.is_empty() {
        return None;
    }
    let joined: Vec<String> = clauses.iter().map(Clause::to_fts).collect();
    Some(joined.join(if all { " AND " } else { " OR " }))
}

/// Restricts an expression to some columns of the FTS5 table.
pub(super) fn in_columns(expression: &str, columns: &[String]) -> String {
    if columns.is_empty() {
        return expression.to_owned();
    }
    let names: Vec<String> = columns.iter().map(|column| crate::sql::quote(column)).collect();
    format!("{{{}}} : ({expression})", names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_phrases_and_prefixes_are_told_apart() {
        let parsed = |text| expression(&parse(text), false).unwrap_or_default();
        assert_eq!(parsed("red wine"), r#""red" OR "wine""#);
        assert_eq!(parsed(r#"say "hello world" AND"#), r#""say" OR "hello world" OR "AND""#);
        assert_eq!(parsed(r#"gar* "red wi"* "#), r#""gar" * OR "red wi" *"#);
        assert_eq!(parsed(r#"- + ( * " "" ?"#), "");
        assert_eq!(parsed(r#"open "quote here"#), r#""open" OR "quote" OR "here""#);
        assert_eq!(parsed("title:x NEAR(a b)"), r#""title:x" OR "NEAR(a" OR "b)""#);
        assert_eq!(parsed("red red \"red\" red"), r#""red" OR "red""#);
        assert_eq!(parsed("a\0b"), r#""a" OR "b""#);
    }
}

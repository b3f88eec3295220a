//! Finds where SQL statements end, in one pass, as `sqlite3_complete` does: at a semicolon outside of strings, comments and triggers.

/// Reads a text character by character; see [`Scanner::feed`].
#[derive(Debug, Clone, Default)]
pub struct Scanner {
    state: State,
    inside: Inside,
    word: String,
}

/// How much of a statement has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Start,
    Normal,
    Explain,
    Create,
    Trigger,
    /// After a semicolon in a trigger.
    TriggerSemicolon,
    /// After `; END` in a trigger.
    TriggerEnd,
}

/// What the last character belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Inside {
    #[default]
    Nothing,
    /// A string or name, up to this character.
    Quoted(char),
    Dash,
    LineComment,
    Slash,
    BlockComment,
    BlockCommentStar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Semicolon,
    Explain,
    Create,
    Temp,
    Trigger,
    End,
    Other,
}

impl Scanner {
    /// Reads a character; returns whether it ends a statement.
    pub fn feed(&mut self, c: char) -> bool {
        match self.inside {
            Inside::Quoted(end) => {
                if c == end {
                    self.inside = Inside::Nothing;
                }
                return false;
            }
            Inside::LineComment => {
                if c == '\n' {
                    self.inside = Inside::Nothing;
                }
                return false;
            }
            Inside::BlockComment | Inside::BlockCommentStar => {
                self.inside = match (self.inside, c) {
                    (_, '*') => Inside::BlockCommentStar,
                    (Inside::BlockCommentStar, '/') => Inside::Nothing,
                    _ => Inside::BlockComment,
                };
                return false;
            }
            Inside::Dash if c == '-' => {
                self.inside = Inside::LineComment;
                return false;
            }
            Inside::Slash if c == '*' => {
                self.inside = Inside::BlockComment;
                return false;
            }
            Inside::Dash | Inside::Slash => {
                // It was an operator after all.
                self.inside = Inside::Nothing;
                self.token(Token::Other);
            }
            Inside::Nothing => {}
        }
        if c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii() {
            // No longer word than the ones looked for needs to be kept whole.
            if self.word.len() < 16 {
                self.word.push(c.to_ascii_lowercase());
            }
            return false;
        }
        self.end_word();
        match c {
            ';' => return self.token(Token::Semicolon),
            '\'' | '"' | '`' => self.quote(c),
            '[' => self.quote(']'),
            '-' => self.inside = Inside::Dash,
            '/' => self.inside = Inside::Slash,
            c if c.is_ascii_whitespace() => {}
            _ => {
                self.token(Token::Other);
            }
        }
        false
    }

    /// Tells whether nothing but space and comments, or what may begin a comment, was read since the last statement ended.
    pub fn is_blank(&self) -> bool {
        self.state == State::Start && self.word.is_empty()
    }

    /// Tells whether a new statement may begin here: all before it is ended, comments too.
    pub fn is_between(&self) -> bool {
        self.is_blank() && self.inside == Inside::Nothing
    }

    fn quote(&mut self, end: char) {
        self.token(Token::Other);
        self.inside = Inside::Quoted(end);
    }

    fn end_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let token = match self.word.as_str() {
            "explain" => Token::Explain,
            "create" => Token::Create,
            "temp" | "temporary" => Token::Temp,
            "trigger" => Token::Trigger,
            "end" => Token::End,
            _ => Token::Other,
        };
        self.word.clear();
        self.token(token);
    }

    /// The transitions of `sqlite3_complete`; returns whether a statement ends.
    fn token(&mut self, token: Token) -> bool {
        self.state = match (self.state, token) {
            (State::Trigger | State::TriggerSemicolon, Token::Semicolon) => State::TriggerSemicolon,
            (_, Token::Semicolon) => State::Start,
            (State::Start, Token::Explain) => State::Explain,
            (State::Start | State::Explain, Token::Create) => State::Create,
            // `EXPLAIN QUERY PLAN CREATE …`
            (State::Explain, Token::Other) => State::Explain,
            (State::Create, Token::Temp) => State::Create,
            (State::Create, Token::Trigger) => State::Trigger,
            (State::TriggerSemicolon, Token::End) => State::TriggerEnd,
            (State::Trigger | State::TriggerSemicolon | State::TriggerEnd, _) => State::Trigger,
            (State::Start | State::Normal | State::Explain | State::Create, _) => State::Normal,
        };
        token == Token::Semicolon && self.state == State::Start
    }
}

/// Splits a text into its statements, semicolons included; space and comments between them are left out.
pub fn split(text: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut scanner = Scanner::default();
    let (mut begin, mut has_content) = (0, false);
    for (at, c) in text.char_indices() {
        let ends = scanner.feed(c);
        if ends {
            if has_content {
                statements.push(text[begin..=at].trim());
            }
            (begin, has_content) = (at + 1, false);
        } else {
            has_content |= !scanner.is_blank();
        }
    }
    // What might have begun a comment and ended the text is content after all.
    if has_content || matches!(scanner.inside, Inside::Dash | Inside::Slash) {
        statements.push(text[begin..].trim());
    }
    statements
}

/// Tells whether a text holds whole statements only.
pub fn is_complete(text: &str) -> bool {
    let mut scanner = Scanner::default();
    let mut ended = true;
    for c in text.chars() {
        if scanner.feed(c) {
            ended = true;
        } else if !scanner.is_blank() {
            ended = false;
        }
    }
    ended && matches!(scanner.inside, Inside::Nothing | Inside::LineComment)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIGGER: &str = "CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM t; SELECT ';'; END;";

    #[test]
    fn statements_end_where_sqlite_ends_them() {
        let statements =
            ["SELECT 1;", "SELECT ';' -- ;\n;", "SELECT /* ; */ 1-1/1;", TRIGGER, "SELECT [a;b], `;`, \";\" FROM x"];
        assert_eq!(split(&statements.join("\n")), statements);
        assert_eq!(split(" ; -- only\n /* comments; */ ;;"), Vec::<&str>::new());
        assert_eq!(split("SELECT 'open; "), ["SELECT 'open;"]);
        assert_eq!(split("EXPLAIN QUERY PLAN SELECT 1; end;"), ["EXPLAIN QUERY PLAN SELECT 1;", "end;"]);
    }

    #[test]
    fn agrees_with_sqlite_on_every_prefix() {
        let text = format!(
            "{TRIGGER} SELECT 'a''b;', 5/2-1; -- x;\nEXPLAIN CREATE TRIGGER y BEGIN SELECT 1; /* ; */ END; [;];"
        );
        for (end, _) in text.char_indices() {
            // SQLite's releases differ on a comment that the end of the text cuts short; a line break ends it for all.
            let prefix = &format!("{}\n", &text[..end]);
            let terminated = std::ffi::CString::new(prefix.as_str()).unwrap();
            // SAFETY: the argument is a terminated string that outlives the call, which only reads it.
            let expected = unsafe { rusqlite::ffi::sqlite3_complete(terminated.as_ptr()) } != 0;
            // SQLite takes a text without any statement for incomplete.
            assert_eq!(
                is_complete(prefix) && !split(prefix).is_empty(),
                expected && !split(prefix).is_empty(),
                "{prefix}"
            );
        }
    }
}

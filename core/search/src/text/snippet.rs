//! The piece of a text that shows best what was looked for.
//!
//! FTS5 has a function for it, which compares each match with every other one: a text with one word 100,000 times takes it a minute. This
//! one takes time by the length of the text. What it prefers is what FTS5's prefers: as many different matches as fit, then as many as
//! fit at all, then the beginning of a sentence.

use std::collections::HashMap;
use std::ops::Range;

use super::mark::Marks;

/// A longer run of letters counts as several words, so that scripts without spaces have snippets of bounded length, too.
const WORD_CHARS_MAX: usize = 12;
/// What a different match counts, where the same one again counts 1; there are fewer than this in any window.
const DIFFERENT: usize = 1_000;

/// A text and where in it something matches, in bytes, in order and apart from each other.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) text: String,
    pub(super) matches: Vec<Range<usize>>,
}

impl Marked {
    /// Writes a part of the text with its matches marked.
    pub(super) fn write(&self, part: Range<usize>, marks: &Marks) -> String {
        let mut out = String::with_capacity(part.len());
        let mut at = part.start;
        let first = self.matches.partition_point(|found| found.end <= part.start);
        for found in &self.matches[first..] {
            let (start, end) = (found.start.max(part.start), found.end.min(part.end));
            if start >= end {
                break;
            }
            out.push_str(&self.text[at..start]);
            out.push_str(&marks.before);
            out.push_str(&self.text[start..end]);
            out.push_str(&marks.after);
            at = end;
        }
        out.push_str(&self.text[at..part.end]);
        out
    }
}

/// The words of a text, in bytes.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    for (at, c) in text.char_indices() {
        open = match open {
            Some((start, count)) if !c.is_alphanumeric() || count == WORD_CHARS_MAX => {
                words.push(start..at);
                c.is_alphanumeric().then_some((at, 1))
            }
            Some((start, count)) => Some((start, count + 1)),
            None => c.is_alphanumeric().then_some((at, 1)),
        };
    }
    words.extend(open.map(|(start, _)| start..text.len()));
    words
}

/// The words that a window shows, and how well it does.
struct Window {
    first: usize,
    last: usize,
    score: usize,
}

/// A match, by the words it begins and ends in.
struct Found {
    first: usize,
    last: usize,
    /// The text that matches: other matches of it say nothing new.
    text: String,
    /// The first and the last window, by its first word, that shows the match: all of it, or a part of one that is longer than a window.
    from: usize,
    to: usize,
}

/// Lists the matches of a text that has words; the windows that they are shown in come in the same order as they do.
fn found(marked: &Marked, words: &[Range<usize>], count: usize) -> Vec<Found> {
    // One of signs alone has the word before it.
    let word_at = |byte: usize| words.partition_point(|word| word.start <= byte).saturating_sub(1);
    let read = |range: &Range<usize>| {
        let (first, last) = (word_at(range.start), word_at(range.end.saturating_sub(1)));
        let is_long = last - first >= count;
        let (from, to) = if is_long { (first, last) } else { (last, first) };
        let from = (from + 1).saturating_sub(count);
        Found { first, last, text: marked.text[range.clone()].to_lowercase(), from, to }
    };
    marked.matches.iter().map(read).collect()
}

/// Finds the window of `count` words that shows most, the first of those that do.
fn best_window(found: &[Found], count: usize) -> Option<Window> {
    let mut starts: Vec<usize> = found.iter().flat_map(|one| [one.from, one.first, one.to]).collect();
    starts.sort_unstable();
    starts.dedup();
    let mut shown: HashMap<&str, usize> = HashMap::new();
    let mut best: Option<Window> = None;
    let (mut begin, mut end) = (0, 0);
    for start in starts {
        while let Some(one) = found.get(end).filter(|one| one.from <= start) {
            *shown.entry(&one.text).or_default() += 1;
            end += 1;
        }
        while let Some(one) = found.get(begin).filter(|one| begin < end && one.to < start) {
            if let Some(times) = shown.get_mut(one.text.as_str()) {
                *times -= 1;
                if *times == 0 {
                    shown.remove(one.text.as_str());
                }
            }
            begin += 1;
        }
        let shown_here = &found[begin..end];
        let (Some(one), Some(other)) = (shown_here.first(), shown_here.last()) else { continue };
        let score = shown.len() * DIFFERENT + shown_here.len().min(DIFFERENT - 1);
        if best.as_ref().is_none_or(|best| score > best.score) {
            best = Some(Window { first: one.first.max(start), last: other.last.min(start + count - 1), score });
        }
    }
    best
}

/// The word that the sentence of a word begins with.
fn sentence_start(text: &str, words: &[Range<usize>], from: usize, reach: usize) -> Option<usize> {
    (from.saturating_sub(reach)..=from).rev().find(|&word| {
        let Some(before) = word.checked_sub(1) else { return true };
        text[words[before].end..words[word].start].contains(['.', '!', '?', ':', '\n'])
    })
}

/// Returns the best piece of about `marks.words` words of one of the texts; `None` if there is no text.
pub(super) fn snippet(texts: &[Option<Marked>], marks: &Marks) -> Option<String> {
    let count = usize::try_from(marks.words).unwrap_or(1).max(1);
    let mut best: Option<(&Marked, Vec<Range<usize>>, Window)> = None;
    for marked in texts.iter().flatten().filter(|marked| !marked.matches.is_empty()) {
        let words = words(&marked.text);
        // A text of signs alone may match with an own tokenizer; there is nothing to cut it at.
        let window = if words.is_empty() { None } else { best_window(&found(marked, &words, count), count) };
        let window = window.unwrap_or(Window { first: 0, last: 0, score: 0 });
        if best.as_ref().is_none_or(|(_, _, best)| window.score > best.score) {
            best = Some((marked, words, window));
        }
    }
    let Some((marked, words, window)) = best else {
        let marked = texts.iter().flatten().next()?;
        let words = words(&marked.text);
        return Some(cut(marked, &words, 0, count, marks));
    };
    let shown = window.last - window.first + 1;
    let spare = count.saturating_sub(shown);
    let start = sentence_start(&marked.text, &words, window.first, spare)
        .unwrap_or_else(|| window.first - (spare / 2).min(window.first))
        .min(words.len().saturating_sub(count));
    Some(cut(marked, &words, start, count, marks))
}

/// Cuts out `count` words, with signs of what was left out.
fn cut(marked: &Marked, words: &[Range<usize>], start: usize, count: usize, marks: &Marks) -> String {
    let (is_first, is_last) = (start == 0, start + count >= words.len());
    let from = if is_first { 0 } else { words[start].start };
    let to = if is_last { marked.text.len() } else { words[start + count - 1].end };
    let (before, after) = (if is_first { "" } else { "…" }, if is_last { "" } else { "…" });
    format!("{before}{}{after}", marked.write(from..to, marks))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marked(text: &str, wanted: &[&str]) -> Option<Marked> {
        let mut matches: Vec<Range<usize>> = words(text);
        matches.retain(|word| wanted.contains(&text[word.clone()].to_lowercase().as_str()));
        Some(Marked { text: text.to_owned(), matches })
    }

    fn show(text: &str, wanted: &[&str], count: i64) -> String {
        let marks = Marks { words: count, ..Marks::default() };
        snippet(&[marked(text, wanted)], &marks).unwrap()
    }

    #[test]
    fn window_has_most_different_matches() {
        let text = "red one red two red three four five six seven red eight wine nine ten";
        assert_eq!(show(text, &["red", "wine"], 4), "…[red] eight [wine] nine…");
        assert_eq!(show(text, &["red"], 5), "[red] one [red] two [red]…");
        assert_eq!(show("Red wine.", &["red"], 16), "[Red] wine.");
    }

    #[test]
    fn sentence_is_shown_from_its_beginning_if_the_match_fits() {
        let text = "One two three. Four five six red eight nine ten eleven twelve";
        assert_eq!(show(text, &["red"], 5), "…Four five six [red] eight…");
        assert_eq!(show(text, &["red"], 3), "…six [red] eight…");
        assert_eq!(show("(one two", &["two"], 2), "(one [two]");
    }

    #[test]
    fn best_column_is_shown_and_the_first_where_nothing_matches() {
        let marks = Marks { words: 2, ..Marks::default() };
        let texts = [None, marked("red one", &["red"]), marked("red wine", &["red", "wine"])];
        assert_eq!(snippet(&texts, &marks).unwrap(), "[red] [wine]");
        assert_eq!(snippet(&[None, marked("a b c", &[])], &marks).unwrap(), "a b…");
        assert_eq!(snippet(&[None, None], &marks), None);
    }

    #[test]
    fn scripts_without_spaces_and_endless_phrases_are_bounded() {
        let text = "風".repeat(500);
        let whole = Marked { matches: std::iter::once(0..text.len()).collect(), text };
        let marks = Marks { words: 4, ..Marks::default() };
        assert_eq!(snippet(&[Some(whole)], &marks).unwrap(), format!("[{}]…", "風".repeat(48)));
    }

    proptest! {
        /// Without its marks it is a piece of the text, of as many words as were asked for; and no window has more to show.
        #[test]
        fn snippet_is_a_piece_that_shows_most(text in "([abcé]{1,2}[ ,.\n]){0,40}", count in 1_i64..8) {
            let wanted = ["a", "b", "cé"];
            let shown = show(&text, &wanted, count);
            let bare: String = shown.chars().filter(|c| !"[]…".contains(*c)).collect();
            prop_assert!(text.contains(&bare));
            let all = words(&text);
            let count = usize::try_from(count).unwrap();
            prop_assert_eq!(words(&bare).len(), all.len().min(count));
            let different = |part: &str| {
                words(part).into_iter().map(|word| &part[word]).filter(|word| wanted.contains(word)).collect::<std::collections::BTreeSet<_>>().len()
            };
            let most = (0..all.len())
                .map(|start| different(&text[all[start].start..all[(start + count).min(all.len()) - 1].end]))
                .max()
                .unwrap_or(0);
            prop_assert_eq!(different(&bare), most);
        }
    }
}

//! `cargo xtask wordnet-extract DIR`: makes the committed extract of WordNet.
//!
//! The extract keeps the dictionary files' format and the numbers of their synsets, takes a connected set of them, and
//! leaves out relations that lead to a synset it does not have. The same input gives the same bytes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};

use crate::shell::Workspace;

/// A synset's file letter and number; `s` shares the numbers of `a`.
type Id = (char, u32);

const FILES: [(&str, char); 4] = [("data.noun", 'n'), ("data.verb", 'v'), ("data.adj", 'a'), ("data.adv", 'r')];

const ENTITY: Id = ('n', 1740);

/// Where the nouns come from: a synset of WordNet 3.1, and how many of the kinds and parts below it to take.
const TOPICS: [(&str, Id, usize); 4] = [
    ("animal", ('n', 15568), 480),
    ("tree", ('n', 13_124_818), 240),
    ("music", ('n', 7_034_009), 240),
    ("musical_instrument", ('n', 3_806_455), 140),
];

/// How many verbs, adjectives and adverbs to take that belong to the nouns.
const VERBS: usize = 160;
const ADJECTIVES: usize = 160;
const ADVERBS: usize = 40;

/// One line of a dictionary file, split at the field that counts its relations.
struct Line {
    /// Number, lexicographer file, part of speech and words.
    head: String,
    relations: Vec<(String, Id, String)>,
    /// A verb's frames, and the gloss.
    tail: String,
}

type Lines = BTreeMap<Id, Line>;

/// Reads `folder` and writes `daemon/data/wordnet-extract`.
pub fn run(workspace: &Workspace, folder: &Path) -> Result<()> {
    let mut lines = Lines::new();
    let mut notices = Vec::new();
    for (name, letter) in FILES {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        let (notice, data): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("  "));
        for (index, line) in data.into_iter().enumerate() {
            let (id, line) = parse(line, letter)
                .ok_or_else(|| anyhow!("{}: synset {} is not as expected", path.display(), index + 1))?;
            lines.insert(id, line);
        }
        notices.push(notice.join("\n"));
    }

    let taken = select(&lines)?;
    let out = workspace.root.join("daemon").join("data").join("wordnet-extract");
    fs::create_dir_all(&out).with_context(|| format!("could not create {}", out.display()))?;
    for ((name, letter), notice) in FILES.into_iter().zip(&notices) {
        let mut text = format!("{notice}\n");
        for (_, line) in lines.iter().filter(|(id, _)| id.0 == letter && taken.contains(id)) {
            text.push_str(&write(line, &taken));
            text.push('\n');
        }
        fs::write(out.join(name), &text).with_context(|| format!("could not write {name}"))?;
        println!("{name}: {} bytes", text.len());
    }
    println!("{} synsets", taken.len());
    Ok(())
}

fn parse(line: &str, letter: char) -> Option<(Id, Line)> {
    let fields: Vec<&str> = line.split(' ').collect();
    let number = fields.first()?.parse().ok()?;
    let words = usize::from_str_radix(fields.get(3)?, 16).ok()?;
    let relations_at = 4 + 2 * words;
    let relation_count: usize = fields.get(relations_at)?.parse().ok()?;
    let tail_at = relations_at + 1 + 4 * relation_count;
    let mut relations = Vec::new();
    for relation in fields.get(relations_at + 1..tail_at)?.chunks(4) {
        let [symbol, target, pos, ends] = relation else { return None };
        let target_letter = if *pos == "s" { 'a' } else { pos.chars().next()? };
        let rest = format!("{target} {pos} {ends}");
        relations.push((format!("{symbol} {rest}"), (target_letter, target.parse().ok()?), (*symbol).to_owned()));
    }
    let head = fields.get(..relations_at)?.join(" ");
    Some(((letter, number), Line { head, relations, tail: fields.get(tail_at..)?.join(" ") }))
}

fn write(line: &Line, taken: &BTreeSet<Id>) -> String {
    let kept: Vec<_> = line.relations.iter().filter(|(_, target, _)| taken.contains(target)).collect();
    let mut text = format!("{} {:03}", line.head, kept.len());
    for (relation, ..) in kept {
        text.push(' ');
        text.push_str(relation);
    }
    format!("{text} {}", line.tail)
}

fn select(lines: &Lines) -> Result<BTreeSet<Id>> {
    let mut taken = BTreeSet::from([ENTITY]);
    for (word, topic, count) in TOPICS {
        let line = lines.get(&topic).with_context(|| format!("synset {topic:?} is missing: is this WordNet 3.1?"))?;
        ensure!(
            line.head.split(' ').any(|field| field == word),
            "synset {topic:?} is not `{word}`: is this WordNet 3.1?"
        );
        take(lines, &mut taken, VecDeque::from([topic]), count, |symbol, target| {
            target.0 == 'n' && ["~", "~i", "%m", "%p", "-c"].contains(&symbol)
        });
    }
    take_hypernyms(lines, &mut taken);
    for (letter, count, symbols) in [('v', VERBS, ["+", "-c"]), ('a', ADJECTIVES, ["+", "="])] {
        let nouns: VecDeque<Id> = taken.iter().filter(|id| id.0 == 'n').copied().collect();
        take(lines, &mut taken, nouns, count, |symbol, target| target.0 == letter && symbols.contains(&symbol));
    }
    take_hypernyms(lines, &mut taken);
    // Antonyms and the head of each adjective's cluster, so that neither hangs in the air.
    let adjectives: VecDeque<Id> = taken.iter().filter(|id| id.0 == 'a').copied().collect();
    take(lines, &mut taken, adjectives, ADJECTIVES, |symbol, target| target.0 == 'a' && ["!", "&"].contains(&symbol));
    // Adverbs point to their adjective, not the other way round.
    let adverbs: Vec<Id> = lines
        .iter()
        .filter(|(id, line)| {
            id.0 == 'r' && line.relations.iter().any(|(_, target, symbol)| symbol == "\\" && taken.contains(target))
        })
        .map(|(id, _)| *id)
        .take(ADVERBS)
        .collect();
    taken.extend(adverbs);
    Ok(connected(lines, &taken))
}

/// Takes up to `count` more synsets, nearest first, along the relations that `follows` accepts.
fn take(
    lines: &Lines,
    taken: &mut BTreeSet<Id>,
    mut queue: VecDeque<Id>,
    count: usize,
    follows: impl Fn(&str, Id) -> bool,
) {
    let mut left = count;
    for id in &queue {
        if left > 0 && taken.insert(*id) {
            left -= 1;
        }
    }
    while let Some(id) = queue.pop_front() {
        let Some(line) = lines.get(&id) else { continue };
        for (_, target, symbol) in &line.relations {
            if left > 0 && follows(symbol, *target) && taken.insert(*target) {
                left -= 1;
                queue.push_back(*target);
            }
        }
    }
}

fn take_hypernyms(lines: &Lines, taken: &mut BTreeSet<Id>) {
    let queue = taken.iter().copied().collect();
    take(lines, taken, queue, usize::MAX, |symbol, _| symbol == "@" || symbol == "@i");
}

/// The taken synsets that a path of kept relations, in either direction, joins to `entity`.
fn connected(lines: &Lines, taken: &BTreeSet<Id>) -> BTreeSet<Id> {
    let mut neighbours: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
    for (id, line) in lines.iter().filter(|(id, _)| taken.contains(id)) {
        for (_, target, _) in line.relations.iter().filter(|(_, target, _)| taken.contains(target)) {
            neighbours.entry(*id).or_default().push(*target);
            neighbours.entry(*target).or_default().push(*id);
        }
    }
    let mut reached = BTreeSet::from([ENTITY]);
    let mut queue = VecDeque::from([ENTITY]);
    while let Some(id) = queue.pop_front() {
        for next in neighbours.get(&id).into_iter().flatten() {
            if reached.insert(*next) {
                queue.push_back(*next);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOG: &str = "02086723 05 n 02 dog 0 domestic_dog 0 002 @ 02085998 n 0000 + 00000009 s 0102 | a \"pet\"  ";

    #[test]
    fn line_is_split_and_written_back() {
        let (id, line) = parse(DOG, 'n').expect("the line is well formed");
        assert_eq!(id, ('n', 2_086_723));
        let all = BTreeSet::from([('n', 2_085_998), ('a', 9)]);
        assert_eq!(write(&line, &all), DOG);
        let one = BTreeSet::from([('n', 2_085_998)]);
        assert_eq!(write(&line, &one), DOG.replace("002", "001").replace(" + 00000009 s 0102", ""));
    }

    #[test]
    fn short_line_is_refused() {
        assert!(parse("02086723 05 n 02 dog 0", 'n').is_none());
    }
}

//! A graph as bytes, and back.

use super::levels::{ABSENT, TWIN, level_of};
use super::{Graph, GraphFault, NONE};
use crate::index::IndexOptions;
use crate::limits::SLOTS_MAX;

/// The bytes of a graph, in the parts of a snapshot. All numbers are little-endian.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphSections<Bytes = Vec<u8>> {
    /// One byte for each slot: the highest layer of its point, 254 for a twin, 255 for none.
    pub levels: Bytes,
    /// For each point in the order of the slots: how many neighbours, and their slots.
    pub base: Bytes,
    /// The same for each point above the lowest layer and each layer from 1 on.
    pub upper: Bytes,
    /// For each point with twins: its slot, how many, and their slots.
    pub twins: Bytes,
}

impl Graph {
    /// Writes the graph out.
    pub fn to_sections(&self) -> GraphSections {
        let mut sections = GraphSections {
            levels: (0..self.levels.len() as u32).map(|slot| self.level(slot)).collect(),
            ..GraphSections::default()
        };
        for slot in self.points() {
            put(&mut sections.base, self.neighbours(slot, 0));
            for layer in 1..=self.level(slot) {
                put(&mut sections.upper, self.neighbours(slot, layer));
            }
            let mut twins = self.twins_of(slot).peekable();
            if twins.peek().is_some() {
                sections.twins.extend(slot.to_le_bytes());
                put(&mut sections.twins, twins.collect::<Vec<u32>>().into_iter());
            }
        }
        sections
    }

    /// Reads a graph, whoever wrote it.
    ///
    /// # Errors
    /// A list names what it may not, a level is not the slot's, or a point cannot be reached.
    pub fn from_sections(
        options: &IndexOptions,
        sections: &GraphSections<impl AsRef<[u8]>>,
    ) -> Result<Self, GraphFault> {
        let mut graph = Self::new(options);
        let levels = sections.levels.as_ref();
        let slots = levels.len();
        if slots > SLOTS_MAX as usize {
            return Err(GraphFault::Level { slot: SLOTS_MAX });
        }
        graph.make_room(slots);
        for (slot, &level) in (0u32..).zip(levels) {
            match level {
                ABSENT => {}
                TWIN => {
                    // With room for the lists that it has as a point when it takes the place of the one it hangs on.
                    graph.reserve(slot);
                    graph.set_level(slot, TWIN);
                }
                _ if level == level_of(graph.seed, slot, graph.connections) => graph.reserve(slot),
                _ => return Err(GraphFault::Level { slot }),
            }
        }
        let (mut base, mut upper) = (Words::new(sections.base.as_ref()), Words::new(sections.upper.as_ref()));
        let mut seen = vec![NONE; slots];
        let mut ids = Vec::new();
        for slot in graph.points() {
            for layer in 0..=graph.level(slot) {
                let words = if layer == 0 { &mut base } else { &mut upper };
                let (lists, list) = graph.list(slot, layer);
                let read = words.list(lists.capacity()).ok_or(GraphFault::Edge { from: slot, to: NONE, layer })?;
                ids.clear();
                ids.extend(read);
                // A mark for each list: the levels of a slot are fewer than 16.
                let mark = slot << 4 | u32::from(layer);
                for &to in &ids {
                    let is_right =
                        graph.may_name(slot, to, layer) && std::mem::replace(&mut seen[to as usize], mark) != mark;
                    if !is_right {
                        return Err(GraphFault::Edge { from: slot, to, layer });
                    }
                }
                lists.write(list, &ids);
            }
        }
        graph.read_twins(sections.twins.as_ref())?;
        if !base.rest.is_empty() || !upper.rest.is_empty() {
            return Err(GraphFault::Edge { from: NONE, to: NONE, layer: 0 });
        }
        graph.settle();
        match graph.find_root().first() {
            Some(&slot) => Err(GraphFault::Unreachable { slot }),
            None => Ok(graph),
        }
    }

    fn read_twins(&self, bytes: &[u8]) -> Result<(), GraphFault> {
        let mut words = Words::new(bytes);
        let mut before = None;
        while let Some(slot) = words.next() {
            let fault = GraphFault::Twin { slot };
            let twins = words.list(self.levels.len()).filter(|_| self.is_point(slot)).ok_or(fault)?;
            if before.replace(slot) >= Some(slot) || twins.len() == 0 {
                return Err(fault);
            }
            // The chain is hung on from its end.
            for twin in twins.rev() {
                if self.level(twin) != TWIN || !self.is_loose(twin) {
                    return Err(GraphFault::Twin { slot: twin });
                }
                self.hang(slot, twin);
            }
        }
        if !words.rest.is_empty() {
            return Err(GraphFault::Twin { slot: NONE });
        }
        let lost = self.slots().find(|slot| self.level(slot.0) == TWIN && self.is_loose(slot.0));
        lost.map_or(Ok(()), |slot| Err(GraphFault::Twin { slot: slot.0 }))
    }
}

fn put(bytes: &mut Vec<u8>, ids: impl ExactSizeIterator<Item = u32>) {
    bytes.extend((ids.len() as u32).to_le_bytes());
    bytes.extend(ids.flat_map(u32::to_le_bytes));
}

struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    fn next(&mut self) -> Option<u32> {
        let (word, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u32::from_le_bytes(*word))
    }

    /// Reads a list of so many ids at most.
    fn list(&mut self, most: usize) -> Option<impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + use<'a>> {
        let count = self.next()? as usize;
        let (list, rest) = self.rest.split_at_checked(count.checked_mul(4)?)?;
        self.rest = rest;
        (count <= most).then(|| list.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)))
    }
}

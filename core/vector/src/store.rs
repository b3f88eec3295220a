//! Where the embeddings of an index lie: exact floats, and the codes that are compared first.
//!
//! Invariants:
//! 1. A slot that is occupied has its exact row, its code and its scalars; all were written by one call of `insert`.
//! 2. Under cosine the exact row has length 1, and the length that was given is among its scalars.
//! 3. What an emptied slot held stays readable by its number, so that a graph can still walk through it, until it is written again.

mod foreign;

use crate::codes::{self, PreparedQuery, QueryCode, Scalars, code_bytes, kept_encoding};
use crate::distance::{self, Kernels};
use crate::error::EmbeddingError;
use crate::index::{Encoding, IndexOptions};
use crate::limits::{DIMENSIONS_MAX, SLOTS_MAX, SQUARES_MAX};
use crate::metric::Metric;
use crate::rows::{BLOCK_ROWS, Rows, numbers, numbers_mut};
use crate::slots::{Slot, SlotSet, ones};
pub use foreign::{ForeignParts, ForeignRows, Part};

/// Rows of a chunk of codes and scalars, which are read again and again.
const CODE_CHUNK_ROWS: usize = 1_024;

/// Rows of a chunk of exact floats: few, since one changed row of a mapped file brings its whole chunk into memory.
const EXACT_CHUNK_ROWS: usize = 64;

const SCALARS_BYTES: usize = 8;

/// Embeddings by slot. A clone shares all memory that neither of the two writes to, and takes microseconds.
#[derive(Clone)]
pub struct EmbeddingStore {
    dimensions: usize,
    metric: Metric,
    encoding: Encoding,
    kernels: &'static Kernels,
    occupied: SlotSet,
    codes: Rows,
    scalars: Rows,
    exact: Rows,
}

impl EmbeddingStore {
    /// Makes an empty store.
    ///
    /// # Errors
    /// The number of dimensions is out of range.
    pub fn new(options: &IndexOptions) -> Result<Self, EmbeddingError> {
        let &IndexOptions { dimensions, metric, encoding, .. } = options;
        if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
            return Err(EmbeddingError::DimensionsRange { got: dimensions });
        }
        let encoding = kept_encoding(metric, encoding);
        Ok(Self {
            dimensions,
            metric,
            encoding,
            kernels: distance::kernels(),
            occupied: SlotSet::default(),
            codes: Rows::new(code_bytes(encoding, dimensions), CODE_CHUNK_ROWS),
            scalars: Rows::new(SCALARS_BYTES, CODE_CHUNK_ROWS),
            exact: Rows::new(dimensions * size_of::<f32>(), EXACT_CHUNK_ROWS),
        })
    }

    /// Puts an embedding in a slot, in the place of what is there.
    ///
    /// # Errors
    /// What is refused leaves the store as it was.
    pub fn insert(&mut self, slot: Slot, embedding: &[f32]) -> Result<(), EmbeddingError> {
        if slot.0 >= SLOTS_MAX {
            return Err(EmbeddingError::Full);
        }
        let (exact, length) = self.check(embedding)?;
        let row = slot.0 as usize;
        numbers_mut::<f32>(self.exact.row_mut(row)).copy_from_slice(&exact);
        let code: &mut [u8] = if self.encoding == Encoding::F32 { &mut [] } else { self.codes.row_mut(row) };
        let mut scalars = codes::encode(self.kernels, self.encoding, &exact, code);
        match self.metric {
            Metric::Cosine => scalars.norm = length,
            // Signs have no length.
            Metric::Hamming => scalars.scale = 1.0,
            Metric::L2 | Metric::InnerProduct | Metric::L1 => {}
        }
        numbers_mut(self.scalars.row_mut(row)).copy_from_slice(&[scalars.scale, scalars.norm]);
        self.occupied.insert(slot);
        Ok(())
    }

    /// Empties a slot; says whether an embedding was there. What it was stays readable: see invariant 3 of the module.
    pub fn remove(&mut self, slot: Slot) -> bool {
        self.occupied.remove(slot)
    }

    /// Returns the slots that hold an embedding.
    pub fn occupied(&self) -> &SlotSet {
        &self.occupied
    }

    /// Returns the number of embeddings.
    pub fn len(&self) -> usize {
        self.occupied.len()
    }

    /// Says whether there is no embedding.
    pub fn is_empty(&self) -> bool {
        self.occupied.is_empty()
    }

    /// Returns the number of slots that were ever written, counted to the highest one.
    pub fn rows(&self) -> usize {
        self.scalars.len()
    }

    /// Returns the numbers of each embedding.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Returns what near means.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Returns what is compared first: under Hamming always bits.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Says whether estimates order embeddings as their exact distances do.
    pub fn estimates_are_exact(&self) -> bool {
        self.encoding == Encoding::F32 || self.metric == Metric::Hamming
    }

    /// Returns the embedding of an occupied slot; under cosine within the rounding of its normalisation.
    pub fn embedding(&self, slot: Slot) -> Option<Vec<f32>> {
        self.occupied.contains(slot).then(|| {
            let length = if self.metric == Metric::Cosine { self.scalars(slot).norm } else { 1.0 };
            self.exact_row(slot).iter().map(|number| number * length).collect()
        })
    }

    /// Checks a question, and makes it ready to be compared.
    ///
    /// # Errors
    /// It is refused as an inserted embedding would be.
    pub fn prepare(&self, embedding: &[f32]) -> Result<PreparedQuery, EmbeddingError> {
        let (exact, _) = self.check(embedding)?;
        Ok(codes::prepare(self.kernels, self.metric, self.encoding, exact))
    }

    /// Makes a question of the embedding in a slot.
    ///
    /// # Panics
    /// Here and below: where the slot was never written.
    pub fn prepare_slot(&self, slot: Slot) -> PreparedQuery {
        let mut scalars = self.scalars(slot);
        if self.encoding == Encoding::F16 {
            // Floats are the question there, not the code.
            scalars.scale = 1.0;
        }
        let code = QueryCode::of_code(self.encoding, self.code(slot));
        PreparedQuery::new(self.metric, scalars, code, self.exact_row(slot).to_vec())
    }

    /// Estimates how far a question and a slot are apart, from the codes. Estimates order as the distances do, within their error: they
    /// are distances, but squared ones under L2, and shares of the dimensions under Hamming; bits estimate L1 by L2.
    #[inline]
    pub fn estimate(&self, query: &PreparedQuery, slot: Slot) -> f32 {
        let kernels = self.kernels;
        let weights = &query.weights;
        let dot = match (&query.code, self.encoding) {
            (QueryCode::Integers(_), _) if self.metric == Metric::L1 => {
                return kernels.l1_byte(self.code(slot), self.scalars(slot).scale, &query.exact);
            }
            (QueryCode::Integers(integers), _) => (kernels.dot_byte(self.code(slot), integers) - weights.excess) as f32,
            (QueryCode::Bits(bits), _) => {
                codes::product_of_signs(kernels.hamming(numbers(self.code(slot)), bits), self.dimensions)
            }
            (QueryCode::Floats, Encoding::F16) if self.metric == Metric::L1 => {
                return kernels.l1_half(numbers(self.code(slot)), self.scalars(slot).scale, &query.exact);
            }
            (QueryCode::Floats, Encoding::F16) => kernels.dot_half(numbers(self.code(slot)), &query.exact),
            (QueryCode::Floats, _) => return self.exact_key(&query.exact, slot),
        };
        weights.estimate(self.scalars(slot), dot)
    }

    /// Estimates how far two slots are apart, as [`estimate`](Self::estimate) does; exactly under L1 unless bits are kept.
    #[inline]
    pub fn estimate_between(&self, left: Slot, right: Slot) -> f32 {
        let kernels = self.kernels;
        let dot = match self.encoding {
            Encoding::Bit => {
                let differing = kernels.hamming(numbers(self.code(left)), numbers(self.code(right)));
                codes::product_of_signs(differing, self.dimensions)
            }
            Encoding::Int8 if self.metric != Metric::L1 => kernels.dot_bytes(self.code(left), self.code(right)) as f32,
            Encoding::F16 if self.metric != Metric::L1 => {
                kernels.dot_halves(numbers(self.code(left)), numbers(self.code(right)))
            }
            _ => return self.exact_key(self.exact_row(left), right),
        };
        codes::Weights::new(self.metric, self.scalars(left)).estimate(self.scalars(right), dot)
    }

    /// Says whether two slots hold the same to every estimate.
    pub fn are_equal(&self, left: Slot, right: Slot) -> bool {
        match self.encoding {
            Encoding::F32 => self.exact_row(left) == self.exact_row(right),
            _ => self.code(left) == self.code(right) && self.scalars(left).scale == self.scalars(right).scale,
        }
    }

    /// Returns the distance of a question to a slot as [`Metric`] defines it, from the exact embeddings.
    #[inline]
    pub fn distance(&self, query: &PreparedQuery, slot: Slot) -> f32 {
        match self.metric {
            Metric::Hamming => match &query.code {
                QueryCode::Bits(bits) => self.kernels.hamming(numbers(self.code(slot)), bits) as f32,
                _ => unreachable!("an index under Hamming keeps bits"),
            },
            Metric::Cosine => self.exact_key(&query.exact, slot).clamp(0.0, 2.0),
            Metric::L2 => self.exact_key(&query.exact, slot).sqrt(),
            Metric::InnerProduct | Metric::L1 => self.exact_key(&query.exact, slot),
        }
    }

    /// Compares floats; the root of L2 is left to the caller, and Hamming has no floats to compare.
    #[inline]
    fn exact_key(&self, query: &[f32], slot: Slot) -> f32 {
        let row = self.exact_row(slot);
        match self.metric {
            Metric::Cosine => 1.0 - self.kernels.dot_f32(row, query),
            Metric::InnerProduct | Metric::Hamming => -self.kernels.dot_f32(row, query),
            Metric::L2 => self.kernels.squared_l2_f32(row, query),
            Metric::L1 => self.kernels.l1_f32(row, query),
        }
    }

    /// Asks the processor to fetch what [`estimate`](Self::estimate) will read.
    #[inline]
    pub fn prefetch(&self, slot: Slot) {
        distance::prefetch(match self.encoding {
            Encoding::F32 => self.exact.row(slot.0 as usize),
            _ => self.code(slot),
        });
        distance::prefetch(self.scalars.row(slot.0 as usize));
    }

    /// Asks the processor to fetch what [`distance`](Self::distance) will read.
    #[inline]
    pub fn prefetch_exact(&self, slot: Slot) {
        distance::prefetch(self.exact.row(slot.0 as usize));
    }

    /// Estimates the distances of the slots from `64 * block` whose bits are set in `wanted`, which is faster than one by one. All others
    /// are left as they are, or mean nothing.
    pub(crate) fn estimate_block(
        &self,
        query: &PreparedQuery,
        block: usize,
        wanted: u64,
        estimates: &mut [f32; BLOCK_ROWS],
    ) {
        let first = block * BLOCK_ROWS;
        let scalars = numbers::<f32>(self.scalars.block(first));
        let count = scalars.len() / 2;
        match &query.code {
            QueryCode::Integers(integers) if self.metric != Metric::L1 => {
                let mut products = [0; BLOCK_ROWS];
                self.kernels.dot_byte_rows(self.codes.block(first), integers, &mut products[..count]);
                let dots = products.map(|product| (product - query.weights.excess) as f32);
                query.weights.estimate_rows(scalars, &dots, estimates);
            }
            QueryCode::Bits(bits) => {
                let mut counts = [0; BLOCK_ROWS];
                self.kernels.hamming_rows(numbers(self.codes.block(first)), bits, &mut counts[..count]);
                let dots = counts.map(|differing| codes::product_of_signs(differing, self.dimensions));
                query.weights.estimate_rows(scalars, &dots, estimates);
            }
            _ => {
                for bit in ones(wanted) {
                    estimates[bit as usize] = self.estimate(query, Slot(first as u32 + bit));
                }
            }
        }
    }

    #[inline]
    fn code(&self, slot: Slot) -> &[u8] {
        if self.encoding == Encoding::F32 { &[] } else { self.codes.row(slot.0 as usize) }
    }

    #[inline]
    fn scalars(&self, slot: Slot) -> Scalars {
        match numbers(self.scalars.row(slot.0 as usize)) {
            &[scale, norm] => Scalars { scale, norm },
            _ => unreachable!("a row of scalars is two numbers"),
        }
    }

    #[inline]
    fn exact_row(&self, slot: Slot) -> &[f32] {
        numbers(self.exact.row(slot.0 as usize))
    }

    /// Checks an embedding; returns it as it is kept, and its length.
    fn check(&self, embedding: &[f32]) -> Result<(Vec<f32>, f32), EmbeddingError> {
        if embedding.len() != self.dimensions {
            return Err(EmbeddingError::Dimensions { expected: self.dimensions, got: embedding.len() });
        }
        if let Some(position) = embedding.iter().position(|number| !number.is_finite()) {
            return Err(EmbeddingError::NotFinite { position });
        }
        let squares: f64 = embedding.iter().map(|&number| f64::from(number) * f64::from(number)).sum();
        if squares >= f64::from(SQUARES_MAX) {
            return Err(EmbeddingError::TooLarge);
        }
        let length = squares.sqrt();
        if self.metric != Metric::Cosine {
            return Ok((embedding.to_vec(), length as f32));
        }
        if squares == 0.0 {
            return Err(EmbeddingError::Zero);
        }
        Ok((embedding.iter().map(|&number| (f64::from(number) / length) as f32).collect(), length as f32))
    }
}
